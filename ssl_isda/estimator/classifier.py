"""``SemiSupervisedClassifier``: semi-supervised learning with ISDA behind scikit-learn's interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted, validate_data

from ssl_isda.estimator.hyperparameters import drawn_seed, resolved_settings
from ssl_isda.estimator.labels import entries, missing, numbered
from ssl_isda.estimator.refusals import UnusableInput, told_to_callers

if TYPE_CHECKING:
    from ssl_isda.estimator.fitting import FittedNetwork


class SemiSupervisedClassifier(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """A small network, trained on labeled and unlabeled rows of numbers by a semi-supervised method.

    It minimises Eq. 19 of ISDA (Wang et al., arXiv 2007.10538), as every run does; the columns are
    standardised first. Nothing is written to the disk unless ``folder`` is given.

    Parameters
    ----------
    method : of those that ``ssl-isda --help`` lists
    isda : whether ISDA augments the features of the last layer
    lambda_0 : strength of ISDA at the last step
    hidden, features : units of the first layer, and of the last one, whose output ``transform`` gives
    steps : of the optimizer; None: ``settings={"epochs": ...}`` says how long
    batch_size, unlabeled_batch_size : labeled and unlabeled rows in a step
    learning_rate : at the first step; it falls to 0 along a cosine
    noise : standard deviation of the noise that every look at a row adds, in those of the columns
    device : ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one; small networks are faster
        on a CPU
    folder : of the run, which ``ssl_isda.load`` and ``ssl-isda predict`` read: fitting again goes on
        where it stopped, and a run that is done is read instead of trained
    settings : any other flag of the command line, with underscores: ``{"consistency_weight": 10}``
    verbose : whether a line is printed after each pass over the rows
    random_state : an integer gives the same result each time; in a folder None is 0

    Attributes
    ----------
    classes_ : (c,) the labels, sorted
    n_features_in_, feature_names_in_ : columns of X, and their names if they are text
    n_iter_ : steps that were made
    history_ : a dict for each pass over the rows, with the mean losses in it
    """

    classes_: np.ndarray
    n_iter_: int
    history_: list[dict[str, Any]]
    _fitted: FittedNetwork

    def __init__(
        self,
        method: str = "mean_teacher",
        *,
        isda: bool = True,
        lambda_0: float = 0.5,
        hidden: int = 256,
        features: int = 64,
        steps: int | None = 600,
        batch_size: int = 32,
        unlabeled_batch_size: int = 64,
        learning_rate: float = 0.03,
        noise: float = 0.5,
        device: str = "cpu",
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.method = method
        self.isda = isda
        self.lambda_0 = lambda_0
        self.hidden = hidden
        self.features = features
        self.steps = steps
        self.batch_size = batch_size
        self.unlabeled_batch_size = unlabeled_batch_size
        self.learning_rate = learning_rate
        self.noise = noise
        self.device = device
        self.folder = folder
        self.settings = settings
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SemiSupervisedClassifier:
        """Train.

        Parameters
        ----------
        X : (n, d) finite numbers, an array or a data frame; not sparse
        y : (n,) a label for each row: numbers, -1 or NaN for none; or names, None or NaN for none

        Raises
        ------
        ValueError
            X, y or a hyper-parameter cannot be used, in one line; a ``UsageError``, too.
        RunError
            The training failed: a loss is not finite, or memory or disk are too small.
        """
        with told_to_callers():
            rows = self._rows(X, reset=True)
            classes, numbers = numbered(entries(y, len(rows)))
            folder = self._checked_folder()
            seed = drawn_seed(self.random_state, in_folder=folder is not None)
            resolved = resolved_settings(self.get_params(deep=False), seed)
            from ssl_isda.estimator import fitting  # needs torch

            names = tuple(str(each) for each in classes.tolist())
            self._fitted = fitting.fit(
                *(resolved, rows, numbers, names), folder=folder, verbose=bool(self.verbose)
            )
        self.classes_, self.n_iter_ = classes, self._fitted.num_steps
        self.history_ = self._fitted.history
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,) the most probable class of each row."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, c) float64, in the order of ``classes_``."""
        return self._pass(X)[0]

    def transform(self, X: Any) -> np.ndarray:
        """(n, ``features``) what the last layer sees of each row, in the type of X."""
        return self._pass(X)[1]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of the rows that have a label on which it is predicted."""
        check_is_fitted(self)
        found = self.predict(X)
        with told_to_callers():
            labels = entries(y, len(found))
            known = ~missing(labels)
            if not known.any():
                raise UnusableInput("y has no label at all to compare the predictions with")
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(
            accuracy_score(labels[known].tolist(), found[known].tolist(), sample_weight=weight)
        )

    @property
    def _n_features_out(self) -> int:
        return len(self._fitted.network.get_parameter("head.weight").T)

    def _checked_folder(self) -> Path | None:
        if self.folder is None or isinstance(self.folder, (str, os.PathLike)):
            return Path(self.folder) if self.folder else None
        raise UnusableInput(f"folder is a path or None; got {self.folder!r}")

    def _pass(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        check_is_fitted(self)
        with told_to_callers():
            rows = self._rows(X, reset=False)
        probabilities, features = self._fitted(rows)
        return probabilities, features.astype(rows.dtype, copy=False)

    def _rows(self, X: Any, *, reset: bool) -> np.ndarray:
        """(n, d) float32 or float64, all finite."""
        kind = getattr(getattr(X, "dtype", None), "kind", "")
        if kind in ("U", "S"):
            raise UnusableInput("X must be numbers, got text: make numbers of it first")
        how: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_all_finite": False}
        try:
            rows: np.ndarray = validate_data(self, X, reset=reset, **how)
        except ValueError as error:
            if not str(error).startswith("could not convert"):
                raise
            raise UnusableInput(f"X must be numbers: {error}") from error
        with np.errstate(over="ignore", invalid="ignore"):
            is_fine = np.isfinite(rows.sum())
        if not is_fine and not (finite := np.isfinite(rows)).all():
            row, column = np.argwhere(~finite)[0].tolist()
            raise UnusableInput(
                f"X has NaN or infinity: row {row}, column {column} is {rows[row, column]}; every "
                "number must be finite"
            )
        return rows
