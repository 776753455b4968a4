"""Two cells, seed by seed."""

from __future__ import annotations

from ssl_isda.results.cells import Cell
from ssl_isda.results.estimates import PairedDifference, paired_difference
from ssl_isda.results.gathered import KEPT_OF_A_DIGEST
from ssl_isda.results.runs import Run


def paired_errors(plain: Cell, other: Cell) -> dict[int, float]:
    """By seed: the test error of ``other`` minus that of ``plain``, in percentage points.

    Only of seeds that are finished on both sides with the same labeled images.
    """
    without = {run.seed: run for run in plain.finished}
    return {
        run.seed: run.error - without[run.seed].error
        for run in other.finished
        if run.seed in without and _same_labels(run, without[run.seed])
    }


def paired(plain: Cell, other: Cell) -> PairedDifference | None:
    """Of ``paired_errors``; None without a pair."""
    return paired_difference([*paired_errors(plain, other).values()])


def detectable_in_words(difference: PairedDifference | None) -> str:
    """ "0.52", the smallest effect that these pairs could have seen; empty of fewer than two."""
    found = difference and difference.detectable
    return "" if found is None else f"{found:.2f}"


def _same_labels(first: Run, second: Run) -> bool:
    """Where a split is not there, the seed stands for it; files of many runs keep part of a digest."""
    if first.split is None or second.split is None:
        return True
    kept = slice(KEPT_OF_A_DIGEST)
    return first.split.digest[kept] == second.split.digest[kept]
