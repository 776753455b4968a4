"""What ``run.py export`` writes: a run's features.npz, tsne.npz, clusters.json and pictures."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import duration, show
from ssl_isda.commands.export.options import ExportConfig
from ssl_isda.results.embedding import (
    NUM_NEIGHBOURS,
    Panel,
    balanced_subset,
    check_embeddable,
    cluster_quality,
    draw,
    embed,
    readable,
)
from ssl_isda.results.features import TEST, Features, npz_bytes
from ssl_isda.runs.wandb_view import open_run_view
from ssl_isda.settings.config import Resolved


def titles(runs: Sequence[Resolved]) -> list[str]:
    """What stands above each run's panel, before its error; the seed only where it matters."""
    plain = [(_method(run), _data(run)) for run in runs]
    count = Counter(plain)
    return [
        f"{method}{f', seed {run.config.seed}' if count[method, data] > 1 else ''}\n{data}"
        for (method, data), run in zip(plain, runs, strict=True)
    ]


def _method(run: Resolved) -> str:
    name = run.config.method
    words = name.upper() if len(name) <= 3 else name.replace("_", " ").capitalize()
    return f"{words} + ISDA" if run.config.isda else words


def _data(run: Resolved) -> str:
    config = run.config
    name = config.data_dir.resolve().name if config.dataset == "folder" else config.dataset
    return f"{readable(name)}, {'all' if config.labels is None else f'{config.labels:,}'} labels"


def export_run(
    run: Resolved, path: Path, title: str, found: Features, options: ExportConfig
) -> Panel:
    """Write the files of the run at ``path``, telling what is done; its panel for a common figure.

    Raises
    ------
    UsageError
        There is nothing to draw; then no file is written.
    OutputFailed
        The disk is full.
    """
    drawn = (found.part == TEST).nonzero()[0]
    drawn = drawn[balanced_subset(found.labels[drawn], options.points)]
    points, labels = found.features[drawn], found.labels[drawn]
    try:
        check_embeddable(points, options.perplexity)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    found.save(path / "features.npz")
    show(f"{path}: test error {found.error():.2f} %; {len(found.part):,} images in features.npz")

    show(f"t-SNE of {len(points):,} test images x {points.shape[1]} features ...")
    began = time.monotonic()
    coordinates = embed(points, options.perplexity)
    show(f"t-SNE took {duration(time.monotonic() - began)}")

    panel = Panel(f"{title}: test error {found.error():.2f} %", coordinates, labels)
    chosen = {name: getattr(found, name)[drawn] for name in ("index", "labels", "predictions")}
    names = {"title": np.array(panel.title), "class_names": found.class_names}
    write_atomically(path / "tsne.npz", npz_bytes(coordinates=coordinates, **chosen, **names))
    quality = {
        "test_error": found.error(),
        "points": len(points),
        "perplexity": options.perplexity,
        "distance": "euclidean",
        "neighbours": NUM_NEIGHBOURS,
        "features": cluster_quality(points, labels),
        "tsne": cluster_quality(coordinates, labels),
    }
    write_atomically(path / "clusters.json", (json.dumps(quality, indent=2) + "\n").encode())
    show(f"{path}: {_in_words(quality)}")
    write_figure(path, [panel], found.class_names.tolist())
    show_at_wandb(run, path, quality, options)
    return panel


def show_at_wandb(
    run: Resolved, path: Path, quality: Mapping[str, Any], options: ExportConfig
) -> None:
    """The picture and the numbers, beside the training's curves: same group, job type "export"."""
    view = open_run_view(
        run,
        path,
        mode=options.wandb,
        history=(),
        warn=lambda line: show(f"warning: {line}"),
        job_type="export",
    )
    if view:
        view.show_image("tsne", path / "tsne.png")
        view.finish({k: v for k, v in quality.items() if not isinstance(v, dict)}, 0)


def write_figure(folder: Path, panels: Sequence[Panel], class_names: Sequence[str]) -> None:
    """Write tsne.png and tsne.svg."""
    png, svg = draw(panels, class_names)
    write_atomically(folder / "tsne.png", png)
    write_atomically(folder / "tsne.svg", svg)
    show(f"{folder / 'tsne.png'} and .svg written")


def read_panel(archive: Path) -> tuple[Panel, list[str]]:
    """A picture's points and the names of the classes from a tsne.npz.

    Raises
    ------
    ValueError, KeyError, zipfile.BadZipFile
        It is none.
    """
    with np.load(archive, allow_pickle=False) as kept:
        panel = Panel(str(kept["title"]), kept["coordinates"], kept["labels"])
        return panel, kept["class_names"].tolist()


def _in_words(quality: dict[str, Any]) -> str:
    phrases = []
    for space, words in (("features", "among the features"), ("tsne", "in the picture")):
        accuracy, silhouette = quality[space]["knn_accuracy"], quality[space]["silhouette"]
        text = "no" if silhouette is None else f"{silhouette:.3f}"
        phrases.append(f"{accuracy:.2f} % and silhouette {text} {words}")
    return f"{NUM_NEIGHBOURS}-NN accuracy {', '.join(phrases)} (Euclidean)"
