"""``run.py predict``: from the words of the command to its table and page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import counted, show, shows_bars
from ssl_isda.base.words import printed
from ssl_isda.data.images.paths import FoundFiles, find_files
from ssl_isda.results.writing import make_folder, refuse_as_file
from ssl_isda.settings.options import Place, read_options
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.setting import UsablePath

if TYPE_CHECKING:
    from ssl_isda.commands.predict.judged import Judged
    from ssl_isda.data.inputs import Inputs
    from ssl_isda.data.preparation import Preparation

USAGE = """\
usage: python run.py predict RUN PATHS ... [flags]

Names the class of every image, as a trained network sees it: the one that the run's method tests, on
images prepared as in training. RUN is a run's folder, or a file of export-model. PATHS are image files,
folders of them, and .npz files with an array X; of a run on vectors .npz, .npy, .csv or .parquet files.
The data that the run was trained on are not needed.
A header and a line for each image are printed, or written to --out:

  file, class, probability, second_class, margin     margin: how far the second class is below the first

Of a run with a class for each pixel, --out names a folder: it gets a palette PNG for each image, and
masks.csv with the share of each class; --review shows the masks over the images.

  python run.py predict runs/folder-all/vat/seed0 photos --out predictions.csv --review review.html
"""


class PredictConfig(Place):
    """How a network predicts, and where that goes."""

    out: UsablePath | None = None
    """CSV file with a line for each image; unset: they are printed."""
    review: UsablePath | None = None
    """HTML page: the least and the most certain images and, where folders name classes, mistakes."""
    unsure: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    """Adds a column "unsure", yes where the probability is below this number."""
    skip_unreadable: bool = False
    """Predict the others where some images cannot be read."""
    batch_size: int | None = Field(None, ge=1)
    """Images that pass the network at once; unset: as in a run's evaluation."""


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``predict``."""
    given = read_options(arguments, USAGE, PredictConfig)
    if given is None:
        return 0
    words, options = given
    if len(words) < 2:
        raise UsageError("predict needs a run's folder and what to predict: predict RUN photos")
    run, places = Path(words[0]), words[1:]
    config = None if run.is_file() else settings_of_run(run, options).config
    of_pixels = config is not None and config.task == "segmentation"
    _check_targets(options, [words[0], *places], of_pixels=of_pixels)
    found = find_files(places)
    for line in found.notes:
        show(line, stream=sys.stderr)
    judged = _judged(run, found, options, config.threads if config else None)
    if judged is not None:
        _write(*judged, options)
    return 0


def _check_targets(options: PredictConfig, inputs: Sequence[str], *, of_pixels: bool) -> None:
    """What can be wrong with --out and --review before there is anything to write."""
    if of_pixels and options.unsure is not None:
        raise UsageError(
            "--unsure is for one class an image, and this run has one a pixel: leave it out"
        )
    if of_pixels and options.out is None:
        raise UsageError("the run has a class for each pixel: --out FOLDER says where its masks go")
    targets = {flag: getattr(options, flag) for flag in ("out", "review")}
    given = {flag: path for flag, path in targets.items() if path is not None}
    for flag, path in given.items():
        if not (of_pixels and flag == "out"):
            refuse_as_file(flag, path)
        if path.resolve() in [Path(each).resolve() for each in inputs]:
            raise UsageError(f"--{flag} {printed(path)} would replace what is to be read")
    if len({path.resolve() for path in given.values()}) < len(given):
        raise UsageError(f"--out and --review are the same file, {printed(given['out'])}")


def _judged(
    run: Path, found: FoundFiles, options: PredictConfig, threads: int | None
) -> tuple[Judged, list[Inputs]] | None:
    """Every input through the network, batch by batch; and the inputs, to be looked at. None where
    masks are written instead."""
    import torch

    from ssl_isda.assembly.trained import evaluated_network, evaluated_passes
    from ssl_isda.commands.predict.judged import Gathering
    from ssl_isda.commands.predict.known_labels import known_labels
    from ssl_isda.data.batches import evaluated_at_once
    from ssl_isda.data.inputs import inputs_in, refuse_unreadable
    from ssl_isda.training.dense import is_dense
    from ssl_isda.training.prediction import predictions

    if threads := options.threads or threads:
        torch.set_num_threads(threads)
    network, prepare, precision = evaluated_network(run, options)
    parts = inputs_in(found, prepare)
    of_pixels = is_dense(network)
    passed = partial(
        predictions,
        evaluated_passes(run, network, options) if of_pixels else network,
        prepare,
        precision,
        batch_size=options.batch_size or (evaluated_at_once(prepare.shape) if of_pixels else None),
        skip_unreadable=options.skip_unreadable,
    )
    batches = (
        (number, *batch) for number, part in enumerate(parts) for batch in passed(inputs=part)
    )
    if of_pixels:
        _write_masks(batches, parts, prepare, options)
        return None
    labels = known_labels(found, parts, prepare.class_names)
    gathering = Gathering(prepare.class_names, parts, labels)
    total = sum(len(part.names) for part in parts)
    for batch in counted(batches, total, "image", lambda batch: len(batch[1])):
        gathering.add(*batch)
    if not options.skip_unreadable or gathering.is_empty:
        refuse_unreadable(parts, "--skip-unreadable predicts the others, if any")
    _tell_skipped(parts)
    return gathering.judged(), parts


def _write_masks(
    batches: Any, parts: Sequence[Inputs], prepare: Preparation, options: PredictConfig
) -> None:
    from ssl_isda.commands.predict.masks import gathered_masks, write_masks
    from ssl_isda.data.inputs import refuse_unreadable

    shown = options.review is not None
    writer = gathered_masks(batches, parts, prepare, options.out, shown=shown)
    if not options.skip_unreadable or not writer.rows:
        refuse_unreadable(parts, "--skip-unreadable predicts the others, if any")
    _tell_skipped(parts)
    write_masks(writer, options.review)


def _tell_skipped(parts: Sequence[Inputs]) -> None:
    for part in parts:
        for name, reason in sorted(part.unreadable.items()):
            show(f"skipped {printed(name)}: {reason}", stream=sys.stderr)


def _write(judged: Judged, parts: Sequence[Inputs], options: PredictConfig) -> None:
    """The page first: where it fails, there is no table either."""
    from ssl_isda.commands.predict.table import csv_of, text_of

    summary = judged.in_words(options.unsure)
    if options.review is not None:
        from ssl_isda.commands.predict.review import html_page

        _put(options.review, html_page(judged, parts, options.unsure))
        show(f"{printed(options.review)}: {summary}", stream=sys.stderr)
    if options.out is not None:
        _put(options.out, csv_of(judged, options.unsure))
        show(f"{printed(options.out)}: {summary}")
    elif shows_bars(sys.stdout):
        show(f"{text_of(judged, options.unsure)}\n{summary}")
    else:
        show(csv_of(judged, options.unsure).rstrip("\n"))


def _put(path: Path, text: str) -> None:
    make_folder(path.parent)
    write_atomically(path, text.encode("utf-8", "backslashreplace"))
