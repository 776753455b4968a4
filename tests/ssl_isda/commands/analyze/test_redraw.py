"""What was kept is drawn again to the bytes of the first time, and what is no such thing is named."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_isda.base.errors import UsageError
from ssl_isda.commands.analyze.cost import Case, Cost
from ssl_isda.commands.analyze.cost_page import cost_files
from ssl_isda.commands.analyze.redraw import redraw
from ssl_isda.commands.analyze.strength import Row, strength_files
from ssl_isda.commands.analyze.tightness import Bound, Moment
from ssl_isda.commands.analyze.tightness_page import tightness_files

FIRST, SECOND = Bound(1.0, 1.3, 1.1, 1e-3), Bound(2.0, 2.1, 2.06, 1e-4)
CASES = [Case("cnn13", 0.5, "supervised", 10), Case("cnn13", 0.1, "temporal_ensembling", 100)]


@functools.cache
def both() -> dict[str, str]:
    """The files of a run of the method beside a supervised one; so here and below."""
    return tightness_files([Moment(5, 0.1, FIRST, SECOND), Moment(9, 1 / 3, SECOND, FIRST)], 40)


@functools.cache
def alone() -> dict[str, str]:
    return tightness_files([Moment(5, 0.1, FIRST, None)], 1000)


@functools.cache
def cost() -> dict[str, str]:
    measured = [Cost(case, 64, 1e9, 1 / 3, (1.01, 1.0, 0.97)) for case in CASES]
    return cost_files(measured, "a machine")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@functools.cache
def strength() -> dict[str, str]:
    numbers = ((2.27, 2.19, 2.41), (965_000.0, 613_000.0, 1.5e6), (0.1, 0.1, 0.1))
    return strength_files([Row("digits, 20 labels, VAT + ISDA", 24, numbers)])


@pytest.mark.parametrize("made", [both, alone, cost, strength])
def test_numbers_alone_give_every_file_again(
    made: Callable[[], dict[str, str]], tmp_path: Path
) -> None:
    files = made()
    (name,) = (name for name in files if name.endswith((".json", ".jsonl")))
    (tmp_path / name).write_text(files[name])
    assert redraw([tmp_path], tmp_path) == [*files]
    assert contents(tmp_path) == files


def test_a_folder_of_several_kinds_goes_elsewhere_whole(tmp_path: Path) -> None:
    kept, out = tmp_path / "kept", tmp_path / "new/out"
    kept.mkdir()
    (kept / "cost.json").write_text(cost()["cost.json"])
    (kept / "tightness.json").write_text(both()["tightness.json"])
    redraw([kept], out)
    assert contents(out) == cost() | both()
    assert set(contents(kept)) == {"cost.json", "tightness.json"}


DAMAGED: dict[str, tuple[str, str | Callable[[], str]]] = {
    "cut short": ("tightness.json", '{"samples": 10, "moments": ['),
    "of no moment": ("tightness.json", '{"samples": 10, "moments": []}'),
    "of no object": ("tightness.json", "[1, 2]"),
    "of another kind": ("tightness.json", lambda: cost()["cost.json"]),
    "with a number too many": (
        "cost.json",
        lambda: cost()["cost.json"].replace("0.97", "0.97], [1"),
    ),
    "with an unknown name": ("cost.json", lambda: cost()["cost.json"].replace("plain", "plane")),
    "with a number too few": (
        "strength.jsonl",
        lambda: strength()["strength.jsonl"].replace(", [0.1, 0.1, 0.1]", ""),
    ),
    "with no row": ("strength.jsonl", ""),
    "no archive": ("tsne.npz", "PK"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_one_line_that_names_the_file(case: str, tmp_path: Path) -> None:
    name, text = DAMAGED[case]
    (tmp_path / name).write_text(text if isinstance(text, str) else text())
    with pytest.raises(UsageError, match=f"{name} cannot be drawn again: ") as caught:
        redraw([tmp_path], tmp_path / "out")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    place = {name: tmp_path / name for name in "abcd"}
    for name, classes in (("a", ["cat", "dog"]), ("b", ["cat", "cow"])):
        place[name].mkdir()
        points = {"coordinates": np.eye(2, dtype=np.float32), "labels": np.array([0, 1])}
        np.savez(place[name] / "tsne.npz", title="one", class_names=classes, **points)
    place["c"].mkdir()
    (place["c"] / "cost.json").write_text(cost()["cost.json"])
    for folders, expected in (
        ("d", "d has no tightness.json or cost.json or strength.jsonl or tsne.npz"),
        ("ac", "c has no tsne.npz"),
        ("ab", "b/tsne.npz has other classes than"),
    ):
        with pytest.raises(UsageError, match=expected):
            redraw([place[name] for name in folders], tmp_path / "out")
    assert not (tmp_path / "out").exists()
