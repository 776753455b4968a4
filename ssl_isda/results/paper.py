"""What the paper reports, and with which settings.

Wang, Huang, Song, Pan, Xia, Wu: Regularizing Deep Networks with Semantic Data Augmentation, TPAMI 2021
(arXiv 2007.10538): Table 6, test error in %, mean and standard deviation of five runs. The settings of
its Sec. 6.1 and Appendix B are what this project ships: its defaults, and ``configs/`` of a data set.
"""

from __future__ import annotations

from collections.abc import Mapping

from ssl_isda.results.estimates import Estimate
from ssl_isda.results.run_settings import ISDA_SETTINGS, NOT_OF_THE_EXPERIMENT, shipped

NUM_RUNS = 5

METHODS = ("pi_model", "temporal_ensembling", "mean_teacher", "vat")
"""The rows of Table 6, from top to bottom; each is there plain and with ISDA."""

_PLAIN_AND_ISDA: Mapping[tuple[str, int], Mapping[str, tuple[float, float, float, float]]] = {
    ("cifar10", 1000): {
        "pi_model": (28.74, 0.48, 23.99, 1.30),
        "temporal_ensembling": (25.15, 1.46, 22.77, 0.63),
        "mean_teacher": (18.27, 0.53, 17.11, 1.03),
        "vat": (18.12, 0.82, 14.38, 0.18),
    },
    ("cifar10", 2000): {
        "pi_model": (17.57, 0.44, 14.90, 0.10),
        "temporal_ensembling": (15.78, 0.44, 14.98, 0.73),
        "mean_teacher": (13.45, 0.30, 12.35, 0.14),
        "vat": (13.93, 0.33, 11.52, 0.05),
    },
    ("cifar10", 4000): {
        "pi_model": (12.36, 0.17, 11.35, 0.19),
        "temporal_ensembling": (11.90, 0.25, 11.25, 0.31),
        "mean_teacher": (10.73, 0.14, 9.96, 0.33),
        "vat": (11.10, 0.24, 9.72, 0.14),
    },
    ("cifar100", 10000): {
        "pi_model": (38.06, 0.37, 36.93, 0.28),
        "temporal_ensembling": (41.56, 0.42, 40.47, 0.24),
        "mean_teacher": (36.03, 0.37, 34.60, 0.41),
        "vat": (40.12, 0.12, 36.04, 0.47),
    },
    ("cifar100", 20000): {
        "pi_model": (30.80, 0.18, 30.03, 0.41),
        "temporal_ensembling": (35.35, 0.40, 34.58, 0.27),
        "mean_teacher": (30.00, 0.59, 29.37, 0.30),
        "vat": (34.19, 0.69, 30.97, 0.42),
    },
    ("svhn", 500): {
        "mean_teacher": (4.18, 0.27, 4.06, 0.11),
        "vat": (5.10, 0.08, 4.86, 0.18),
    },
}

COLUMNS = tuple(_PLAIN_AND_ISDA)
"""Data set and number of labels, from left to right."""

TABLE_6: Mapping[tuple[str, int, str, bool], Estimate] = {
    (*column, method, isda): Estimate(*(figures[2:] if isda else figures[:2]), NUM_RUNS)
    for column, rows in _PLAIN_AND_ISDA.items()
    for method, figures in rows.items()
    for isda in (False, True)
}
"""By data set, labels, method and whether ISDA is on."""

LAMBDA_0, ETA_1 = (0.1, 0.25, 0.5, 0.75, 1.0), (0.5, 1.0, 2.0)
"""The values that the paper searched, cell by cell, on held-out labels."""
_STEPS = {"cifar10": 156_000, "cifar100": 156_000, "svhn": 228_800}
"""400 epochs of all training images in whole batches of 128."""


_NOT_COMPARED = NOT_OF_THE_EXPERIMENT | {"isda", "steps", "sync_batchnorm"}


def deviations(settings: Mapping[str, object]) -> list[str]:
    """How the settings of a run on one of the paper's data sets differ from the paper's recipe:
    "width 0.25 (paper: 1)".

    The options of the methods are not compared: the paper says no more of them than that they are
    those of their authors.
    """
    dataset = str(settings["dataset"])
    recipe = {n: v for n, v in shipped(dataset, str(settings["method"])).items() if n in settings}
    searched = {"lambda_0": LAMBDA_0, "eta_1": ETA_1} if settings["isda"] else {}
    left_out = {"labels", *_NOT_COMPARED, *(() if settings["isda"] else ISDA_SETTINGS), *searched}
    if settings["steps"] is not None:
        recipe |= {"steps": _STEPS[dataset]}
        left_out = left_out - {"steps"} | {"epochs"}
    allowed = {name: (value,) for name, value in recipe.items() if name not in left_out}
    return [
        f"{name} {spelled(settings[name])} (paper: {' or '.join(map(spelled, values))})"
        for name, values in {**allowed, **searched}.items()
        if settings[name] not in values
    ]


def spelled(value: object) -> str:
    """A setting's value for people: 156,000; 0.0001; on, off and unset."""
    if value is None or isinstance(value, bool):
        return {None: "unset", True: "on", False: "off"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
