"""What runs are judged by, in words: a test error, or the mIoU of a segmentation."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_isda.results.runs import Run
from ssl_isda.runs.metrics import ERROR_RATE, Headline


def headlines_of(runs: Sequence[Run]) -> list[Headline]:
    """Those of the runs, once each; the error where there is no run."""
    found = {run.headline.name: run.headline for run in runs if run.result or run.epochs}
    return [*found.values()] or [ERROR_RATE]


def judged_by(runs: Sequence[Run]) -> str:
    """ "error", "mIoU", or "error or mIoU"."""
    return " or ".join(each.words for each in headlines_of(runs))


def where_better(runs: Sequence[Run]) -> str:
    """The sign of a difference that is an improvement: "negative", or "positive"."""
    signs = [
        (each.words, "negative" if each.lower_is_better else "positive")
        for each in headlines_of(runs)
    ]
    if len(signs) == 1:
        return signs[0][1]
    return " and ".join(f"{sign} in {words}" for words, sign in signs)
