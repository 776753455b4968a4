"""``run.py analyze strength``: what lambda came to at the end, beside the checkpoint's own numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from ssl_isda import cli
from ssl_isda.runs import checkpoint

FLAGS = "--dataset digits_vectors --method pi_model --labels 40 --steps 6 --features 5 --threads 1"
KINDS = {
    "plain": "",
    "full": "--isda --lambda-0 3",
    "weak": "--isda --lambda-0 0.5",
    "matched": "--isda --lambda-0 3 --covariance identity --matched-strength",
    "shrunk": "--isda --lambda-0 3 --shrinkage 0.5",
    "learned": "--isda --lambda-0 3 --covariance learned --uncertainty-weight 0.1",
    "explicit": "--isda --lambda-0 3 --augmentation explicit --augmentation-samples 2",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seeds of each kind, in folders of the kinds' names."""
    folder, before = tmp_path_factory.mktemp("strength"), torch.get_num_threads()
    for name, more in KINDS.items():
        words = [*FLAGS.split(), "--precision", "fp32", "--wandb", "disabled", *more.split()]
        assert cli.main([*words, "--runs-dir", str(folder / name), "--seeds", "0", "1"]) == 0
    torch.set_num_threads(before)
    return folder


def by_hand(kind: Path, seed: int, strength: float) -> list[float]:
    """Exponent, trace and length, from the sums over classes and features, one term after another."""
    (file,) = kind.rglob(f"seed{seed}/checkpoint.pt")
    state = checkpoint.load(file)
    w, objective = state["student"]["head.weight"].double(), state["objective"]
    part = "reference" if kind.name == "matched" else "covariance"
    if kind.name == "learned":
        root = objective["covariance.root"].double()
        sigmas = root @ root.mT
    else:
        count = objective[f"{part}.count"].double().clamp(min=1)
        sigmas = objective[f"{part}.scatter"].double() / count.view(-1, 1, 1)
    traces = [float(sigma.trace()) for sigma in sigmas]
    if kind.name == "shrunk":
        spheres = [trace / len(sigmas[0]) * torch.eye(len(sigmas[0])) for trace in traces]
        sigmas = (sigmas + torch.stack(spheres)) / 2
    exponents = [
        strength / 2 * float((w[j] - w[c]) @ sigmas[c] @ (w[j] - w[c]))
        for c in range(len(w))
        for j in range(len(w))
        if j != c
    ]
    lengths = [float(row @ row) for row in w]
    return [sum(each) / len(each) for each in (exponents, traces, lengths)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
def test_the_numbers_are_those_of_the_definitions(runs: Path, tmp_path: Path, kind: str) -> None:
    """Of two runs the median is their mean; a matched strength is that of the class's own covariance."""
    words = ["analyze", "strength", str(runs / kind), "--out", str(tmp_path), "--threads", "1"]
    assert cli.main(words) == 0
    name, count, numbers = json.loads((tmp_path / "strength.jsonl").read_text())
    first, second = (by_hand(runs / kind, seed, 0.5 if kind == "weak" else 3) for seed in (0, 1))
    assert (name, count) == ("digits_vectors, 40 labels, Π-model + ISDA", 2)
    assert all(first) and first != second
    for found, pair in zip(numbers, zip(first, second, strict=True), strict=True):
        assert found == pytest.approx([sum(pair) / 2, min(pair), max(pair)], rel=1e-5)


def test_cells_have_the_names_of_a_comparison_and_files_are_made_again(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [str(runs / kind) for kind in ("plain", "full", "weak", "matched")]
    assert cli.main(["analyze", "strength", *chosen, "--out", str(tmp_path)]) == 0
    rows = [json.loads(line)[0] for line in (tmp_path / "strength.jsonl").read_text().splitlines()]
    start = "digits_vectors, 40 labels, Π-model + ISDA (lambda_0"
    assert rows == [
        f"{start} {n})" for n in ("0.5", "3", "3, covariance identity, matched_strength on")
    ]
    printed, table = capsys.readouterr().out, tmp_path / "strength.md"
    before = table.read_bytes()
    assert printed.strip() == before.decode().strip()
    table.unlink()
    assert cli.main(["analyze", "redraw", str(tmp_path)]) == 0
    assert table.read_bytes() == before


def test_what_has_no_strength_is_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.jsonl"
    shutil.copytree(runs / "full", tmp_path / "full")
    for file in (tmp_path / "full").rglob("seed1/checkpoint.pt*"):
        file.unlink()
    assert cli.main(["analyze", "collect", str(runs / "full"), "--out", str(kept)]) == 0
    capsys.readouterr()
    for place, expected in (
        (kept, f"{kept}:1, seed 0 was kept without its checkpoint: give the folders of runs"),
        (runs / "plain", "none of these runs was trained with --isda and has ended"),
        (tmp_path / "full", "is done, but its checkpoint is not here: --fresh trains it again"),
    ):
        assert cli.main(["analyze", "strength", str(place), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr()
        assert expected in said.err and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "out").exists()
