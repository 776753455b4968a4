"""``run.py export``: its words, and the runs one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.commands.export.options import USAGE, ExportConfig
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.config import settings_of
from ssl_isda.settings.recorded import settings_of_run
from ssl_isda.settings.resolve import command_help, read_command

if TYPE_CHECKING:
    from ssl_isda.results.embedding import Panel
    from ssl_isda.results.features import Features


def command(arguments: Sequence[str]) -> int:
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
    resolved = [settings_of_run(Path(name), options) for name in names]
    if len({each.config.dataset for each in resolved}) > 1:
        raise UsageError("export: the runs are of different data sets; export them one by one")
    folders = [RunFolder(each, Path(name)) for each, name in zip(resolved, names, strict=True)]
    out = options.out or (Path() if len(names) > 1 else None)
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(folder.locked())
        if out is not None:
            _make_folder(out)
        _export_all(folders, options, out)
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


def _export_all(folders: Sequence[RunFolder], options: ExportConfig, out: Path | None) -> None:
    """One run after another, then the figure of all."""
    from ssl_isda.assembly import evaluate
    from ssl_isda.commands.export.writing import export_run, titles, write_figure

    panels: list[Panel] = []
    first: Features | None = None
    for folder, title in zip(folders, titles([f.resolved for f in folders]), strict=True):
        found = evaluate(folder, test_only=options.test_only)
        if first is not None and not first.has_the_test_images_of(found):
            raise UsageError(
                f"{folder.path} was tested on other images than {folders[0].path}: "
                "one figure cannot compare them; export them one by one"
            )
        first = first or found
        panels.append(export_run(folder.resolved, folder.path, title, found, options))
    if out is not None and first is not None:
        write_figure(out, panels, first.class_names.tolist())
