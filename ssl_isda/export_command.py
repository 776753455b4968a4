"""``run.py export``: its words, and the runs one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ssl_isda.command_line import command_help, read_command
from ssl_isda.config import Resolved, settings_of
from ssl_isda.errors import UsageError
from ssl_isda.export_config import USAGE, ExportConfig
from ssl_isda.run_folder import RunFolder
from ssl_isda.tracking import show

if TYPE_CHECKING:
    from ssl_isda.features import Features
    from ssl_isda.tsne import Panel


class Joined(NamedTuple):
    """What an export needs of methods and data, which the core does not know."""

    settings_of_run: Callable[[Path, ExportConfig], Resolved]
    """Those that the run in a folder was trained with, at the place where it is now."""
    evaluate: Callable[[RunFolder, ExportConfig], Features]
    """The run's network on the images."""


def command(arguments: Sequence[str], joined: Joined) -> int:
    """Answer the words after ``export``.

    Raises
    ------
    UsageError
        A flag or a run cannot be used, or the runs do not fit into one figure.
    OutputFailed
        The disk is full.
    """
    settings = settings_of(ExportConfig)
    if "--help" in arguments or "-h" in arguments:
        show(command_help(USAGE, settings))
        return 0
    names, values = read_command(arguments, settings)
    options = ExportConfig(**values)
    _refuse(names, options)
    resolved = [joined.settings_of_run(Path(name), options) for name in names]
    if len({each.config.dataset for each in resolved}) > 1:
        raise UsageError("export: the runs are of different data sets; export them one by one")
    folders = [RunFolder(each, Path(name)) for each, name in zip(resolved, names, strict=True)]
    out = options.out or (Path() if len(names) > 1 else None)
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(folder.locked())
        if out is not None:
            _make_folder(out)
        _export_all(folders, options, out, joined)
    return 0


def _refuse(names: Sequence[str], options: ExportConfig) -> None:
    """What can be seen without a look at the runs."""
    if options.points <= options.perplexity:
        raise UsageError(
            f"--perplexity must be below --points, {options.points}; got {options.perplexity:g}"
        )
    if not names:
        raise UsageError("export needs a run's folder, such as runs/digits-20/vat/seed0")
    if len({Path(name).resolve() for name in names}) < len(names):
        raise UsageError("export: a run is given twice; once is enough")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: cannot make the folder {path}: {error.strerror}") from error


def _export_all(
    folders: Sequence[RunFolder], options: ExportConfig, out: Path | None, joined: Joined
) -> None:
    """One run after another, then the figure of all."""
    from ssl_isda.export import export_run, titles, write_figure

    panels: list[Panel] = []
    first: Features | None = None
    for folder, title in zip(folders, titles([f.resolved for f in folders]), strict=True):
        found = joined.evaluate(folder, options)
        if first is not None and not first.has_the_test_images_of(found):
            raise UsageError(
                f"{folder.path} was tested on other images than {folders[0].path}: "
                "one figure cannot compare them; export them one by one"
            )
        first = first or found
        panels.append(export_run(folder.resolved, folder.path, title, found, options))
    if out is not None and first is not None:
        write_figure(out, panels, first.class_names.tolist())
