"""Results without weights: what a repository can keep of runs, and a report can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.results.cells import cells_of
from ssl_isda.results.gathered import gathered
from ssl_isda.results.runs import Run, find_runs, read_run
from ssl_isda.results.writing import write_report
from ssl_isda.runs.data_digest import other_images

KEPT = ("config.yaml", "split.json", "metrics.jsonl", "timing.jsonl", "log.txt", "result.json")
"""Everything that tables and figures are made of; checkpoints and exports stay where they are."""


def collect(runs: Path, out: Path) -> tuple[int, list[str]]:
    """Copy the finished runs below ``runs`` to the same places below ``out``, over older copies.

    So are failed ones, whose log says why: a table names them. A run whose files do not fit together
    is neither, nor is one whose copy was made on other images. What a search found goes with its runs.
    Returns the number of runs that were copied, and what was left where it is, with the reason.

    Raises
    ------
    UsageError
        There is no such folder, no run in it, or ``out`` lies within it: its copies would be found
        as runs the next time.
    OutputFailed
        A file could not be written.
    """
    if out.resolve().is_relative_to(runs.resolve()):
        raise UsageError(
            f"--out {printed(out)} lies within {printed(runs)}: choose a place outside"
        )
    count, left = 0, []
    for run in find_runs([runs]):
        if run.state not in ("finished", "failed"):
            left.append(f"{run.path}: {run.state}{': ' * bool(run.problem)}{run.problem}")
            continue
        if other := _other_images(run, out / run.folder.relative_to(runs)):
            left.append(f"{run.path}: {other}")
            continue
        # result.json comes last: a copy that was cut short is no finished run
        kept = [file for name in KEPT if (file := run.folder / name).is_file()]
        _copy(kept, out / run.folder.relative_to(runs))
        count += 1
    for found in sorted(runs.rglob("search.json")):
        _copy([found], out / found.parent.relative_to(runs))
    return count, left


def collect_into_file(places: Sequence[Path], out: Path) -> tuple[int, list[str]]:
    """Write the finished and failed runs of folders, and of such files, into one file, a line for each
    cell; number and what is left out as ``collect`` says. ``out`` may be one of the files. A run that
    is there twice is written once.

    Raises
    ------
    UsageError
        There is no such place, or no run in it.
    OutputFailed
        The file could not be written.
    """
    found = find_runs(places)
    left = [f"{run.path}: {run.state}" for run in found if run.state not in ("finished", "failed")]
    cells = cells_of(found)
    left += [f"{run.path}: {run.problem}" for cell in cells for run in cell.of_state("repeated")]
    kept = [
        run for cell in cells for state in ("finished", "failed") for run in cell.of_state(state)
    ]
    write_report({out.name: gathered(kept)}, out.parent)
    return len(kept), left


def _other_images(run: Run, target: Path) -> str | None:
    """Why a copy that is there must not be replaced: its result was made on other images."""
    if not (target / "result.json").is_file():
        return None
    kept = read_run(target).data_digest
    if (now := other_images(kept, [run.data_digest])) is None:
        return None
    return (
        f"the copy in {printed(target)} was made on other images (digest {kept} there, {now} here): "
        "delete it, or choose another --out"
    )


def _copy(files: Iterable[Path], target: Path) -> None:
    write_report({file.name: file.read_bytes() for file in files}, target)
