"""The classifier keeps scikit-learn's rules, learns from unlabeled rows, and writes nothing unasked."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ssl_isda
from ssl_isda import SemiSupervisedClassifier, UsageError
from ssl_isda.base.errors import TrainingFailed
from ssl_isda.results.runs import read_run
from tests.benchmarks import estimators
from tests.benchmarks import fit as fit_benchmark
from tests.pages import python_blocks

ROOT = Path(__file__).parents[3]
SMALL = {"steps": 12, "hidden": 24, "features": 8, "random_state": 0}
CANNOT_HOLD = {
    "check_classifiers_classes": "its last problem has the classes -1 and 1, and -1 says no label here, "
    "as in scikit-learn's SelfTrainingClassifier, which the check leaves out by name",
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    """All rows, and five labels a class."""
    X, y = load_iris(return_X_y=True)
    kept = np.full(len(y), -1)
    for label in range(3):
        kept[np.flatnonzero(y == label)[:5]] = label
    return X, kept


@parametrize_with_checks(
    [
        SemiSupervisedClassifier(
            steps=15,
            hidden=24,
            features=8,
            learning_rate=0.1,
            settings={"consistency_weight": 1.0},
        )
    ],
    expected_failed_checks=lambda _: CANNOT_HOLD,
    xfail_strict=True,
)
@pytest.mark.filterwarnings("ignore")
def test_it_keeps_the_rules_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_defaults_reach_85_percent_on_digits_with_ten_labels_a_class() -> None:
    problem = estimators.Problem("digits", 10, seed=7)
    classifier = SemiSupervisedClassifier(random_state=0).fit(problem.X, problem.y)
    assert classifier.score(problem.X_test, problem.y_test) >= 0.85
    assert classifier.n_iter_ == 600 and classifier.history_[-1]["step"] == 600


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("integers", [0, 1, 2]),
        ("floats with NaN", [0.0, 1.0, 2.0]),
        ("names with None", ["a", "b", "c"]),
        ("list of names and NaN", ["a", "b", "c"]),
        ("pandas Int64 with NA", [0, 1, 2]),
        ("objects with -1", [0, 1, 2]),
    ],
)
def test_a_row_without_a_label_is_unlabeled_however_that_is_said(
    kind: str, classes: list[Any], iris
) -> None:
    X, y = iris
    names = ["a", "b", "c"]
    forms: dict[str, Any] = {
        "integers": y,
        "floats with NaN": np.where(y < 0, np.nan, y),
        "names with None": np.array([names[k] if k >= 0 else None for k in y], dtype=object),
        "list of names and NaN": [names[k] if k >= 0 else float("nan") for k in y],
        "pandas Int64 with NA": pd.Series(y).astype("Int64").mask(y < 0),
        "objects with -1": y.astype(object),
    }
    found = clone(SemiSupervisedClassifier(**SMALL)).fit(X, forms[kind])
    assert found.classes_.tolist() == classes
    expected = SemiSupervisedClassifier(**SMALL).fit(X, y)
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.score(X, forms[kind]) == expected.score(X[y >= 0], y[y >= 0])


def test_unlabeled_rows_change_what_is_learned(iris) -> None:
    X, y = iris
    both, alone = (SemiSupervisedClassifier(**SMALL) for _ in range(2))
    both.fit(X, y), alone.fit(X[y >= 0], y[y >= 0])
    assert not np.allclose(both.predict_proba(X), alone.predict_proba(X), atol=1e-3)


def test_a_seed_gives_the_same_result_and_another_seed_another(iris) -> None:
    X, y = iris
    found = [
        SemiSupervisedClassifier(**{**SMALL, "random_state": each}).fit(X, y).predict_proba(X)
        for each in (1, 1, 2, np.random.RandomState(3), np.random.RandomState(3))
    ]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[3], found[4])
    assert not np.array_equal(found[0], found[2])


SCRIPT = f"""
import pickle, threading
import joblib, numpy as np
from sklearn.datasets import load_iris
from ssl_isda import SemiSupervisedClassifier
X, y = load_iris(return_X_y=True)
found = []
def train():
    found.append(SemiSupervisedClassifier(**{SMALL!r}).fit(X, y).predict_proba(X))
train()
threads = [threading.Thread(target=train) for _ in range(2)]
[each.start() for each in threads], [each.join() for each in threads]
np.save("found.npy", found)
with open("fitted.pickle", "rb") as file:
    stored = [pickle.load(file), joblib.load("fitted.joblib")]
np.save("stored.npy", [each.predict_proba(X) for each in stored])
"""


@pytest.mark.slow
def test_a_script_without_a_guard_trains_in_threads_and_reads_what_was_stored(
    iris, tmp_path
) -> None:
    """As a notebook does."""
    fitted = SemiSupervisedClassifier(**SMALL).fit(*iris)
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps(fitted))
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    (tmp_path / "notebook.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "notebook.py"]
    subprocess.run(run, cwd=tmp_path, env=environment, check=True, timeout=300)
    first, *others = np.load(tmp_path / "found.npy")
    assert all(np.array_equal(first, each) for each in others) and len(others) == 2
    for stored in np.load(tmp_path / "stored.npy"):
        np.testing.assert_allclose(stored, fitted.predict_proba(iris[0]), rtol=1e-12)


@pytest.mark.slow
def test_it_is_searched_and_validated_in_pipelines(iris) -> None:
    X, y = iris
    pipeline = make_pipeline(StandardScaler(), SemiSupervisedClassifier(**SMALL))
    name = "semisupervisedclassifier"
    grid = {f"{name}__isda": [True, False], f"{name}__settings": [{"consistency_weight": 10}]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X, y)
    assert search.predict(X).shape == (150,)
    scores = cross_val_score(pipeline.set_params(**search.best_params_), X, y, cv=2)
    assert scores.mean() == search.best_score_, "in another process, too"


def test_a_data_frame_gives_names_and_features_come_out_in_one(iris) -> None:
    X, y = iris
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    fitted = SemiSupervisedClassifier(**SMALL).set_output(transform="pandas").fit(frame, y)
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    features = fitted.transform(frame)
    assert features.columns[0] == "semisupervisedclassifier0" and features.shape == (150, 8)


def test_nothing_is_written_and_nothing_of_the_process_changes(
    iris, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5), np.random.seed(5)
    before = torch.get_rng_state()
    torch.set_num_threads(2)
    SemiSupervisedClassifier(**SMALL).fit(*iris)
    assert torch.get_num_threads() == 2 and torch.equal(before, torch.get_rng_state())
    assert not [*tmp_path.iterdir()] and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("method", "settings"),
    [("supervised", {"evaluation_ema": 0.9}), ("vat", {"policy": "vector_mixup"}), ("ict", {})],
)
def test_a_run_in_a_folder_ends_as_one_in_memory(method: str, settings, iris, tmp_path) -> None:
    made = [
        SemiSupervisedClassifier(method, **SMALL, settings=settings, folder=folder).fit(*iris)
        for folder in (None, tmp_path / "run")
    ]
    assert np.array_equal(*(each.predict_proba(iris[0]) for each in made))


def test_a_folder_is_a_run_that_goes_on_where_it_stopped(iris, tmp_path, monkeypatch) -> None:
    X, y = iris
    plain = SemiSupervisedClassifier(**SMALL).fit(X, y)
    kept = clone(plain).set_params(folder=tmp_path / "run")
    from ssl_isda.training import trainer

    def stopped(self, step, *, train_step=trainer.Trainer.train_step):
        if step.index == 7:
            self.save()
            raise TrainingFailed("the machine went away")
        return train_step(self, step)

    with monkeypatch.context() as patch, pytest.raises(TrainingFailed):
        patch.setattr(trainer.Trainer, "train_step", stopped)
        kept.fit(X, y)
    assert not (tmp_path / "run/result.json").exists()
    kept.fit(X, y)
    assert "resuming at step 7 of 12" in (tmp_path / "run/log.txt").read_text()
    assert np.array_equal(kept.predict_proba(X), plain.predict_proba(X))
    seen = (tmp_path / "run/checkpoint.pt").stat().st_mtime_ns
    again = clone(kept).fit(X, y)
    assert (tmp_path / "run/checkpoint.pt").stat().st_mtime_ns == seen, "it is read, not trained"
    assert np.array_equal(again.predict(X), plain.predict(X))
    assert np.array_equal(ssl_isda.load(tmp_path / "run").predict(X).labels, plain.predict(X))
    read = read_run(tmp_path / "run")
    assert read.state == "unfinished" and "no test error" in read.problem
    for other, reason in ((X + 1, "other"), (X, "steps: 12 there, 13 now")):
        changed = clone(kept).set_params(steps=13 if other is X else 12)
        with pytest.raises(ValueError, match=reason):
            changed.fit(other, y)


BAD_X = {
    "NaN": (np.nan, "X has NaN or infinity: row 2, column 1 is nan; every number must be finite"),
    "inf": (np.inf, "X has NaN or infinity: row 2, column 1 is inf; every number must be finite"),
}


@pytest.mark.parametrize("name", BAD_X)
def test_numbers_that_are_none_are_named(name: str, iris) -> None:
    X, y = iris
    broken = X.copy()
    broken[2, 1], said = BAD_X[name]
    fitted = SemiSupervisedClassifier(**SMALL).fit(X, y)
    for call in (lambda: clone(fitted).fit(broken, y), lambda: fitted.predict(broken)):
        with pytest.raises(ValueError) as refusal:
            call()
        assert str(refusal.value) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": [0, 1]}, "X has 150 rows and y has 2: one label a row"),
        ({"y": None}, "requires y to be passed, but the target y is None"),
        ({"y": [-1] * 150}, "y has no label at all: every entry is -1, None or NaN"),
        ({"y": [-1, 3] * 75}, "y has one class, 3, and training needs two"),
        ({"y": ["a", np.nan] * 75}, "y has one class, 'a', and training needs two"),
        ({"y": np.array(["a", np.nan] * 75)}, 'y has the text "nan", which NumPy makes'),
        ({"y": [1, "a"] * 75}, "y must be classes, all numbers or all names"),
        ({"y": np.linspace(0, 1, 150)}, "y must be classes, .*continuous"),
        (
            {"y": np.zeros((150, 2))},
            r"y must have one label a row, \(n,\); got the shape \(150, 2\)",
        ),
        ({"X": np.full((150, 2), "a")}, "X must be numbers, got text"),
        ({"X": [["a", "b"]] * 150}, "X must be numbers: could not convert string to float: 'a'"),
        ({"X": np.zeros((150, 2, 2))}, "Found array with dim 3"),
        ({"X": np.zeros((0, 2)), "y": []}, "Found array with 0 sample"),
        ({"method": "mean_techer"}, "unknown method 'mean_techer'; did you mean 'mean_teacher'"),
        ({"steps": 0}, "steps must be greater than or equal to 1, got '0'"),
        ({"batch_size": 1.5}, "batch_size must be an integer, got '1.5'"),
        ({"noise": -1}, "noise_std must be greater than or equal to 0, got '-1'"),
        ({"isda": "yes"}, "isda is True or False; got 'yes'"),
        ({"device": "gpu"}, "device must be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ({"random_state": -4}, "random_state is None, an integer of 0 or more"),
        ({"folder": 3}, "folder is a path or None; got 3"),
        ({"settings": [1]}, "settings is a mapping of flags to values, or None; got list"),
        ({"settings": {"steps": 5}}, "settings: steps is an argument of the classifier, steps=..."),
        ({"settings": {"epochs": 5}}, "settings: epochs goes with steps=None"),
        ({"settings": {"labels": 5}}, "settings: labels is no setting here"),
        ({"settings": {"label-fraction": 0.5}}, "settings names flags with underscores"),
        ({"settings": {"momentun": 1}}, "unknown flag 'momentun'; did you mean 'momentum'"),
        ({"settings": {"model": "cnn13"}}, "CNN13 needs images"),
        ({"method": "fixmatch"}, "method fixmatch needs .*, which is made for images"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(change: dict[str, Any], said: str, iris) -> None:
    data = {"X": iris[0], "y": iris[1]}
    data |= {name: change[name] for name in ("X", "y") if name in change}
    settings = {name: each for name, each in change.items() if name not in data}
    classifier = SemiSupervisedClassifier(**{**SMALL, **settings})
    with pytest.raises(ValueError, match=said) as refusal:
        classifier.fit(**data)
    assert "\n" not in str(refusal.value) and "--" not in str(refusal.value)
    assert not hasattr(classifier, "classes_")


def test_a_signal_ends_a_fit_as_it_ends_other_python(iris, monkeypatch) -> None:
    from ssl_isda.training import trainer

    def interrupted(self, step, *, train_step=trainer.Trainer.train_step):
        if step.index == 3:
            signal.raise_signal(signal.SIGINT)
        return train_step(self, step)

    monkeypatch.setattr(trainer.Trainer, "train_step", interrupted)
    # A shell's background jobs ignore SIGINT, and the tests may be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            SemiSupervisedClassifier(**SMALL).fit(*iris)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_refusals_are_usage_errors_too_and_what_is_sparse_is_refused(iris) -> None:
    X, y = iris
    with pytest.raises(UsageError):
        SemiSupervisedClassifier(**SMALL).fit(X, y[:-1])
    with pytest.raises(TypeError, match="Sparse data was passed") as refusal:
        SemiSupervisedClassifier(**SMALL).fit(sparse.csr_matrix(X), y)
    assert "\n" not in str(refusal.value)
    fitted = SemiSupervisedClassifier(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
        fitted.predict(X[:, :3])
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)
    with pytest.raises(ValueError, match="y has no label at all to compare"):
        fitted.score(X, np.full(150, -1))


def test_other_settings_reach_the_run(iris) -> None:
    X, y = iris
    settings = {"model": "linear", "policy": "vector_mixup", "epochs": 3}
    fitted = SemiSupervisedClassifier(steps=None, settings=settings, random_state=0).fit(X, y)
    assert fitted.n_iter_ == 3 * (150 // 64) and fitted.transform(X).shape == X.shape


def test_the_benchmark_of_fit_compares_the_same_steps() -> None:
    from tests.benchmarks.test_benchmarks import TINY

    rows = list(fit_benchmark.measure(TINY, num_steps=3))
    assert [row.case for row in rows] == [
        "fit of 1,800 digits, 3 steps",
        "fit of 1,800 digits + ISDA, 3 steps",
    ]
    X, y = fit_benchmark.rows_and_labels()
    assert X.shape == (1800, 64) and (y >= 0).sum() == 100
    ours = SemiSupervisedClassifier(steps=1, random_state=0).fit(X, y)._fitted.network
    bare = fit_benchmark.bare_loop(X, y, isda=False, num_steps=1)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in bare.parameters())


def test_the_name_is_public_and_costs_nothing_until_it_is_used() -> None:
    assert "SemiSupervisedClassifier" in ssl_isda.__all__
    program = "import sys, ssl_isda; assert not {'torch', 'sklearn'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_examples_of_the_page_run(iris, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"X": iris[0], "y": iris[1], "X_new": iris[0], "y_new": iris[1]}
    blocks = python_blocks("docs/estimator.md")
    assert len(blocks) == 3
    for block in blocks:
        short = block.replace("steps=100", "steps=4").replace("isda=True, r", "steps=4, r")
        exec(short.replace(", n_jobs=2", ""), names)
    assert capsys.readouterr().out and (tmp_path / "runs/my_rows/result.json").exists()


def test_the_page_has_the_table_of_the_kept_errors() -> None:
    page = (ROOT / "docs/estimator.md").read_text("utf-8")
    errors = estimators.read_errors(estimators.RESULTS)
    assert errors and estimators.table(errors) in page
    assert estimators.COMMAND in page and len(estimators.RESULTS.read_text().splitlines()) < 300


def test_the_comparison_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys) -> None:
    settings = {name: {**each, "steps": 2} for name, each in estimators.OURS.items()}
    monkeypatch.setattr(estimators, "OURS", settings)
    files = ["--results", str(tmp_path / "a.csv"), "--table", str(tmp_path / "a.md")]
    estimators.main(["--sets", "wine", "--seeds", "1", *files])
    first = estimators.read_errors(tmp_path / "a.csv")
    estimators.main(["--sets", "wine", "--seeds", "2", *files])
    both = estimators.read_errors(tmp_path / "a.csv")
    assert {cell: found[:1] for cell, found in both.items()} == first
    assert len(both) == 3 * len(estimators.CLASSIFIERS) and all(
        len(found) == 2 for found in both.values()
    )
    assert (tmp_path / "a.md").read_text() in capsys.readouterr().out


def test_the_comparison_s_table_has_paired_intervals() -> None:
    errors = {("wine", 2, name): [10.0, 20.0] for name in estimators.CLASSIFIERS}
    errors["wine", 2, "SVC"] = [12.0, 24.0]
    lines = estimators.table(errors).splitlines()
    assert lines[0] == "| wine | 2 labels a class |"
    assert "| mean_teacher + ISDA | 15.0 ± 63.5 |" in lines  # t(0.975, 1) = 12.706
    assert "| SVC | 18.0 (+3.0 ± 12.7) |" in lines


def test_all_classifiers_of_the_comparison_get_the_same_rows() -> None:
    one, again, other = (estimators.Problem("wine", 5, seed) for seed in (3, 3, 4))
    assert np.array_equal(one.y, again.y) and np.array_equal(one.X_test, again.X_test)
    assert not np.array_equal(one.y, other.y)
    assert np.bincount(one.y[one.y >= 0]).tolist() == [5, 5, 5] and len(one.y_test) == 45
