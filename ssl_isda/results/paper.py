"""What the paper reports, and with which settings.

Its figures are in ``paper.yaml``: Tables 1, 2, 4, 5, 6 and 8, test error in %. Its settings are what this
project ships: the defaults and ``configs/`` of a data set for Table 6 (Sec. 6.1 and Appendix B), and
for supervised training (Appendix A) ``configs/NETWORK_DATASET.yaml``, or what a row of the file names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_isda.results.estimates import Estimate
from ssl_isda.results.run_settings import ISDA_SETTINGS, NOT_OF_THE_EXPERIMENT, shipped
from ssl_isda.settings.yaml_files import written

FILE = Path(__file__).with_suffix(".yaml")

METHODS = ("pi_model", "temporal_ensembling", "mean_teacher", "vat")
"""The rows of Table 6, from top to bottom; each is there plain and with ISDA."""
DATASETS = ("cifar10", "cifar100", "svhn")
"""From left to right."""
NUM_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "svhn": 73_257, "imagenet": 1_281_167}
"""For training."""
LAMBDA_0, ETA_1 = (0.1, 0.25, 0.5, 0.75, 1.0), (0.5, 1.0, 2.0)
"""The values that the paper searched, cell by cell, on held-out images or labels."""

OF_A_CELL = ("dataset", "labels", "method", "isda")
"""Settings in which a run must agree with a figure to be set beside it."""
OF_A_NETWORK = ("model", "loss", "policy")
"""Those of supervised training, in addition."""
_NOT_COMPARED = frozenset({*NOT_OF_THE_EXPERIMENT, "isda", "steps", "sync_batchnorm", "labels"})


@dataclass(frozen=True)
class Figure:
    """One figure of the paper."""

    table: str
    """Where it stands: "Table 2"."""
    error: Estimate
    place: Mapping[str, object]
    """The settings that its row and column name, ``isda`` among them."""
    config: str = ""
    """The settings file of its recipe, where its network and data set do not say which."""

    @property
    def flags(self) -> tuple[str, ...]:
        """The command line of such a run."""
        place = dict(self.place)
        flags = ["--isda"] if place.pop("isda") else []
        if self.config:
            flags += ["--config", self.config]
        elif model := place.pop("model", None):
            flags += ["--config", f"{model}_{place.pop('dataset')}"]
            del place["method"], place["labels"]
        words = {name.replace("_", "-"): value for name, value in place.items()}
        return *flags, *(_flag(name, value) for name, value in words.items())

    @property
    def recipe(self) -> Mapping[str, object]:
        """All settings of such a run, but for the options of its method, of which the paper says no more
        than that they are those of their authors."""
        return shipped(self.flags, str(self.place["method"]))

    def fits(self, settings: Mapping[str, object]) -> bool:
        """Whether it can stand beside runs with these settings, whatever their recipe is."""
        names = OF_A_CELL + (OF_A_NETWORK if "model" in self.place else ())
        names += tuple(name for name in ("svhn_extra", "name") if name in self.place)
        return all(
            settings.get(name) == (self.place if name in self.place else self.recipe)[name]
            for name in names
        )


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={written(value)}"


@functools.cache
def figures() -> tuple[Figure, ...]:
    """All of them, in the order of the tables."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tables = yaml.load(FILE.read_text("utf-8"), loader)
    return tuple(figure for table in tables for figure in _of_table(table))


def _of_table(table: Mapping[str, Any]) -> Iterator[Figure]:
    for row in table["rows"]:
        named = dict(zip(table["head"], row, strict=True))
        config = named.pop("config", "")
        errors = {isda: named.pop(name) for name, isda in _COLUMNS.items() if name in named}
        for isda, error in errors.items():
            place = {**table.get("settings", {}), **named, "isda": isda}
            yield Figure(table["table"], printed_estimate(error, table["runs"]), place, config)


_COLUMNS = {"plain": False, "isda": True}


def printed_estimate(printed: float | str, runs: int) -> Estimate:
    """ "7.39 ± 0.10", or a mean alone."""
    mean, _, std = str(printed).partition(" ± ")
    return Estimate(float(mean), float(std) if std else None, runs)


def figure_of(settings: Mapping[str, object]) -> Figure | None:
    """The figure for runs with these settings, all or those of ``OF_A_CELL`` and ``OF_A_NETWORK``.

    Of several, such as with and without dropout, the one whose recipe is nearest.
    """
    fitting = [figure for figure in _by_cell().get(cell_of(settings), ()) if figure.fits(settings)]
    return min(fitting, key=lambda figure: len(deviations(settings, figure)), default=None)


@functools.cache
def _by_cell() -> Mapping[object, Sequence[Figure]]:
    found: dict[object, list[Figure]] = {}
    for figure in figures():
        found.setdefault(cell_of(figure.place), []).append(figure)
    return found


def cell_of(settings: Mapping[str, object]) -> object:
    """What tells apart the runs that figures can be about."""
    return tuple(settings.get(name) for name in OF_A_CELL)


def deviations(settings: Mapping[str, object], figure: Figure) -> list[str]:
    """How the settings of a run differ from the recipe of a figure: "width 0.25 (paper: 1)"."""
    searched = _searched(figure) if figure.place["isda"] else {}
    left_out = _NOT_COMPARED | (searched.keys() if figure.place["isda"] else ISDA_SETTINGS)
    recipe = dict(figure.recipe)
    if settings.get("steps") is not None or recipe["steps"] is not None:
        left_out = left_out - {"steps"} | {"epochs"}
        recipe["steps"] = recipe["steps"] or _steps(recipe)
    allowed = {name: (value,) for name, value in recipe.items() if name not in left_out}
    return [
        f"{name} {spelled(settings[name])} (paper: {' or '.join(map(spelled, values))})"
        for name, values in {**allowed, **searched}.items()
        if name in settings and settings[name] not in values
    ]


def _searched(figure: Figure) -> Mapping[str, tuple[float, ...]]:
    """What each setting may be that the paper does not print; it prints lambda_0 on ImageNet."""
    return {} if figure.config else {"lambda_0": LAMBDA_0, "eta_1": ETA_1}


def _steps(recipe: Mapping[str, Any]) -> int:
    batch, is_partial = int(recipe["unlabeled_batch_size"]), bool(recipe["partial_batches"])
    whole, left = divmod(NUM_IMAGES[recipe["dataset"]], batch)
    return (whole + (is_partial and left > 0)) * int(recipe["epochs"])


def order_of(words: Sequence[str]) -> list[int]:
    """Where each name of a network, loss or augmentation stands in the tables; others come last."""
    named = dict.fromkeys(
        str(value)
        for figure in figures()
        for name, value in figure.place.items()
        if name in OF_A_NETWORK
    )
    places = {name: place for place, name in enumerate(("cross_entropy", "weak", *named))}
    return [places.get(word, len(places)) for word in words]


def spelled(value: object) -> str:
    """A setting's value for people: 156,000; 0.0001; on, off and unset; 80 120."""
    if value is None or isinstance(value, bool):
        return {None: "unset", True: "on", False: "off"}[value]
    if isinstance(value, tuple):
        return " ".join(map(spelled, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
