"""Draws docs/isda-features.svg and docs/isda-bound.svg: ``python -m docs.site.picture`` writes them anew.

Two classes of features in a plane, and the loss of the marked feature over lambda. All of it is computed:
with two classes the augmented margin is a Gaussian number, so the expected loss is an integral over one
variable (Gauss-Hermite) and the bound is Prop. 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[1]
STYLE = """
  .card { fill: #ffffff } .text { fill: #24292f } .faint { stroke: #8c959f } .grid { stroke: #d8dee4 }
  .one { fill: #0b66b5 } .two { fill: #b85000 } .new { fill: #1a7f37 }
  .one-line { stroke: #0b66b5 } .two-line { stroke: #b85000 } .new-line { stroke: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1c2128 } .text { fill: #dde3ea } .faint { stroke: #8b949e } .grid { stroke: #3d444d }
    .one { fill: #6cb6ff } .two { fill: #f0a35e } .new { fill: #57d364 }
    .one-line { stroke: #6cb6ff } .two-line { stroke: #f0a35e } .new-line { stroke: #57d364 }
  }
  text { font: 14px system-ui, sans-serif } .small { font-size: 12.5px } .title { font-weight: 600 }
"""
"""Light or dark as the reader's system is; the card behind keeps it legible on any page."""
MEANS = {"one": np.array([115.0, 195.0]), "two": np.array([300.0, 150.0])}
FEATURE = np.array([150.0, 235.0])
LAMBDA = 0.5
UNIT = 55.0
"""Pixels that are 1 in the space of features."""


def covariance(angle: float, long: float, short: float) -> np.ndarray:
    """With these standard deviations along two axes, the long one at ``angle`` degrees."""
    turn = np.deg2rad(angle)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return axes @ np.diag([long**2, short**2]) @ axes.T


SIGMA = {"one": covariance(-35, 44, 17), "two": covariance(60, 32, 16)}


def losses(strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The expected loss of FEATURE and its bound by Prop. 1 for each lambda.

    The head w_1 - w_2 is the direction between the means, with the boundary in the middle.
    """
    towards = (MEANS["one"] - MEANS["two"]) / UNIT
    weight = 2 * towards / np.linalg.norm(towards)
    margin = weight @ (FEATURE - (MEANS["one"] + MEANS["two"]) / 2) / UNIT
    variance = weight @ SIGMA["one"] @ weight / UNIT**2
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    drawn = margin + np.sqrt(strengths[:, None] * variance) * nodes
    expected = np.logaddexp(0, -drawn) @ weights / np.sqrt(2 * np.pi)
    return expected, np.logaddexp(0, -margin + strengths * variance / 2)


def ellipse(center: np.ndarray, sigma: np.ndarray, deviations: float, look: str) -> str:
    """The contour at so many standard deviations."""
    values, vectors = np.linalg.eigh(sigma)
    short, long = deviations * np.sqrt(values)
    angle = np.rad2deg(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180
    x, y = center
    return (
        f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{long:.1f}" ry="{short:.1f}" '
        f'transform="rotate({angle:.1f} {x:.0f} {y:.0f})" {look}/>'
    )


def dots(points: np.ndarray, look: str, radius: float) -> list[str]:
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {look}/>' for x, y in points]


def text(x: float, y: float, words: str, look: str = "text", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{look}" text-anchor="{anchor}">{words}</text>'


def path(steps: str, look: str) -> str:
    return f'<path d="{steps}" class="{look}" fill="none"/>'


def boundary() -> str:
    """Through the middle between the means, at right angles to the head's direction."""
    middle, towards = (MEANS["one"] + MEANS["two"]) / 2, MEANS["one"] - MEANS["two"]
    x = [middle[0] - (y - middle[1]) * towards[1] / towards[0] for y in (58, 325)]
    return path(f"M{x[0]:.1f} 58 L{x[1]:.1f} 325", 'faint" stroke-dasharray="6 5')


def feature_space() -> list[str]:
    rng = np.random.default_rng(3)
    drawn = [boundary()]
    for name, count in (("one", 42), ("two", 34)):
        points = rng.multivariate_normal(MEANS[name], SIGMA[name], count)
        drawn += dots(points, f'class="{name}" opacity="0.5"', 3)
        look = f'class="{name}-line" fill="none" stroke-width="2"'
        drawn.append(ellipse(MEANS[name], SIGMA[name], 2, look))
    look = 'class="new new-line" fill-opacity="0.22" stroke-width="1.5"'
    drawn.append(ellipse(FEATURE, LAMBDA * SIGMA["one"], 2, look))
    draws = rng.multivariate_normal(FEATURE, LAMBDA * SIGMA["one"], 16)
    drawn += dots(draws, 'class="new-line" fill="none" stroke-width="1.5"', 3.5)
    drawn += dots(FEATURE[None], 'class="new"', 6)
    return drawn


def labels_of_space() -> list[str]:
    return [
        text(20, 32, "Features of two classes", "text title"),
        text(20, 100, "cats, with their", "one small"),
        text(20, 117, "covariance Σ", "one small"),
        text(316, 68, "dogs", "two small"),
        text(180, 50, "decision boundary", "text small", "middle"),
        path("M156 243 L252 296", "new-line"),
        text(256, 298, "one cat’s feature a", "new small"),
        text(256, 315, "and what it may", "new small"),
        text(256, 332, "become: N(a, λΣ)", "new small"),
    ]


def loss_over_lambda() -> list[str]:
    left, bottom, width, height = 40.0, 300.0, 270.0, 215.0
    strengths = np.linspace(0, 1, 41)
    expected, bound = losses(strengths)

    def y(loss: float) -> float:
        return bottom - height * loss / (1.15 * float(bound.max()))

    def curve(values: np.ndarray, look: str) -> str:
        points = (
            f"{left + width * k:.1f} {y(v):.1f}" for k, v in zip(strengths, values, strict=True)
        )
        return path("M" + " L".join(points), look)

    ticks = (0, 0.25, 0.5, 0.75, 1)
    right, alone, at = left + width, y(bound[0]), left + width * LAMBDA
    return [
        text(20, 32, "Loss of that feature", "text title"),
        path(f"M{left} {bottom - height} V{bottom} H{right}", "faint"),
        path(f"M{at} {bottom} v-{height}", "grid"),
        path(f"M{left} {alone:.1f} H{right}", 'faint" stroke-dasharray="3 4'),
        curve(expected, 'new-line" stroke-width="2.5'),
        curve(bound, 'two-line" stroke-width="2.5'),
        text(right, y(bound[-1]) - 10, "the bound, which is trained on", "two small", "end"),
        text(right, alone - 9, "mean over the ellipse", "new small", "end"),
        text(right, alone + 19, "loss of the feature alone", "text small", "end"),
        *(text(left + width * k, bottom + 20, f"{k:g}", "text small", "middle") for k in ticks),
        text(left + width / 2, bottom + 42, "strength λ", "text small", "middle"),
        text(left - 8, bottom + 4, "0", "text small", "end"),
    ]


def picture(title: str, width: int, content: list[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" viewBox="0 0 {width} 355" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" width="{width}" height="355" rx="8"/>',
        *content,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def pictures() -> dict[str, str]:
    """The content of each file."""
    features = "Two classes of features, the covariance of one, and an augmented feature"
    bound = "Expected loss of an augmented feature and its bound over the strength lambda"
    return {
        "isda-features.svg": picture(features, 410, [*feature_space(), *labels_of_space()]),
        "isda-bound.svg": picture(bound, 340, loss_over_lambda()),
    }


if __name__ == "__main__":
    for name, content in pictures().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
