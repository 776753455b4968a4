"""How many labels and images of each class a run has, in words: for its folder and for a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

AMOUNTS = ("labels", "labels_per_class", "label_fraction")
"""Ways of saying how many labels there are; one of them counts."""
IN_FOLDERS = (*AMOUNTS, "imbalance", "imbalance_unlabeled", "test_fraction")
"""Settings that ``for_folder`` tells apart."""
OWN_DATA = ("folder", "vectors")
"""Data sets that a user brings, which are called after where they lie."""
ENDINGS = (".npz", ".npy", ".csv", ".parquet")


def name_of_data(dataset: str, data_dir: Path) -> str:
    """Of a user's own data, the folder's name, or the file's without its ending; else nothing."""
    if dataset not in OWN_DATA:
        return ""
    return data_dir.stem if data_dir.suffix in ENDINGS else data_dir.name


def for_folder(values: Mapping[str, object]) -> str:
    """ "4000", "all", "4each" or "10%"; and after it "-imbalance100-unlabeled50" and "-test20%"."""
    if values["labels_per_class"] is not None:
        words = f"{values['labels_per_class']}each"
    elif values["label_fraction"] is not None:
        words = f"{percent(values['label_fraction'])}%"
    else:
        words = "all" if values["labels"] is None else str(values["labels"])
    for name, word in (("imbalance", "imbalance"), ("imbalance_unlabeled", "unlabeled")):
        if values[name] is not None:
            words += f"-{word}{plain(values[name])}"
    share = values.get("test_fraction")
    return words if share is None else f"{words}-test{percent(share)}%"


def in_words(values: Mapping[str, object]) -> str:
    """ "4 labels a class, imbalance 100"; nothing where a number of labels says it all."""
    return ", ".join(_phrases(values))


def _phrases(values: Mapping[str, object]) -> Iterator[str]:
    labels, others = values["labels"], [values.get(name) for name in IN_FOLDERS[1:]]
    if others.count(None) == len(others):
        return
    per_class, share, imbalance, unlabeled, test = others
    if per_class is not None:
        yield f"{per_class:,} label{'s' * (per_class != 1)} a class"
    elif share is not None:
        yield f"{percent(share)} % of the labels"
    else:
        yield "all labels" if labels is None else f"{labels:,} labels"
    if imbalance is not None:
        yield f"imbalance {plain(imbalance)}"
    if unlabeled is not None:
        yield f"{plain(unlabeled)} without labels"
    if test is not None:
        yield f"{percent(test)} % to test on"


def percent(share: object) -> str:
    """A decimal share as a percentage, exactly: 0.125 is "12.5"."""
    return plain(Decimal(str(share)) * 100)


def plain(number: object) -> str:
    """A number without exponent and without zeros at the end: 100.0 is "100"."""
    return f"{Decimal(str(number)).normalize():f}"
