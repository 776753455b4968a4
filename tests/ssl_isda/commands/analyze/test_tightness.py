"""``run.py analyze tightness``: the steps of a training taken again, and bounds beside draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ssl_isda import cli
from ssl_isda.assembly.training import build_trainer
from ssl_isda.assembly.workspace import Workspace, split_of
from ssl_isda.commands.analyze.tightness import Bound, Moment, snapshots, tightness
from ssl_isda.commands.analyze.tightness_page import tightness_files, verdict
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.runs.tracking import Tracker
from ssl_isda.settings.resolve import resolve
from ssl_isda.training.state import RunState
from ssl_isda.training.trainer import Trainer, TrainerConfig

FLAGS = "--dataset digits --width 0.05 --threads 1 --wandb disabled --precision fp32"
SIX_STEPS = [*FLAGS.split(), "--steps", "6", "--isda", "--lambda-0", "5", "--snapshots", "2"]
Losses = dict[int, dict[str, float]]
"""By step and name of the term."""
KEEP = RunState.keep_snapshot
CELL = Path("digits-20/mean_teacher+isda/seed0")


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def built(runs: Path, method: str, *more: str) -> Trainer:
    """A run as run.py makes it."""
    flags = [*SIX_STEPS, "--method", method, "--runs-dir", str(runs), *more]
    resolved = resolve(flags)
    folder, workspace = RunFolder(resolved), Workspace(resolved)
    folder.path.mkdir(parents=True)
    split = split_of(folder, workspace)
    return build_trainer(resolved, workspace, split, Tracker(folder.path, quiet=True))


@pytest.fixture(scope="module")
def mean_teacher(tmp_path_factory) -> tuple[Trainer, Losses]:
    """A run that is done, and the losses of each of its steps."""
    return trained(tmp_path_factory.mktemp("mean_teacher"), "mean_teacher")


def trained(folder: Path, method: str, *more: str) -> tuple[Trainer, Losses]:
    trainer, losses = built(folder, method, *more), {}

    def remember(module: object, inputs: tuple, terms) -> None:
        losses[inputs[2].index] = {name: loss.item() for name, loss in terms.losses.items()}

    handle = trainer.objective.register_forward_hook(remember)
    trainer.run()
    handle.remove()
    return trainer, losses


# ---- the step that is taken again


@pytest.mark.parametrize("method", ["mean_teacher", "vat", "supervised"])
def test_the_bounds_are_the_losses_of_the_training_to_the_bit(
    mean_teacher, tmp_path: Path, method: str
) -> None:
    """Mean Teacher's streams pass as one batch, VAT's apart, and supervised training has one only."""
    trainer, losses = mean_teacher if method == "mean_teacher" else trained(tmp_path, method)
    moments = [*tightness(trainer, snapshots(trainer.tracker.folder), num_samples=10)]
    assert [moment.step for moment in moments] == [2, 5]
    for moment in moments:
        found = {"supervised": moment.supervised.bound}
        found |= {"semantic": moment.semantic.bound} if moment.semantic else {}
        assert found == {name: losses[moment.step][name] for name in found}
        assert moment.strength == pytest.approx(5 * moment.step / 6)
    assert (moments[0].semantic is None) == (method == "supervised")


@pytest.mark.parametrize("form", ["centered_bound", "second_order"])
def test_the_other_forms_are_the_losses_of_the_trainings_that_take_them(
    tmp_path: Path, form: str
) -> None:
    trainer, losses = trained(tmp_path, "mean_teacher", "--consistency", form)
    for moment in tightness(trainer, snapshots(trainer.tracker.folder), num_samples=10):
        floor = moment.semantic.floor if form == "centered_bound" else 0.0
        assert moment.divergences[form] + floor == losses[moment.step]["semantic"]


def test_bounds_lie_above_what_is_drawn_and_the_centered_form_is_the_closer(mean_teacher) -> None:
    trainer, _ = mean_teacher
    moments = [*tightness(trainer, snapshots(trainer.tracker.folder), num_samples=1000)]
    for found in (moments[-1].supervised, moments[-1].semantic):
        assert found.floor < found.expected - 3 * found.standard_error
        assert found.expected + 3 * found.standard_error < found.bound
    text = tightness_files(moments, 1000)["tightness.md"].split("Values of --consistency")[1]
    rows = [line.split(" | ")[3:] for line in text.splitlines() if line.startswith("| 5 | 4.167")]
    ((upper, centered, _),) = [[float(number.strip(" |")) for number in row] for row in rows]
    assert 1 < centered < upper


def test_draws_are_the_same_at_every_call(mean_teacher) -> None:
    trainer, _ = mean_teacher
    files = snapshots(trainer.tracker.folder)
    first, second = ([*tightness(trainer, files, num_samples=20)] for _ in range(2))
    assert tightness_files(first, 20) == tightness_files(second, 20)


# ---- snapshots


@pytest.mark.parametrize(
    ("num_steps", "num_snapshots", "steps"),
    [(101, 4, {25, 50, 75, 100}), (6, 2, {2, 5}), (1, 3, {0}), (3, 20, {0, 1, 2}), (9, 0, set())],
)
def test_snapshots_are_evenly_spread_and_end_with_the_last_step(
    num_steps: int, num_snapshots: int, steps: set[int]
) -> None:
    config = TrainerConfig(num_steps, 1, 1, num_snapshots=num_snapshots)
    assert config.snapshot_steps == steps


def test_snapshots_change_nothing_in_a_training_and_come_again_when_it_is_resumed(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    kept = {}
    for runs in ("whole", "resumed", "without"):
        flags = [*SIX_STEPS, "--method", "mean_teacher", "--runs-dir", str(tmp_path / runs)]
        flags += ["--checkpoint-minutes", "0"]
        if runs == "without":
            flags = flags[: flags.index("--snapshots")] + flags[flags.index("--snapshots") + 2 :]
        if runs == "resumed":
            with monkeypatch.context() as patch, pytest.raises(RuntimeError):
                patch.setattr(RunState, "keep_snapshot", fails_at_the_last_step)
                cli.main(flags)
        assert cli.main(flags) == 0
        folder = tmp_path / runs / CELL
        kept[runs] = {p.name: p.read_bytes() for p in sorted(folder.glob("snapshots/*"))}
        for name in ("checkpoint.pt", "metrics.jsonl"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / CELL / name).read_bytes()
    assert [*kept["whole"]] == ["step0000002.pt", "step0000005.pt"]
    assert kept["resumed"] == kept["whole"] and kept["without"] == {}


def fails_at_the_last_step(state: RunState) -> None:
    if state.next_step == 5:
        raise RuntimeError
    KEEP(state)


# ---- the command


def test_the_command_writes_three_files_and_changes_nothing_else(tmp_path: Path, capsys) -> None:
    flags = [*SIX_STEPS, "--method", "mean_teacher", "--runs-dir", str(tmp_path)]
    assert cli.main(flags) == 0
    folder = tmp_path / CELL
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert cli.main(["analyze", "tightness", str(folder), "--samples", "10"]) == 0
    added = {p.name for p in folder.rglob("*") if p.is_file() and p not in before}
    assert added == {"tightness.md", "tightness.json", "tightness.svg"}
    assert {p: p.read_bytes() for p in before} == before
    numbers = json.loads((folder / "tightness.json").read_text())
    assert numbers["samples"] == 10 and [m["step"] for m in numbers["moments"]] == [2, 5]
    assert capsys.readouterr().out.count("| 5 | 4.167 |") == 3

    damaged = folder / "snapshots/step0000005.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert cli.main(["analyze", "tightness", str(folder)]) == 2
    assert "step0000005.pt is damaged" in capsys.readouterr().err
    for file in folder.glob("snapshots/*"):
        file.unlink()
    assert cli.main(["analyze", "tightness", str(folder)]) == 2
    assert "has no snapshots: train it with --isda --snapshots 20" in capsys.readouterr().err


def test_a_run_without_isda_has_no_bound(tmp_path: Path, capsys) -> None:
    flags = [*FLAGS.split(), "--steps", "1", "--snapshots", "1", "--method", "supervised"]
    assert cli.main([*flags, "--runs-dir", str(tmp_path)]) == 0
    folder = tmp_path / "digits-20/supervised/seed0"
    assert cli.main(["analyze", "tightness", str(folder)]) == 2
    assert "was trained without ISDA: there is no bound" in capsys.readouterr().err


# ---- what the numbers say


def test_an_excess_that_draws_cannot_tell_from_nothing_has_no_ratio() -> None:
    assert Bound(1.0, 1.2, 1.1, 0.001).ratio_of_excess == pytest.approx(2.0)
    assert Bound(1.0, 1.2, 1.1, 0.04).ratio_of_excess is None
    assert Bound(1.0, 1.2, 0.99, 0.001).ratio_of_excess is None


def test_the_verdict_says_plainly_where_a_bound_is_loose() -> None:
    loose, tight = Bound(1.0, 1.2, 1.1, 0.001), Bound(1.0, 1.105, 1.1, 0.001)
    assert verdict([loose, tight]) == (
        "The bound is 1.005 to 1.091 times the expectation, its excess 1.05 to 2.00 times the "
        "expectation's: what the augmentation adds is not tightly bounded."
    )
    assert verdict([tight]).endswith("1.05 to 1.05 times the expectation's.")
    assert "too small for the draws" in verdict([Bound(1.0, 1.2, 1.1, 1.0)])


def test_a_method_without_unlabeled_images_has_one_proposition() -> None:
    moment = Moment(3, 0.25, Bound(1.0, 1.2, 1.1, 0.001), None)
    files = tightness_files([moment], 10)
    assert "Prop. 1, l" in files["tightness.md"] and "Prop. 2, u" not in files["tightness.md"]
    assert "Prop. 2" not in files["tightness.svg"]
