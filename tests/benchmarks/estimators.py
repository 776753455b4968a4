"""Which classifier has the smallest error when few rows have a label: ours, and what scikit-learn has.

    python -m tests.benchmarks.estimators

The data sets are those that scikit-learn carries. For each seed a quarter of the rows, class by class, is
to test on; of the others so many of each class keep their label, and all classifiers get the same ones.
Every column is standardised by all training rows. What is measured goes to RESULTS seed by seed, so that
a stopped comparison goes on with the same command; the table goes to TABLE.

The classifiers, the seeds and the numbers of labels were fixed before the first result was looked at.
The settings of ours are the defaults.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from ssl_isda import RunError, SemiSupervisedClassifier

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "estimators"
RESULTS, TABLE = FOLDER / "errors.csv", FOLDER / "estimators.md"
COMMAND = "python -m tests.benchmarks.estimators"
SETS = {
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
}
LABELS_PER_CLASS = (2, 5, 10)
NUM_SEEDS = 20
TEST_SHARE = 0.25
REFERENCE = "mean_teacher + ISDA"
OURS: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {},
    "mean_teacher": {"isda": False},
    "pi_model + ISDA": {"method": "pi_model"},
    "supervised + ISDA": {"method": "supervised"},
}
RIVALS: Mapping[str, Callable[[], Any]] = {
    "LogisticRegression": lambda: LogisticRegression(max_iter=1_000),
    "SVC": SVC,
    "SelfTrainingClassifier": lambda: SelfTrainingClassifier(LogisticRegression(max_iter=1_000)),
    "LabelSpreading (knn)": lambda: LabelSpreading(kernel="knn", n_neighbors=7),
    "LabelSpreading (rbf)": lambda: _WideSpreading(kernel="rbf"),
}
"""The first two learn from labeled rows alone, the others from all. LabelSpreading's own gamma of 20 sees
no neighbour among standardised rows; 1 / d, which SVC has, does."""


class _WideSpreading(LabelSpreading):  # type: ignore[misc]
    def fit(self, X: np.ndarray, y: np.ndarray) -> LabelSpreading:
        self.gamma = 1 / X.shape[1]
        return super().fit(X, y)


LABELED_ALONE = ("LogisticRegression", "SVC")
CLASSIFIERS = (*OURS, *RIVALS)
Cell = tuple[str, int, str]
"""Data set, labels a class, classifier."""


class Problem:
    """What all classifiers are given: X, y with -1 for no label, and a test part."""

    def __init__(self, dataset: str, labels_per_class: int, seed: int) -> None:
        X, y = SETS[dataset](return_X_y=True)
        X, X_test, y, self.y_test = train_test_split(
            X, y, test_size=TEST_SHARE, stratify=y, random_state=seed
        )
        scaler = StandardScaler().fit(X)
        self.X, self.X_test = scaler.transform(X), scaler.transform(X_test)
        generator = np.random.default_rng(seed)
        self.y = np.full(len(y), -1)
        for label in np.unique(y):
            chosen = generator.permutation(np.flatnonzero(y == label))[:labels_per_class]
            self.y[chosen] = label
        self.seed = seed

    def error(self, name: str) -> float:
        """Of one classifier, in percent of the test rows; 100 where its training fails."""
        X, y = self.X, self.y
        if name in LABELED_ALONE:
            X, y = X[y >= 0], y[y >= 0]
        made = RIVALS[name]() if name in RIVALS else self._ours(OURS[name])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)  # of a row without a labeled neighbour
            try:
                found = made.fit(X, y).predict(self.X_test)
            except RunError:
                return 100.0
            return 100 * float(np.mean(found != self.y_test))

    def _ours(self, settings: Mapping[str, Any]) -> SemiSupervisedClassifier:
        return SemiSupervisedClassifier(**settings, random_state=self.seed)


def read_errors(file: Path) -> dict[Cell, list[float]]:
    """By cell the errors of seeds 0, 1, 2 ..., as far as they are measured."""
    if not file.exists():
        return {}
    with open(file, newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    return {(row[0], int(row[1]), row[2]): [float(each) for each in row[3].split()] for row in rows}


def write_errors(file: Path, errors: Mapping[Cell, Sequence[float]]) -> None:
    """One line a cell."""
    lines = ["dataset,labels_per_class,classifier,errors of seeds 0 1 2 ... in percent"]
    for (dataset, labels, name), found in errors.items():
        lines.append(f"{dataset},{labels},{name},{' '.join(f'{each:.3f}' for each in found)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n")
    fresh.replace(file)


def measure(file: Path, sets: Sequence[str], num_seeds: int) -> dict[Cell, list[float]]:
    """The errors of all cells, those in ``file`` and the missing ones."""
    errors = read_errors(file)
    for seed, dataset, labels in _problems(sets, num_seeds):
        cells = [(dataset, labels, name) for name in CLASSIFIERS]
        missing = [cell for cell in cells if len(errors.get(cell, ())) == seed]
        if missing:
            problem = Problem(dataset, labels, seed)
            for cell in missing:
                errors.setdefault(cell, []).append(problem.error(cell[2]))
            write_errors(file, errors)
    return errors


def _problems(sets: Sequence[str], num_seeds: int) -> Iterator[tuple[int, str, int]]:
    for seed in range(num_seeds):
        for dataset in sets:
            for labels in LABELS_PER_CLASS:
                yield seed, dataset, labels


def half_width(values: Sequence[float]) -> float:
    """Of the 95 % interval of a mean, by Student's t."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / n**0.5) if n > 1 else 0.0


def table(errors: Mapping[Cell, Sequence[float]]) -> str:
    """Markdown: mean errors, and how far each lies above the reference on the same seeds."""
    blocks = [
        _block(dataset, {cell: each for cell, each in errors.items() if cell[0] == dataset})
        for dataset in SETS
        if any(cell[0] == dataset for cell in errors)
    ]
    return "\n\n".join(blocks) + "\n"


def _block(dataset: str, errors: Mapping[Cell, Sequence[float]]) -> str:
    amounts = sorted({labels for _, labels, _ in errors})
    lines = [
        f"| {dataset} | " + " | ".join(f"{labels} labels a class" for labels in amounts) + " |",
        "| --- |" + " --- |" * len(amounts),
    ]
    for name in CLASSIFIERS:
        cells = [_cell(errors, dataset, labels, name) for labels in amounts]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(errors: Mapping[Cell, Sequence[float]], dataset: str, labels: int, name: str) -> str:
    own, reference = errors[dataset, labels, name], errors[dataset, labels, REFERENCE]
    mean = f"{statistics.fmean(own):.1f}"
    if name == REFERENCE:
        return f"{mean} ± {half_width(own):.1f}"
    above = [a - b for a, b in zip(own, reference, strict=False)]
    return f"{mean} ({statistics.fmean(above):+.1f} ± {half_width(above):.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="how many")
    parser.add_argument("--results", type=Path, default=RESULTS, help="CSV with all errors")
    parser.add_argument("--table", type=Path, default=TABLE)
    parsed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    errors = measure(parsed.results, parsed.sets, parsed.seeds)
    parsed.table.write_text(table(errors))
    print(table(errors), end="")


if __name__ == "__main__":
    main()
