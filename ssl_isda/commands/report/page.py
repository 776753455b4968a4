"""The report as one page: no script, nothing fetched, figures inside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssl_isda import __version__
from ssl_isda.base.progress import duration
from ssl_isda.commands.report.contents import (
    BESIDE_IN_WORDS,
    PUBLISHED_IN_WORDS,
    SHORT,
    Report,
    by_value,
    compared_in_words,
)
from ssl_isda.results.cells import Cell, Column, row_name
from ssl_isda.results.classes import Classes, classes_of, score_columns, scores_beside
from ssl_isda.results.curves import metrics_of
from ssl_isda.results.figures import error_figure, matrix_figure, metric_figure
from ssl_isda.results.headlines import judged_by
from ssl_isda.results.html import data_url, rendered
from ssl_isda.results.pairs import detectable_in_words, paired
from ssl_isda.results.paper import spelled
from ssl_isda.results.run_settings import NOT_OF_THE_EXPERIMENT
from ssl_isda.runs.metrics import TEST_ERROR, TEST_MEAN_IOU
from ssl_isda.settings.label_words import IN_FOLDERS

TEMPLATE = "page.html.j2"
_HIDDEN_SETTINGS = frozenset({"method", "isda", "seed", "dataset", *IN_FOLDERS})
"""They are in the headings."""


@dataclass(frozen=True)
class Figure:
    """A picture with its caption."""

    title: str
    description: str
    """For those who do not see it."""
    source: str
    """As a data URL."""


def html_page(report: Report) -> str:
    """The whole page; everything that comes from a run is escaped."""
    return rendered(
        Path(__file__).with_name(TEMPLATE),
        {"duration": duration, "row_name": row_name},
        beside=BESIDE_IN_WORDS,
        compared=compared_in_words(report.runs),
        judged=judged_by(report.runs),
        published=PUBLISHED_IN_WORDS,
        detectable=detectable_in_words,
        paired=paired,
        report=report,
        sections=[_section(column, report.cells_in(column)) for column in report.columns],
        version=__version__,
        by_value=by_value,
        settings_of=settings_of,
        short=SHORT,
    )


def settings_of(cell: Cell) -> str:
    """The settings of an experiment on one line: "width 0.25, epochs 40, ..."."""
    left_out = _HIDDEN_SETTINGS | NOT_OF_THE_EXPERIMENT
    kept = [(name, value) for name, value in cell.settings.items() if name not in left_out]
    return ", ".join(f"{name} {spelled(value)}" for name, value in kept)


def _section(column: Column, cells: list[Cell]) -> dict[str, object]:
    """All about one data set with one number of labels."""
    found = [(cell, classes_of(cell)) for cell in cells]
    beside = [(cell, scores) for cell in cells if (scores := scores_beside(cell))]
    return {
        "name": column.name,
        "cells": cells,
        "errors": [*_error_figures(column, cells)],
        "metrics": [*_metric_figures(column, cells)],
        "timed": [cell for cell in cells if cell.seconds],
        "scores": beside,
        "score_columns": score_columns(scores for _, scores in beside),
        "classes": [(cell, each, _matrix(cell, each)) for cell, each in found if each],
        "without_classes": [cell.name for cell, each in found if not each],
    }


def _error_figures(column: Column, cells: list[Cell]) -> Iterator[Figure]:
    """One for each method, plain and with ISDA."""
    for method in dict.fromkeys(cell.method for cell in cells):
        of_method = [cell for cell in cells if cell.method == method]
        if svg := error_figure(of_method):
            name = row_name((method, False, ""))
            runs = [run for cell in of_method for run in cell.runs]
            yield _figure(
                name, f"Test {judged_by(runs)} of {name} over the training, {column.name}", svg
            )


def _metric_figures(column: Column, cells: list[Cell]) -> Iterator[Figure]:
    """One for each metric, with all methods."""
    for metric in metrics_of(cells):
        if metric not in (TEST_ERROR, TEST_MEAN_IOU) and (svg := metric_figure(cells, metric)):
            description = f"{metric.meaning} over the training, {column.name}"
            yield _figure(metric.meaning, description, svg)


def _matrix(cell: Cell, classes: Classes) -> Figure | None:
    if classes.is_small:
        return None
    name = "Confusion matrix"
    none = [0.0] * len(classes.names)
    shares = [row or none for row in classes.shares]  # a class without images has no shares
    return _figure(name, f"{name} of {cell.name}", matrix_figure(shares))


def _figure(title: str, description: str, svg: bytes) -> Figure:
    return Figure(title, description, data_url("svg+xml", svg))
