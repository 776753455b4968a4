"""``run.py export``: features, t-SNE and cluster quality of trained runs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.base.progress import duration, show
from ssl_isda.results.cells import row_name
from ssl_isda.results.columns import column_of
from ssl_isda.results.writing import make_folder, write_report
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.wandb_view import open_run_view
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.options import Place, read_options
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.setting import UsablePath

if TYPE_CHECKING:
    import numpy as np

    from ssl_isda.results.features import Features
    from ssl_isda.results.scatter import Panel

USAGE = """\
usage: python run.py export RUN [RUN ...] [flags]

Writes into each run's folder what its network makes of the images, and a picture of it:

  features.npz            features, logits, predictions and labels of all test and training images
  tsne.png, tsne.svg      t-SNE of the test images' features; the coordinates are in tsne.npz
  clusters.json           how well the classes are separated, in the feature space and in the picture

Several runs on the same data also get one figure together, side by side, with the same images in each.

  python run.py export runs/digits-20/vat/seed0 runs/digits-20/vat+isda/seed0
"""


class ExportConfig(Place):
    """How features are exported and drawn."""

    points: int = Field(2000, ge=6)
    """Test images in the picture, the same number of each class as far as there are so many."""
    perplexity: float = Field(30.0, ge=1, allow_inf_nan=False)
    """Of t-SNE: how many neighbours a point looks at, roughly; fewer than there are points."""
    out: UsablePath | None = None
    """Where the figure of all runs goes; unset: the current folder, if there are several runs."""
    test_only: bool = False
    """Leave the training images out of features.npz."""
    wandb: Literal["auto", "offline", "online", "disabled"] | None = None
    """Show the picture at Weights & Biases, as a run of job type "export"; unset: as in training."""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``export``."""
    given = read_options(arguments, USAGE, ExportConfig)
    if given is None:
        return 0
    names, options = given
    folders = _folders(names, options)
    out = options.out or (Path() if len(names) > 1 else None)
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(folder.locked())
        _export_all(folders, options, out)
    return 0


def _folders(names: Sequence[str], options: ExportConfig) -> list[RunFolder]:
    """What can be checked without torch."""
    if options.points <= options.perplexity:
        raise UsageError(
            f"--perplexity must be below --points, {options.points}; got {options.perplexity:g}"
        )
    if not names:
        raise UsageError("export needs a run's folder, such as runs/digits-20/vat/seed0")
    if len({Path(name).resolve() for name in names}) < len(names):
        raise UsageError("export: a run is given twice; once is enough")
    resolved = [settings_of_run(Path(name), options) for name in names]
    if len({each.config.dataset for each in resolved}) > 1:
        raise UsageError("export: the runs are of different data sets; export them one by one")
    return [RunFolder(each, Path(name)) for each, name in zip(resolved, names, strict=True)]


def _export_all(folders: Sequence[RunFolder], options: ExportConfig, out: Path | None) -> None:
    """One run after another, then the figure of all."""
    from ssl_isda.assembly.trained import evaluate

    try:
        make_folder(out or Path())
    except OutputFailed as error:
        raise UsageError(f"--out: {error}") from error
    panels: list[Panel] = []
    first: Features | None = None
    for folder, title in zip(folders, _titles([f.resolved for f in folders]), strict=True):
        found = evaluate(folder, test_only=options.test_only)
        if first is not None and not first.has_the_test_images_of(found):
            raise UsageError(
                f"{folder.path} was tested on other images than {folders[0].path} (digest "
                f"{found.data_digest}, there {first.data_digest}): one figure cannot compare them; "
                "export them one by one"
            )
        first = first or found
        panels.append(_export_run(folder, title, found, options))
    if out is not None and first is not None:
        _write_figure(out, panels, first)


def _titles(runs: Sequence[Resolved]) -> list[str]:
    """What stands above each run's panel, before its error; the seed only where it matters."""
    from ssl_isda.results.scatter import readable

    plain = []
    for config in (run.config for run in runs):
        data = column_of({**dict(config), "data_dir": config.data_dir.resolve()})
        plain.append((row_name((config.method, config.isda, "")), readable(data.name, 40)))
    count = Counter(plain)
    return [
        f"{method}{f', seed {run.config.seed}' if count[method, data] > 1 else ''}\n{data}"
        for (method, data), run in zip(plain, runs, strict=True)
    ]


def _export_run(folder: RunFolder, title: str, found: Features, options: ExportConfig) -> Panel:
    """Write the files of a run, telling what is done; its panel for a common figure.

    Raises
    ------
    UsageError
        There is nothing to draw; then no file is written.
    OutputFailed
        The disk is full.
    """
    import numpy as np

    from ssl_isda.results.embedding import balanced_subset, check_embeddable, embed
    from ssl_isda.results.features import TEST, npz_bytes
    from ssl_isda.results.scatter import Panel

    path = folder.path
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

    title = f"{title}: test error {found.error():.2f} %"
    panel = Panel(title, coordinates, labels, found.data_digest)
    chosen = {name: getattr(found, name)[drawn] for name in ("index", "labels", "predictions")}
    names = {"title": np.array(panel.title), "class_names": found.class_names}
    digest = {"data_digest": np.array(found.data_digest)}
    quality = _quality(found, points, panel, options.perplexity)
    kept: dict[str, str | bytes] = {
        "tsne.npz": npz_bytes(coordinates=coordinates, **chosen, **names, **digest),
        "clusters.json": json.dumps(quality, indent=2) + "\n",
    }
    write_report(kept, path)
    show(f"{path}: {_in_words(quality)}")
    _write_figure(path, [panel], found)
    _show_at_wandb(folder, quality, options, found.data_digest)
    return panel


def _quality(
    found: Features, points: np.ndarray, panel: Panel, perplexity: float
) -> dict[str, Any]:
    from ssl_isda.results.embedding import NUM_NEIGHBOURS, cluster_quality

    return {
        "test_error": found.error(),
        "points": len(points),
        "perplexity": perplexity,
        "distance": "euclidean",
        "neighbours": NUM_NEIGHBOURS,
        "features": cluster_quality(points, panel.labels),
        "tsne": cluster_quality(panel.coordinates, panel.labels),
    }


def _in_words(quality: Mapping[str, Any]) -> str:
    phrases = []
    for space, words in (("features", "among the features"), ("tsne", "in the picture")):
        accuracy, silhouette = quality[space]["knn_accuracy"], quality[space]["silhouette"]
        text = "no" if silhouette is None else f"{silhouette:.3f}"
        phrases.append(f"{accuracy:.2f} % and silhouette {text} {words}")
    return f"{quality['neighbours']}-NN accuracy {', '.join(phrases)} (Euclidean)"


def _write_figure(path: Path, panels: Sequence[Panel], found: Features) -> None:
    from ssl_isda.results.scatter import scatter_files

    write_report(scatter_files(panels, found.class_names.tolist()), path)
    show(f"{path / 'tsne.png'} and .svg written")


def _show_at_wandb(
    folder: RunFolder, quality: Mapping[str, Any], options: ExportConfig, data_digest: str
) -> None:
    """The picture and the numbers, beside the training's curves: same group, job type "export"."""
    view = open_run_view(
        folder.resolved,
        folder.path,
        mode=options.wandb,
        history=(),
        warn=lambda line: show(f"warning: {line}"),
        job_type="export",
        data_digest=data_digest,
    )
    if view:
        view.show_image("tsne", folder.path / "tsne.png")
        view.finish({k: v for k, v in quality.items() if not isinstance(v, dict)}, 0)
