"""``run.py search``: the grid, the choice by held-out labels, and the commands around it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssl_isda.base.errors import TrainingFailed
from ssl_isda.commands.search import command, settings
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.resolve import resolve
from tests.commands import DIGITS, ROOT, modified, train

Errors = Callable[[float, float], float]


class Trained:
    """Trains nothing: the validation error is a function of lambda_0 and eta_1, the test error its
    opposite."""

    def __init__(self, error: Errors) -> None:
        self.error = error
        self.asked: list[Resolved] = []

    def __call__(self, resolved: Resolved) -> list[dict[str, Any]]:
        self.asked.append(resolved)
        error = self.error(resolved.isda.lambda_0, resolved.isda.eta_1)
        split = {"seed": 0, "checksum": "", "digest": "", "labeled": [0]}
        split |= {"validation": [*range(250)]}
        for seed in resolved.seeds:
            folder = RunFolder(resolved.for_seed(seed))
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.split_file.write_text(json.dumps(split))
        return [{"validation_error": error + seed, "error": 100 - error} for seed in resolved.seeds]


def asked_for(words: str, runs: Path, method: str = "vat") -> list[str]:
    """What ``command`` takes."""
    return ["--method", method, "--labels", "1000", "--runs-dir", str(runs), *words.split()]


def search(
    words: str, runs: Path, error: Errors, method: str = "vat"
) -> tuple[int, list[Resolved], dict[str, Any]]:
    """The exit code, what was trained, and search.json."""
    trained = Trained(error)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ssl_isda.commands.search.train_seeds", trained)
        code = command(asked_for(words, runs, method))
    file = runs / "search/cifar10-1000" / f"{method}+isda" / "search.json"
    return code, trained.asked, json.loads(file.read_text())


def test_the_grid_is_the_papers() -> None:
    pairs = {(one["lambda_0"], one["eta_1"]) for one in settings(uses_unlabeled=True)}
    assert pairs == {(a, b) for a in (0.1, 0.25, 0.5, 0.75, 1) for b in (0.5, 1, 2)}
    assert len(settings(uses_unlabeled=True)) == 15


def test_supervised_training_has_no_eta_1_and_every_setting_a_folder(
    tmp_path: Path, capsys
) -> None:
    _, asked, found = search("", tmp_path, lambda a, b: 40 - a, "supervised")
    assert [run.isda.lambda_0 for run in asked] == [0.1, 0.25, 0.5, 0.75, 1]
    assert all(run.config.isda and run.config.validation for run in asked)
    folders = [RunFolder(run).path for run in asked]
    assert folders == [
        tmp_path / f"search/lambda_0={one}/cifar10-1000/supervised+isda/seed0"
        for one in ("0.1", "0.25", "0.5", "0.75", "1")
    ]
    assert found["chosen"] == {"lambda_0": 1.0}
    assert "| lambda_0 0.75 | 39.25 |\n" in capsys.readouterr().out


def test_the_smallest_validation_error_is_chosen_whatever_the_test_says(tmp_path: Path) -> None:
    _, _, found = search("", tmp_path, lambda a, b: 40 + (a - 0.75) ** 2 + (b - 2) ** 2)
    assert found["chosen"] == {"lambda_0": 0.75, "eta_1": 2.0}
    assert found["validation_error"] == 40 and found["held_out_images"] == 250
    assert len(found["tried"]) == 15 and "test" not in json.dumps(found)


def test_of_equal_ones_the_weakest_is_chosen(tmp_path: Path) -> None:
    _, _, found = search("", tmp_path, lambda a, b: 30.0 if a >= 0.5 and b >= 1 else 31.0)
    assert found["chosen"] == {"lambda_0": 0.5, "eta_1": 1.0}


def test_seeds_are_averaged(tmp_path: Path) -> None:
    _, asked, found = search("--seeds 0 4", tmp_path, lambda a, b: 40 + a + b)
    assert all(run.seeds == (0, 4) for run in asked)
    assert found["tried"][0]["validation_errors"] == [40.6, 44.6]
    assert found["validation_error"] == pytest.approx(42.6) and found["seeds"] == [0, 4]


def test_the_choice_is_trained_on_all_labels_only_if_asked(tmp_path: Path, capsys) -> None:
    best: Errors = lambda a, b: 40 + abs(a - 0.25) + abs(b - 0.5)  # noqa: E731
    _, asked, _ = search("", tmp_path, best)
    assert len(asked) == 15
    words = capsys.readouterr().out.splitlines()[-1].removeprefix("python run.py ").split()
    assert words[-3:] == ["--isda", "--lambda-0=0.25", "--eta-1=0.5"]
    _, asked, _ = search("--then-train", tmp_path, best)
    assert len(asked) == 16 and asked[-1] == resolve(words)
    assert not asked[-1].config.validation and asked[-1].config.runs_dir == tmp_path
    mine = tmp_path / "mine.yaml"
    mine.write_text("validation: true\n")
    _, asked, _ = search(f"--then-train --config {mine}", tmp_path, best)
    assert asked[0].config.validation and not asked[-1].config.validation


def test_it_says_how_little_the_held_out_images_can_tell(tmp_path: Path, capsys) -> None:
    """sqrt(0.4 * 0.6 / 250) = 0.03098: all with lambda_0 <= 0.5, 9 of 15, came that close."""
    search("", tmp_path, lambda a, b: 40.0 if a == 0.1 else 43.0 if a <= 0.5 else 44.0)
    line = capsys.readouterr().out.splitlines()[-2]
    assert "250 of them measure an error to ± 3.10 points" in line
    assert line.endswith("8 other settings of 15 came as close")


def test_a_setting_that_diverges_is_only_not_chosen(tmp_path: Path, capsys) -> None:
    def error(a: float, b: float) -> float:
        if a == 0.1:
            raise TrainingFailed("step 3: the supervised loss is nan")
        return 40 + a

    _, _, found = search("", tmp_path, error)
    assert found["chosen"] == {"lambda_0": 0.25, "eta_1": 0.5}
    assert found["tried"][0]["validation_errors"] is None
    assert "| lambda_0 0.1 | failed | failed | failed |" in capsys.readouterr().out


def test_if_all_diverge_there_is_no_choice(tmp_path: Path) -> None:
    def error(a: float, b: float) -> float:
        raise TrainingFailed("nan")

    with pytest.raises(TrainingFailed, match="failed with every setting"):
        search("", tmp_path, error)


@pytest.mark.parametrize("runs_dir", ["--runs-dir={}", "--runs-dir {}"])
def test_the_printed_commands_are_the_trainings_of_the_search(
    tmp_path: Path, capsys, monkeypatch, runs_dir: str
) -> None:
    """From any folder, with a space in a path too, and nothing is trained or written by printing."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "my runs"
    trained = Trained(lambda a, b: 40.0)
    monkeypatch.setattr("ssl_isda.commands.search.train_seeds", trained)
    words = asked_for("--seeds 0 4", runs)
    own = [w for w in words if w not in ("--runs-dir", str(runs))]
    words = [*own, *(word.format(runs) for word in runs_dir.split())]
    assert command([*words, "--print-commands"]) == 0
    assert not trained.asked and not runs.exists()
    printed = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert {tuple(line[:2]) for line in printed} == {(sys.executable, str(ROOT / "run.py"))}
    assert command(words) == 0
    from_lines = [resolve(line[2:]) for line in printed]
    assert [(r.config, r.seeds) for r in from_lines] == [(r.config, r.seeds) for r in trained.asked]
    assert len(from_lines) == 15


@pytest.mark.slow
def test_the_same_command_trains_nothing_twice(tmp_path: Path) -> None:
    words = [*DIGITS, "--method", "supervised", "--steps", "2", "--labels", "40"]
    first = train("search", *words, cwd=tmp_path)
    runs = tmp_path / "runs/search"
    before = {path: time for path, time in modified(runs).items() if "seed0" in path}
    assert sum(path.endswith("result.json") for path in before) == 5
    again = train("search", *words, cwd=tmp_path)
    assert {path: modified(runs)[path] for path in before} == before
    assert again.splitlines()[-3:] == first.splitlines()[-3:]
