"""Runs on vectors, from a table to predictions: every method, and every command that reads a run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

import ssl_isda
from ssl_isda.assembly.trained import evaluate
from ssl_isda.results.features import Features
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.options import Place
from ssl_isda.settings.recorded import settings_of_run
from tests.commands import answer

SMALL = "--hidden 16 --features 8 --batch-size 12 --threads 1 --precision fp32 --wandb disabled"
WINE = load_wine()
COLUMNS = [name.replace("/", " of ") for name in WINE.feature_names]
CLASSES = np.array(["red", "=white", "<i>rose"])


def table(columns: list[str], *, last: int) -> str:
    """Wine as CSV with these columns, the class in ``kind``; of the last rows nobody knows it."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow([*columns, "kind"])
    order = [COLUMNS.index(name) for name in columns]
    for k in np.random.default_rng(0).permutation(len(WINE.target)):
        kind = "" if k % 9 >= last else CLASSES[WINE.target[k]]
        rows.writerow([*map(repr, WINE.data[k][order].tolist()), kind])
    return text.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mean Teacher run on a CSV file, moved away from it."""
    place = tmp_path_factory.mktemp("vectors")
    (place / "wine.csv").write_text(table(COLUMNS, last=6))
    words = f"--method mean_teacher --isda --steps 60 --label-column kind {SMALL}"
    code, _, err = answer(["--dataset", "vectors", "--data-dir", "wine.csv", *words.split()], place)
    assert code == 0, err
    return place / "runs" / "wine-all" / "mean_teacher+isda" / "seed0"


@pytest.fixture(scope="module")
def expected(run: Path) -> Features:
    place = Place(data_dir=run.parents[3] / "wine.csv", device="cpu", threads=None, plugin=None)
    return evaluate(RunFolder(settings_of_run(run, place), run), test_only=True)


@pytest.mark.parametrize("isda", ["", "--isda"])
@pytest.mark.parametrize("method", sorted(ssl_isda.METHODS))
def test_every_method_trains_on_vectors_or_says_that_it_needs_images(
    method: str, isda: str, tmp_path: Path
) -> None:
    words = f"--dataset wine --method {method} {isda} --steps 3 --unlabeled-batch-size 100 {SMALL}"
    code, out, err = answer(words.split(), tmp_path)
    if code == 2:
        assert "is made for images, and wine has vectors: take another method" in err
        assert method not in "mean_teacher pi_model pseudo_label supervised temporal_ensembling vat"
    else:
        assert code == 0 and "test error" in out, err


def test_predictions_are_those_of_the_runs_evaluation(run: Path, expected: Features) -> None:
    """To the bit of the same rows, whatever else the table has and in which order; the split is kept."""
    test = json.loads((run / "split.json").read_text())["test"]
    assert len(test) == len(expected.labels) == 23
    rows = list(csv.reader(io.StringIO(table(COLUMNS, last=6))))[1:]
    X = np.array([row[:-1] for row in rows if row[-1]], float)[test]
    found = ssl_isda.load(run).predict(X)
    assert np.array_equal(found.features, expected.features)
    assert np.array_equal(found.labels, expected.predictions)
    assert np.mean(found.labels != expected.labels) < 0.2
    again = ssl_isda.load(run).predict(torch.from_numpy(X))
    assert np.array_equal(again.probabilities, found.probabilities)
    text = table(COLUMNS[::-1], last=9).replace(",kind", ",year,kind", 1).splitlines()
    lines = [text[0], *(",2000,".join(line.rsplit(",", 1)) for line in text[1:])]
    (run.parent / "new.csv").write_text("\n".join(lines))
    code, out, err = answer(["predict", str(run), "new.csv", "--review", "page.html"], run.parent)
    assert code == 0, err
    names = [row[1].lstrip("'") for row in list(csv.reader(io.StringIO(out)))[1:]]
    order = np.random.default_rng(0).permutation(len(WINE.target))
    assert names == ssl_isda.load(run).predict(WINE.data[order]).names
    assert f"of {len(order)} whose class is known" in err
    page = (run.parent / "page.html").read_text()
    assert "σ)" in page and "proline: " in page and "no picture" not in page
    assert "<i>rose" not in page and "&lt;i&gt;rose" in page


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (WINE.data[:, :4], "X has 4 numbers in a row, and the run was trained on 13"),
        (WINE.data.astype(str), "X must be numbers, got text"),
        (np.full((2, 13), np.nan), "X: row 0, column 0 is nan; every number must be finite"),
        (WINE.data[0], r"X must be rows of numbers, \(n, d\), none empty; got \(13,\)"),
        ("narrow.csv", r"narrow.csv has no column 'alcohol' \(its columns: 'a', 'kind'\)"),
        ("page.png", "the network takes vectors of 13 numbers and no image files"),
        ("X.npz", "X.npz has no array X"),
    ],
)
def test_other_vectors_are_refused_in_one_line(
    run: Path, given: object, line: str, tmp_path: Path
) -> None:
    (tmp_path / "narrow.csv").write_text("a,kind\n1,red\n")
    (tmp_path / "page.png").write_bytes(b"")
    np.savez(tmp_path / "X.npz", y=[1])
    given = str(tmp_path / given) if isinstance(given, str) else given
    with pytest.raises(ssl_isda.UsageError, match=line) as refused:
        ssl_isda.load(run).predict(given)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_every_command_reads_a_run_on_vectors(run: Path) -> None:
    place = run.parents[3]
    for words, file in (
        (f"export {run} --perplexity 5 --test-only", run / "features.npz"),
        ("report runs --out page", place / "page" / "report.html"),
        ("analyze comparison runs --out compared", place / "compared" / "comparison.md"),
        (f"export-model {run}", run / "model.safetensors"),
    ):
        code, _, err = answer(words.split(), place)
        assert code == 0 and file.is_file(), err
    assert "wine (vectors)" in (place / "compared" / "comparison.md").read_text()
    one, other = (
        ssl_isda.load(each).predict(WINE.data) for each in (run, run / "model.safetensors")
    )
    assert np.array_equal(one.probabilities, other.probabilities)


def test_arrays_in_memory_are_trained_on(tmp_path: Path) -> None:
    labels = np.where(np.arange(178) % 5, None, CLASSES[WINE.target])
    words = {"hidden": 16, "steps": 3, "threads": 1, "wandb": "disabled", "quiet": True}
    trained = ssl_isda.train(
        data=(WINE.data, labels), dataset="mine", method="vat", runs_dir=tmp_path, **words
    )
    assert trained.path.parts[-3] == "mine-all" and trained.result["class_names"] == sorted(CLASSES)
    with pytest.raises(ssl_isda.UsageError, match="X has 178 rows and y has 177: one label a row"):
        ssl_isda.train(data=(WINE.data, labels[1:]), method="vat", runs_dir=tmp_path, **words)
