"""What visualize shows of regained images: rows of pictures, nearest training images, a page, numbers.

Shape key: n images, k draws for each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_isda import __version__
from ssl_isda.base.words import printed
from ssl_isda.commands.visualize.nearest import nearest_in_features, nearest_in_pixels
from ssl_isda.commands.visualize.rates import difference, in_words, kept_rate
from ssl_isda.commands.visualize.regaining import (
    FACTORS,
    KINDS,
    RANDOM,
    SEMANTIC,
    How,
    Mapped,
    kept_by_features,
    kept_by_pictures,
)
from ssl_isda.commands.visualize.trained_run import TrainedRun
from ssl_isda.generators.contract import images_of, pixels_of
from ssl_isda.generators.mapping import Regained
from ssl_isda.generators.saved import Saved
from ssl_isda.results.html import data_url, rendered
from ssl_isda.results.mosaic import Row, mosaic

FILES = ("pixels.png", "nearest.png", "pixels.html", "pixels.json")
ACROSS = 16
"""Images in a row of the picture."""
WITH_NEAREST = 10
"""Images whose nearest training images are shown."""


def numbers_of(run: TrainedRun, saved: Saved, found: Mapped, how: How) -> dict[str, Any]:
    """Everything that is told beside the pictures."""
    errors = {"step_1": _errors(found.reconstructed, found.reconstructed.before)}
    for kind, regained in found.augmented.items():
        errors[f"step_2_{kind}"] = _errors(regained, found.steps[kind].square().mean(1))
    return {
        "run": printed(run.path),
        "generator": printed(saved.name),
        "generator_steps": saved.num_steps,
        "generator_unfinished": saved.unfinished,
        "covariances": run.covariances.told,
        "images_shown": run.images_to_show,
        "images": len(found.places),
        "draws": how.draws,
        "strength": how.strength,
        "eta": how.eta,
        "iterations": how.iterations,
        "feature_errors": errors,
        "pixel_error_of_step_1": _pixel_error(found),
        "class_kept": _class_kept(run, found),
        "distance_to_the_nearest_training_image": _memory(run, found),
        "places": found.places,
        "classes": [run.class_names[c] for c in found.classes.tolist()],
    }


def _errors(regained: Regained, whole: torch.Tensor) -> dict[str, float]:
    """Means of the mean squared errors; ``left`` is the share of ``whole`` that is left, in percent."""
    before, after = float(regained.before.mean()), float(regained.after.mean())
    return {"before": before, "after": after, "left": 100 * after / float(whole.mean())}


def _pixel_error(found: Mapped) -> float:
    """Mean squared error, of pixels from -1 to 1."""
    images = found.reconstructed.images.cpu()
    return float((images - images_of(found.pixels)).square().mean())


def _class_kept(run: TrainedRun, found: Mapped) -> dict[str, Any]:
    pictures = {kind: kept_by_pictures(run, found, found.augmented[kind]) for kind in KINDS}
    told: dict[str, Any] = {
        "reconstructions": kept_rate(kept_by_pictures(run, found, found.reconstructed)),
        "pictures": {kind: kept_rate(kept) for kind, kept in pictures.items()},
    }
    told["pictures"]["difference"] = difference(pictures[SEMANTIC], pictures[RANDOM])
    told["features"] = []
    for factor in FACTORS:
        kept = {kind: kept_by_features(run, found, kind, factor) for kind in KINDS}
        row: dict[str, Any] = {"length": factor} | {k: kept_rate(v) for k, v in kept.items()}
        told["features"].append(row | {"difference": difference(kept[SEMANTIC], kept[RANDOM])})
    return told


def _memory(run: TrainedRun, found: Mapped) -> dict[str, float]:
    """Mean Euclidean distances in pixels from -1 to 1: of a generator that remembers, 0."""
    sets = {"originals": images_of(found.pixels), "reconstructions": found.reconstructed.images}
    sets |= {kind: found.augmented[kind].images for kind in KINDS}
    distances = nearest_in_pixels(run, torch.cat([*sets.values()]), 1).distances
    parts = distances.split([len(images) for images in sets.values()])
    return {name: float(part.mean()) for name, part in zip(sets, parts, strict=True)}


def files(run: TrainedRun, found: Mapped, numbers: Mapping[str, Any]) -> dict[str, str | bytes]:
    """The pictures, the page and the numbers by name."""
    picture, nearest = mosaic(rows_of(found)), mosaic(_nearest_rows(run, found))
    page = rendered(
        Path(__file__).with_name("page.html.j2"),
        {"rate": in_words},
        numbers=numbers,
        picture=data_url("png", picture),
        nearest=data_url("png", nearest),
        across=min(ACROSS, len(found.places)),
        with_nearest=min(WITH_NEAREST, len(found.places)),
        version=__version__,
    )
    contents = (picture, nearest, page, json.dumps(numbers, indent=2) + "\n")
    return dict(zip(FILES, contents, strict=True))


def rows_of(found: Mapped) -> list[Row]:
    """Original, reconstruction, and a row for each draw of each kind."""
    n = len(found.places)
    rows = [
        Row("original", _first(found.pixels)),
        Row("reconstruction", _first(pixels_of(found.reconstructed.images))),
    ]
    for kind in KINDS:
        draws = pixels_of(found.augmented[kind].images).split(n)
        rows += [Row(f"{kind} {k}", _first(images)) for k, images in enumerate(draws, 1)]
    return rows


def _first(pixels: torch.Tensor) -> Sequence[np.ndarray]:
    return list(pixels[:ACROSS].cpu().numpy())


def _nearest_rows(run: TrainedRun, found: Mapped) -> list[Row]:
    """A picture of the first semantic draw, the nearest in pixels, a gap, the nearest in features."""
    regained = found.augmented[SEMANTIC]
    count = min(WITH_NEAREST, len(found.places))
    images, features = regained.images[:count], regained.features[:count]
    both = nearest_in_pixels(run, images).places, nearest_in_features(run, features).places
    pixels = pixels_of(images).cpu().numpy()
    rows = []
    for k, (near, alike) in enumerate(zip(*both, strict=True)):
        others = [[*run.train_pixels(places.tolist())] for places in (near, alike)]
        word = printed(run.class_names[int(found.classes[k])])[:16]
        rows.append(Row(word, [pixels[k], None, *others[0], None, *others[1]]))
    return rows
