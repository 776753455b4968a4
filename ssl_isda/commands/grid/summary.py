"""What came out of a grid: a line for each cell, then each failure with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ssl_isda.commands.grid.expansion import GridRun
from ssl_isda.results.estimates import estimate


def summary(
    runs: Sequence[GridRun], errors: Mapping[Path, float], failures: Mapping[Path, str]
) -> str:
    """Mean ± standard deviation (n) of the test errors over the seeds of each cell, in percent."""
    return "\n".join(_lines(runs, errors, failures))


def _lines(
    runs: Sequence[GridRun], errors: Mapping[Path, float], failures: Mapping[Path, str]
) -> Iterator[str]:
    cells: dict[Path, list[Path]] = {}
    for run in runs:
        cells.setdefault(run.path.parent, []).append(run.path)
    width = max(len(str(cell)) for cell in cells)
    yield "test error in %, mean ± standard deviation over the seeds"
    for cell, paths in cells.items():
        found = estimate([errors[path] for path in paths if path in errors])
        num_failed = sum(path in failures for path in paths)
        failed = f"  {num_failed} failed" if num_failed else ""
        yield f"  {cell!s:<{width}}  {found or '-'}{failed}"
    for path, reason in failures.items():
        yield f"failed: {path}: {reason}"
