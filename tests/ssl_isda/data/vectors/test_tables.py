"""Vectors from files and arrays: what is read, what is held out, what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.listing import ListingOptions, listed_once
from ssl_isda.data.vectors import rows
from ssl_isda.data.vectors.files import read_vectors
from ssl_isda.data.vectors.table import Columns, VectorTable, table_of
from ssl_isda.data.vectors.tables import read_columns
from ssl_isda.data.vectors.vector_data import VectorData, vector_data
from tests.commands import answer

N = 60
X = np.random.default_rng(0).normal(size=(N, 3))
NAMES = np.array(["pear", "fig", "5 nuts"])[np.arange(N) % 3]
IS_HIDDEN = np.arange(N) % 4 == 1
HEAD = "a,b,c,label\n"


@pytest.fixture(autouse=True)
def a_few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of long tables."""
    monkeypatch.setattr(rows, "NUMBERS_AT_ONCE", 21)


def csv_text(labels: Any, *, quote: str = "") -> str:
    lines = (",".join(map(repr, row.tolist())) for row in X)
    return HEAD + "".join(f"{x},{quote}{y}{quote}\n" for x, y in zip(lines, labels, strict=True))


def write(kind: str, folder: Path, names: np.ndarray = NAMES) -> Path:
    """The same table as a file of this kind: unlabeled rows as the kind says it."""
    hidden, path = np.where(IS_HIDDEN, "", names), folder / f"table{kind}"
    if kind == ".npz":
        np.savez(path, X=X, y=hidden)
    elif kind == ".csv":
        path.write_text(csv_text(hidden, quote='"'), encoding="utf-8-sig")
    elif kind == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        labels = [name or None for name in hidden.tolist()]
        table = {"a": X[:, 0], "bc": list(X[:, 1:]), "label": labels}
        parquet.write_table(pyarrow.table(table), path)
    else:
        path.mkdir()
        np.save(path / "X.npy", X)
        np.save(path / "y.npy", hidden)
    return path


def assert_same(one: VectorTable, other: VectorTable) -> None:
    assert one.class_names == other.class_names and one.drawn_test == other.drawn_test
    for name in ("rows", "labels", "test_rows", "test_labels"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("kind", [".npz", "", ".csv", ".parquet"])
def test_every_kind_of_file_holds_the_same_table(kind: str, tmp_path: Path) -> None:
    found = read_vectors(write(kind, tmp_path), ListingOptions())
    assert_same(found, table_of(Columns(X, np.where(IS_HIDDEN, "", NAMES)), None, in_place=False))
    assert found.class_names == ("5 nuts", "fig", "pear")
    assert sum(found.labels < 0) == IS_HIDDEN.sum(), "unlabeled rows stay in training"


@pytest.mark.parametrize(
    "labels",
    [
        np.where(IS_HIDDEN, -1, np.arange(N) % 3),
        np.where(IS_HIDDEN, np.nan, np.arange(N) % 3),
        np.where(IS_HIDDEN, None, np.arange(N) % 3),
        np.where(IS_HIDDEN, "-1", (np.arange(N) % 3).astype(str)),
        np.where(IS_HIDDEN, "", (np.arange(N) % 3).astype(str)),
    ],
    ids=["-1", "NaN", "None", "text", "empty"],
)
def test_unlabeled_is_said_in_many_ways(labels: np.ndarray) -> None:
    plain = table_of(Columns(X, np.where(IS_HIDDEN, -1, np.arange(N) % 3)), None, in_place=False)
    assert_same(table_of(Columns(X.copy(), labels), None, in_place=True), plain)
    assert plain.class_names == ("0", "1", "2")


def test_a_fifth_of_each_class_is_held_out_by_content_and_copies_stay_together() -> None:
    given = np.concatenate([X, X[:30]])
    labels = np.concatenate([np.arange(N) % 3] * 2)[: len(given)]
    table = table_of(Columns(given, labels), None, in_place=False)
    assert all(5 <= count <= 7 for count in np.bincount(table.test_labels)), "a fifth of 30"
    test = {row.tobytes() for row in table.test_rows}
    assert not test & {row.tobytes() for row in table.rows}
    order = np.random.default_rng(1).permutation(len(given))
    again = table_of(Columns(given[order], labels[order]), None, in_place=False)
    assert {row.tobytes() for row in again.test_rows} == test
    assert table.drawn_test is not None
    assert np.array_equal(given[list(table.drawn_test)], table.test_rows)


def test_a_table_has_the_digest_of_the_data_made_of_it_and_is_read_once(tmp_path: Path) -> None:
    path = write(".npz", tmp_path)
    with listed_once():
        table = read_vectors(path, ListingOptions())
        assert read_vectors(path, ListingOptions()) is table
        data = VectorData.from_table("vectors", table)
        assert np.shares_memory(data.train.images.numpy(), table.rows)
    del data.train.fingerprint, data.test.fingerprint
    assert data.digests == table.digests


def test_arrays_are_shared_and_not_changed() -> None:
    given = X.astype(np.float32)
    kept, frozen = given.copy(), given.copy()
    frozen.setflags(write=False)
    labels = np.arange(N) % 3
    data = VectorData.from_arrays("x", ["a", "b", "c"], (given, labels), (frozen, labels))
    assert np.shares_memory(data.train.images.numpy(), given)
    vector_data("x", (given, labels))
    assert np.array_equal(given, kept)


@pytest.mark.parametrize(
    ("data", "test_data", "line"),
    [
        ((X, NAMES), X, r"test_data must be \(X, y\), rows and their labels; got ndarray"),
        ((X, NAMES), (X, NAMES, X), r"test_data must be \(X, y\), .*; got tuple of 3"),
        ((X, NAMES, X), None, r"data must be \(X, y\), .*; got tuple of 3"),
        ((X, [0, "fig"] * 30), None, "y must be all integers or all names of classes"),
    ],
)
def test_what_is_no_pair_of_rows_and_labels_is_refused(
    data: Any, test_data: Any, line: str
) -> None:
    with pytest.raises(UsageError, match=f"^{line}$"):
        vector_data("x", data, test_data)


BAD_CELL = "all columns but that of the labels, 'label', are numbers"
Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda a: a.update(y=a["y"][:-1]), "X has 60 rows and y has 59: one label a row"),
        (lambda a: a.update(y=np.full(N, -1)), "y has no label at all: every entry is -1 or empty"),
        (lambda a: a.update(y=np.full(N, "")), "y has no label at all: every entry is -1 or empty"),
        (lambda a: a.update(y=np.zeros(N, int)), "y has one class, '0', and training needs two"),
        (lambda a: a.update(y=a["y"] + 0.5), "y must be classes, whole numbers or names; got 0.5"),
        (lambda a: a["X"].__setitem__((7, 2), np.nan), "X: row 7, column 2 is nan; every number"),
        (lambda a: a["X"].__setitem__((9, 0), np.inf), "X: row 9, column 0 is inf; every number"),
        (lambda a: a.update(X=a["X"].astype(str)), "X must be numbers, got text"),
        (lambda a: a.update(X=a["X"][:, 0]), "X must be rows of numbers, (n, d), none empty"),
        (lambda a: a.update(X=a["X"][:0], y=a["y"][:0]), "none empty; got (0, 3)"),
        (lambda a: a.update(X_test=a["X"]), "has X_test and no y_test: a part to test on needs"),
        (
            lambda a: a.update(X_test=a["X"][:, :2], y_test=a["y"]),
            "X has 3 columns and X_test has 2",
        ),
        (
            lambda a: a.update(X_test=a["X"], y_test=a["y"] + 1),
            "the class '3', which training does",
        ),
        (lambda a: a.update(X_test=a["X"], y_test=a["y"] - 1), "y_test: row 0 has no label"),
        (lambda a: a.update(X=a["X"] * 1e300), "numbers in column 0 that are too large"),
        (lambda a: a.pop("y"), "has no array y (its arrays: 'X')"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(change: Change, line: str, tmp_path: Path) -> None:
    """As a file by the command, which leaves nothing; and as an exception."""
    arrays: dict[str, Any] = {"X": X.copy(), "y": np.arange(N) % 3}
    change(arrays)
    np.savez(tmp_path / "bad.npz", **arrays)
    words = "--dataset vectors --data-dir bad.npz --method supervised --steps 1"
    code, out, err = answer(words.split(), tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1) and line in err
    assert "too large" in line or not (tmp_path / "runs").exists()
    if "y" in arrays and "too large" not in line:
        with pytest.raises(UsageError, match=r"(?s)") as refused:
            table_of(Columns(**arrays), None, in_place=False)
        assert line in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("t.csv", "", "t.csv is empty"),
        ("t.csv", HEAD, "t.csv has no row"),
        ("t.csv", "a,b\n1,2\n", "no column 'label' (its columns: 'a', 'b'); --label-column names"),
        ("t.csv", "a,lable\n1,2\n", "did you mean 'lable'?"),
        ("t.csv", ",a,label\n0,1,2\n", "has no name for column 1: an index is no number of a row"),
        ("t.csv", "a,a,label\n0,1,2\n", "has two columns 'a'"),
        ("t.csv", "label\nx\ny\n", "has no column beside 'label'"),
        (
            "t.csv",
            "a,label\n1,x\n?,y\n",
            f"column 'a' has '?', which is no number, in row 3; {BAD_CELL}",
        ),
        (
            "t.csv",
            "a,b,label\n1,2,x\n1,,y\n",
            f"column 'b' has an empty cell, in row 3; {BAD_CELL}",
        ),
        ("t.csv", HEAD + "\r\n\n", "t.csv has no row"),
        ("t.csv", "a,label\n1,x\n1\n", "t.csv: row 3 has 1 cell, and the header has 2"),
        ("t.csv", 'a,label\n\n1,"x\n"\n1,x,\n', "row 4 has 3 cells, and the header has 2; write"),
        (
            "t.csv",
            "a,b,label\n1,7,8,x\n2,9,5,y\n",
            "row 2 has 4 cells, and the header has 3; write",
        ),
        ("t.csv", "a,label\n1,x\nnan,y\n", "X: row 1, column 0 is nan"),
        ("t.parquet", "PAR1 and no more", "t.parquet cannot be read: "),
        ("t.npz", "PK and no more", "t.npz cannot be read: "),
        ("t.npy", "", "t.npy has no labels: call the two arrays X.npy and y.npy"),
        ("t.txt", "", "t.txt is none of what --data-dir can name: an .npz file with"),
        ("absent", None, "is not there; --data-dir names an .npz file"),
        ("folder/a.txt", "", "folder must have X.npy and y.npy, or one train.csv or train.parquet"),
    ],
)
def test_bad_files_are_refused_in_one_line(
    name: str, text: str | None, line: str, tmp_path: Path
) -> None:
    place = tmp_path / name.partition("/")[0]
    if text is not None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    if place.suffix == ".parquet":
        pytest.importorskip("pyarrow")
    with pytest.raises(UsageError) as refused:
        read_vectors(place, ListingOptions())
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_test_table_may_have_its_columns_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")
    (tmp_path / "test.csv").write_text("label,more,b,a\nx,0,2,1\n")
    found = read_vectors(tmp_path, ListingOptions())
    assert found.test_rows.tolist() == [[1, 2]] and found.columns == ("a", "b")
    with pytest.raises(UsageError, match="has a part to test on: leave --test-fraction out"):
        read_vectors(tmp_path, ListingOptions(test_fraction=0.3))


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ([[1, 2], [3, None]], "X: row 1, column 1 is nan; every number must be finite"),
        ([["a"], ["b"]], "column 'a' has no numbers, but list<"),
        ([[[1.0]], [[2.0]]], "column 'a' has no numbers, but list<"),
        ([[1, 2], [3]], "column 'a' has lists of different lengths"),
        ([[True, False], [False, True]], None),
    ],
)
def test_lists_in_a_table_are_numbers_or_refused_in_one_line(
    cells: list[Any], line: str | None, tmp_path: Path
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"a": cells * 3, "label": ["x", "y"] * 3})
    parquet.write_table(table, tmp_path / "t.parquet")
    if line is None:
        read = read_columns(tmp_path / "t.parquet", "label")
        assert read.rows.tolist() == cells * 3
        return
    with pytest.raises(UsageError) as refused:
        read_vectors(tmp_path / "t.parquet", ListingOptions())
    assert line in str(refused.value) and "\n" not in str(refused.value)
