"""``--extend``: a finished run goes on to a greater length, exactly, and says what its result is not."""

from __future__ import annotations

import json
import pkgutil
import shutil
from pathlib import Path

import pytest

from ssl_isda.commands.report.contents import Report
from ssl_isda.results.runs import find_runs
from ssl_isda.runs import extension
from tests.commands import CELL, FAST, answer, ends_like

RUN = [*FAST, "--method", "supervised", "--checkpoint-epochs", "1"]  # 2 steps an epoch
CONSTANT = ["--schedule", "multistep", "--milestones", "1.0"]
EXTENDED = [*RUN, "--steps", "14", "--extend"]


class Killed(BaseException):
    """Stands for kill -9: nothing is saved on the way out."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 7 steps: of its fourth epoch one is made."""
    folder = tmp_path_factory.mktemp("finished")
    assert answer([*RUN, "--steps", "7", "--snapshots", "2"], folder).code == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "here")


def test_with_a_constant_rate_it_ends_like_a_run_of_that_length(tmp_path: Path) -> None:
    """So no step is left out or made twice, and the epoch that was cut short is whole again."""
    for place, lengths in {"in one": ["14"], "extended": ["7", "9", "14"]}.items():
        (tmp_path / place).mkdir()
        for steps in lengths:
            more = ["--extend"] * (steps != lengths[0])
            assert answer([*RUN, *CONSTANT, "--steps", steps, *more], tmp_path / place).code == 0
    one, other = tmp_path / "in one" / CELL, tmp_path / "extended" / CELL
    assert ends_like(one, other)
    results = [json.loads((run / "result.json").read_text()) for run in (one, other)]
    assert results[0]["error"] == results[1]["error"] and "extended_from" not in results[0]
    assert [steps for steps, _ in results[1]["extended_from"]] == [7, 9]


@pytest.fixture(scope="module")
def extended(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("extended") / "here")
    code, out, _ = answer(EXTENDED, folder)
    assert code == 0
    return folder, out


def test_what_it_is_and_what_it_is_not_is_said_and_kept(
    extended: tuple[Path, str], finished: Path
) -> None:
    folder, out = extended
    before, after = (json.loads((f / CELL / "result.json").read_text()) for f in (finished, folder))
    assert after["extended_from"] == [[7, before["error"]]] and after["steps"] == 14
    assert "extended from 7 steps to 14: schedules are functions of the share of the run" in out
    assert "not the result of so many steps from the start" in out
    assert "steps: 14" in (folder / CELL / "config.yaml").read_text()
    assert (folder / CELL / "snapshots-of-7-steps").is_dir()
    doubts = Report(find_runs([folder])).cautions["Not what it seems"]
    assert any(doubt.startswith("extended from a shorter run") for doubt in doubts)
    for words in (EXTENDED, [*RUN, "--steps", "14"]):  # done: the same command prints the result
        again = answer(words, folder)
        assert again.code == 0 and again.out.endswith("; extended from 7 steps\n")


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("where", "calls"),
    [
        (
            "ssl_isda.runs.run_folder.write_atomically",
            0,
        ),  # the result is aside, the settings are old
        ("ssl_isda.runs.checkpoint.remove_stray_files", 0),  # the settings are new
        ("ssl_isda.runs.tracking.Tracker.resume_at", 0),  # the open epoch's line is still there
        (
            "ssl_isda.training.trainer.Trainer._stop_if_asked",
            0,
        ),  # the line is gone, nothing was saved
        ("ssl_isda.training.trainer.Trainer._stop_if_asked", 5),  # in the middle of a training
    ],
)
def test_fault_1_killed_and_resumed_it_ends_the_same(
    where: str, calls: int, copied: Path, extended: tuple[Path, str]
) -> None:
    left = [calls]
    original = pkgutil.resolve_name(where)

    def killed(*arguments: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(where, killed)
        answer(EXTENDED, copied)
    assert not (copied / CELL / "result.json").exists()
    assert answer(EXTENDED, copied).code == 0
    assert ends_like(copied / CELL, extended[0] / CELL)
    results = [json.loads((f / CELL / "result.json").read_text()) for f in (copied, extended[0])]
    assert results[0]["extended_from"] == results[1]["extended_from"]


def test_a_kill_between_its_two_steps_costs_the_shorter_run_nothing(copied: Path) -> None:
    before = json.loads((copied / CELL / "result.json").read_text())
    extension.put_aside(copied / CELL, copied / CELL / "result.json", 7)
    assert answer([*RUN, "--steps", "7"], copied).code == 0
    after = json.loads((copied / CELL / "result.json").read_text())
    assert after["error"] == before["error"] and "extended_from" not in after


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--steps 6 --extend", "has 7 steps and would get no more (steps: 7 there, 6 now)"),
        (
            "--epochs 2 --extend",
            "has 7 steps and would get no more (epochs: 40 there, 2 now; steps:",
        ),
        (
            "--steps 14",
            "(steps: 7 there, 14 now): take its settings, another --runs-dir, or --fresh",
        ),
        ("--steps 14", "--fresh to delete it; --extend goes on from its end"),
        ("--steps 14 --extend --learning-rate 1", "--extend changes the length alone"),
        ("--steps 14 --extend --seed 1", "seed1 holds no run that could go on"),
        ("--steps 14 --extend --fresh", "--extend goes on with a run that --fresh deletes"),
    ],
)
def test_a_wrong_use_is_one_line(words: str, says: str, finished: Path) -> None:
    before = {path: path.read_bytes() for path in (finished / CELL).iterdir() if path.is_file()}
    code, _, line = answer([*RUN, *words.split()], finished)
    assert code == 2 and says in line and line.count("\n") == 1
    assert before == {p: p.read_bytes() for p in (finished / CELL).iterdir() if p.is_file()}
    assert not (finished / CELL.parent / "seed1").exists()


def test_a_run_that_is_not_finished_or_has_no_checkpoint_is_not_extended(copied: Path) -> None:
    run = copied / CELL
    (run / "checkpoint.pt").rename(copied / "kept")
    (run / "checkpoint.pt.previous").unlink()
    code, _, line = answer(EXTENDED, copied)
    assert code == 2 and "is done, but its checkpoint is not here" in line
    assert (run / "result.json").exists() and "steps: 7 " in (run / "config.yaml").read_text()
    (copied / "kept").rename(run / "checkpoint.pt")
    (run / "result.json").unlink()
    code, _, line = answer(EXTENDED, copied)
    assert code == 2 and "holds a run that is not finished (steps: 7 there, 14 now)" in line


def test_an_epoch_that_was_cut_short_may_be_the_last_that_is_asked_for(copied: Path) -> None:
    assert answer([*RUN, "--epochs", "4", "--extend"], copied).code == 0
    metrics = [
        json.loads(line) for line in (copied / CELL / "metrics.jsonl").read_text().splitlines()
    ]
    assert [(each["epoch"], each["step"]) for each in metrics] == [(k, 2 * k) for k in (1, 2, 3, 4)]


@pytest.mark.parametrize("lines", [None, 3])
def test_without_the_line_of_its_last_epoch_it_is_refused_until_that_is_back(
    lines: int | None, copied: Path, extended: tuple[Path, str]
) -> None:
    file = copied / CELL / "metrics.jsonl"
    whole = file.read_bytes()
    file.unlink()
    if lines:
        file.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    code, _, line = answer(EXTENDED, copied)
    assert code == 2 and line.count("\n") == 1
    assert f"metrics.jsonl has {lines or 0} of the 4 epochs" in line
    file.write_bytes(whole)
    assert answer(EXTENDED, copied).code == 0
    assert ends_like(copied / CELL, extended[0] / CELL)
