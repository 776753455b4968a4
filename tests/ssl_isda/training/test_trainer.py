"""The loop: exact resume, the schedule, and what it does when training goes wrong."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_isda import methods
from ssl_isda.base.errors import Interrupted, OutputFailed, TrainingFailed, UsageError
from ssl_isda.base.randomness import global_draws
from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.weak import Weak
from ssl_isda.data.batch import Batch
from ssl_isda.data.batches import TwoStreamBatches, evaluation_batches
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.source import InMemory
from ssl_isda.data.splits import Split
from ssl_isda.data.views import View
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.losses import LOSSES
from ssl_isda.models import CNN13
from ssl_isda.optim import OPTIMIZERS, SCHEDULES
from ssl_isda.optim.groups import groups_of
from ssl_isda.runs import checkpoint
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.method import METHODS, Method
from ssl_isda.training.objective import Objective
from ssl_isda.training.trainer import Trainer, TrainerConfig
from tests.benchmarks.measurement import allocated_bytes
from tests.methods import tiny

CLASSES, IMAGES, NUM_STEPS = 3, 48, 10  # 3 steps an epoch, the last epoch has one
CPU = torch.device("cpu")
FIRST = ("mean_teacher", "pi_model", "pseudo_label", "supervised", "temporal_ensembling", "vat")
WAYS = [(method, isda) for method in FIRST for isda in (False, True)]


class Killed(Exception):
    """Stands for kill -9: nothing is saved on the way out."""


class Data:
    """Batches of noise; ``before`` says what happens before the batch of a step is made."""

    def __init__(self, regularizer: Method) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.arange(IMAGES) % CLASSES
        images = torch.randn(IMAGES, 1, 16, 16, generator=generator)
        self.images = PreparedImages(InMemory(images + self.labels.view(-1, 1, 1, 1)))
        self.before: dict[int, Callable[[], None]] = {}
        self.batches = TwoStreamBatches(
            self.images,
            self.labels,
            Split("noise", "0", 0, tuple(range(9))),
            labeled_batch_size=6,
            unlabeled_batch_size=16,
            seed=0,
            augmentation=Weak(flip=True),
            views=regularizer.views,
            labeled_views=regularizer.labeled_views,
            named={"weak": Weak(flip=True), "strong": Weak(flip=True, max_translation=5)},
        )

    def batch(self, step: Step) -> Batch:
        self.before.pop(step.index, lambda: None)()
        return self.batches.batch(step)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(
    folder: Path,
    method: str | type[Method] = "supervised",
    isda: bool = False,
    width: float = 0.05,
    **changes: Any,
) -> Trainer:
    with global_draws(0, 0, "initial weights", CPU):
        student = CNN13(CLASSES, width=width, in_channels=1)
    if isinstance(method, str):
        options = METHODS.config(method)(**tiny.LIVELY.get(method, {}))
        regularizer = METHODS[method](
            options, student=student, num_images=IMAGES, num_classes=CLASSES
        )
    else:
        regularizer = method()
    isda_config = IsdaConfig() if isda else None
    sizes, loss = (CLASSES, student.head.in_features), changes.pop("loss", None)
    objective = Objective(regularizer, isda_config, *sizes, loss=loss)
    data = Data(regularizer)
    config = TrainerConfig(NUM_STEPS, data.batches.steps_per_epoch, images_per_step=22)
    folder.mkdir(exist_ok=True)
    evaluations = {"test": lambda: evaluation_batches(data.images, data.labels, batch_size=20)}
    parts = {name: changes.pop(name) for name in ("optimizer", "schedule") if name in changes}
    if "layer_decay" in changes:
        parts["groups"] = groups_of(student, layer_decay=changes.pop("layer_decay"))
    config = replace(config, **changes)
    return Trainer(student, objective, data, evaluations, config, Tracker(folder), **parts)


def same(a: Any, b: Any) -> bool:
    """Bit for bit, keys and types included."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def kill() -> None:
    raise Killed


def assert_ends_like(trainer: Trainer, reference: Trainer) -> None:
    assert same(trainer.state(), reference.state())
    metrics = [t.tracker.metrics_file.read_bytes() for t in (trainer, reference)]
    assert metrics[0] == metrics[1] and metrics[0].count(b"\n") == 4


# ---- resume


KILLED = {  # the step that its checkpoint goes on with, and the one before which it was killed
    "mid-epoch": (4, 4),
    "the last batch of an epoch is next": (5, 5),
    "epoch end": (6, 6),
    "an epoch after the checkpoint": (6, 9),
    "the last step is next": (9, 9),
}


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}{'+isda' * way[1]}")
def reference(request, tmp_path_factory) -> tuple[tuple[str, bool], Trainer]:
    """An uninterrupted run of each method, plain and with ISDA.

    Beside its folder stand copies of it as kill -9 would have left it.
    """
    folder = tmp_path_factory.mktemp("reference")
    trainer = make(folder / "run", *request.param)

    def keep(step: int) -> None:
        for name, (saved, killed) in KILLED.items():
            if step == killed:
                if saved == killed:
                    trainer.save()
                shutil.copytree(folder / "run", folder / name)

    trainer.data.before = {step: partial(keep, step) for step in (4, 5, 6, 9)}
    trainer.run()
    return request.param, trainer


@pytest.mark.fault(2)
@pytest.mark.parametrize("moment", KILLED)
def test_fault_2_a_resumed_run_ends_bit_identical(reference, tmp_path: Path, moment: str) -> None:
    way, uninterrupted = reference
    killed = uninterrupted.tracker.folder.with_name(moment)
    resumed = make(shutil.copytree(killed, tmp_path / "run"), *way)
    assert resumed.resume() and resumed.next_step == KILLED[moment][0]
    resumed.run()
    assert_ends_like(resumed, uninterrupted)


@pytest.mark.fault(2)
@pytest.mark.parametrize("method", sorted({*methods.__all__} - {*FIRST}))
def test_fault_2_every_method_goes_on_in_the_middle_of_an_epoch(method, tmp_path: Path) -> None:
    """With ISDA, and with the average of the network tested where the method tests none of its own."""
    trainers = [make(tmp_path / name, method, isda=True) for name in ("whole", "killed", "again")]
    for trainer in trainers:
        if trainer.objective.evaluated(trainer.student) is trainer.student:
            trainer.objective.average_for_evaluation(trainer.student, 0.9)
    uninterrupted, killed, again = trainers
    uninterrupted.run()
    killed.data.before = {4: killed.save, 5: kill}
    with pytest.raises(Killed):
        killed.run()
    shutil.copytree(tmp_path / "killed", tmp_path / "again", dirs_exist_ok=True)
    assert again.resume() and again.next_step == 4
    again.run()
    assert_ends_like(again, uninterrupted)


@pytest.fixture(
    scope="module", params=[("vat", True), ("mean_teacher", True)], ids=lambda way: way[0]
)
def isda_reference(request, tmp_path_factory) -> tuple[tuple[str, bool], Trainer]:
    """An uninterrupted run of the two methods that differ most, with ISDA."""
    trainer = make(tmp_path_factory.mktemp("isda"), *request.param)
    trainer.run()
    return request.param, trainer


@pytest.mark.fault(2)
@pytest.mark.parametrize("kill_before", [0, 5])
def test_fault_2_without_a_checkpoint_a_killed_run_starts_over(
    tmp_path: Path, kill_before: int
) -> None:
    uninterrupted = make(tmp_path / "whole", "mean_teacher", isda=True)
    uninterrupted.run()
    trainer = make(tmp_path / "killed", "mean_teacher", isda=True)
    trainer.data.before[kill_before] = kill
    with pytest.raises(Killed):
        trainer.run()
    assert len(trainer.tracker.history()) == kill_before // 3
    again = make(tmp_path / "killed", "mean_teacher", isda=True)
    assert not again.resume()
    again.run()
    assert_ends_like(again, uninterrupted)


@pytest.mark.fault(2)
def test_fault_2_resuming_a_finished_run_changes_nothing(isda_reference, tmp_path: Path) -> None:
    way, uninterrupted = isda_reference
    folder = shutil.copytree(uninterrupted.tracker.folder, tmp_path / "copy")
    resumed = make(folder, *way)
    assert resumed.resume()
    resumed.run()
    assert_ends_like(resumed, uninterrupted)


@pytest.mark.fault(1)
def test_fault_1_killed_five_times(isda_reference, tmp_path: Path) -> None:
    way, uninterrupted = isda_reference
    for kill_before in (1, 2, 4, 7, 9):
        trainer = make(tmp_path, *way, checkpoint_minutes=0)  # saves after every step
        trainer.data.before[kill_before] = kill
        trainer.resume()
        with pytest.raises(Killed):
            trainer.run()
        assert trainer.next_step == kill_before
    last = make(tmp_path, *way)
    last.resume()
    last.run()
    assert_ends_like(last, uninterrupted)


@pytest.mark.fault(4)
@pytest.mark.parametrize("at_batch", [0, 2])
def test_fault_4_sigterm_during_an_evaluation(
    isda_reference, tmp_path: Path, at_batch: int
) -> None:
    """It stops at once, without the epoch's line; going on begins with the whole evaluation."""
    way, uninterrupted = isda_reference
    trainer = make(tmp_path, *way)
    evaluate, calls = trainer.evaluations["test"], []

    def interrupted_batches():
        calls.append(None)
        for k, batch in enumerate(evaluate()):
            if len(calls) == 2 and k == at_batch:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    trainer.evaluations = {"test": interrupted_batches}
    with pytest.raises(Interrupted, match="SIGTERM at step 6 of 10: saved") as caught:
        trainer.run()
    assert caught.value.exit_code == 143
    assert len(trainer.tracker.history()) == 1
    resumed = make(tmp_path, *way)
    resumed.resume()
    resumed.run()
    assert_ends_like(resumed, uninterrupted)
    lines = resumed.tracker.timing_file.read_text().splitlines()
    assert ["images_per_second" in line for line in lines] == [True, False, True, True]


@pytest.mark.fault(4)
def test_fault_4_sigterm_during_a_save(isda_reference, tmp_path: Path, monkeypatch) -> None:
    """The save is finished, and one step more."""
    way, uninterrupted = isda_reference
    trainer = make(tmp_path, *way, checkpoint_minutes=0)
    syncs = iter(range(1000))
    sync = os.fsync

    def interrupted_sync(descriptor: int) -> None:
        if next(syncs) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted_sync)
    with pytest.raises(Interrupted, match="SIGTERM at step 3 of 10"):
        trainer.run()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint.pt", "checkpoint.pt.previous"}
    resumed = make(tmp_path, *way)
    assert resumed.resume() and resumed.next_step == 3
    resumed.run()
    assert_ends_like(resumed, uninterrupted)


def test_checkpoints_at_each_n_epochs(tmp_path: Path, monkeypatch) -> None:
    trainer = make(tmp_path, checkpoint_epochs=2)  # 4 epochs: 3, 3, 3, 1 steps
    saved_at: list[int] = []
    monkeypatch.setattr(trainer, "save", lambda: saved_at.append(trainer.next_step))
    trainer.run()
    assert saved_at == [6, 10, 10]  # each two epochs, and the end


def test_runs_of_other_seeds_differ(tmp_path: Path) -> None:
    """The comparisons above can fail."""
    states = []
    for seed in (0, 1):
        trainer = make(tmp_path / str(seed), seed=seed, num_steps=2)
        trainer.run()
        states.append(trainer.state())
    assert not same(states[0]["student"], states[1]["student"])


@pytest.mark.fault(5)
def test_fault_5_a_damaged_checkpoint_falls_back_and_says_so(tmp_path: Path, capsys) -> None:
    make(tmp_path / "whole").run()
    trainer = make(tmp_path / "run", checkpoint_minutes=0)
    trainer.data.before[7] = kill
    with pytest.raises(Killed):
        trainer.run()
    file = trainer.checkpoint_file
    file.write_bytes(file.read_bytes()[:-1])
    resumed = make(tmp_path / "run")
    capsys.readouterr()
    assert resumed.resume() and resumed.next_step == 6
    assert f"warning: {file} is damaged" in capsys.readouterr().out
    resumed.run()
    whole = make(tmp_path / "whole")
    whole.resume()
    assert_ends_like(resumed, whole)


@pytest.mark.fault(7)
def test_fault_7_two_bad_checkpoints_are_never_a_silent_restart(tmp_path: Path) -> None:
    trainer = make(tmp_path, num_steps=4, checkpoint_minutes=0)
    trainer.run()
    metrics = trainer.tracker.metrics_file.read_bytes()
    for name in ("checkpoint.pt", "checkpoint.pt.previous"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match=r"Nothing was deleted; --fresh starts over") as caught:
        make(tmp_path, num_steps=4).resume()
    assert caught.value.exit_code == 2
    assert trainer.tracker.metrics_file.read_bytes() == metrics


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"width": 0.1}, "shape body.0.weight"),
        ({"method": "mean_teacher"}, "missing regularizer.teacher.body.0.weight, "),
        ({"isda": True}, "missing covariance."),
        ({"trained": "temporal_ensembling"}, "unexpected regularizer.count, regularizer.ensemble"),
    ],
)
def test_fault_16_another_networks_checkpoint_is_refused(
    tmp_path: Path, other: dict[str, Any], words: str
) -> None:
    other = dict(other)
    make(tmp_path, other.pop("trained", "supervised"), num_steps=1).run()
    with pytest.raises(UsageError, match="belongs to another network or method: ") as caught:
        make(tmp_path, **other).resume()
    assert words in str(caught.value) and "\n" not in str(caught.value)


V1_FILE = Path(__file__).parents[2] / "data" / "checkpoint_v1.pt"
V1_WEIGHTS = "b04cd3c6464b5e9d8267f333e2d79afea2d852e14f9b2ddbb0e44c6e89458f5d"


@pytest.mark.fault(17)
def test_fault_17_a_checkpoint_of_the_first_version_goes_on(tmp_path: Path, capsys) -> None:
    """Mean Teacher with ISDA after 4 steps, written by version 0.1.0."""
    shutil.copy(V1_FILE, tmp_path / "checkpoint.pt")
    epoch = b'{"epoch": 1, "step": 3, "test_error": 33.3}\n'
    for name in ("metrics.jsonl", "timing.jsonl"):
        (tmp_path / name).write_bytes(epoch)
    trainer = make(tmp_path, "mean_teacher", isda=True)
    assert trainer.resume() and trainer.next_step == 4
    assert "note" not in capsys.readouterr().out  # it does not say where it was computed
    weights = {**trainer.student.state_dict(), **trainer.objective.state_dict()}
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    assert digest.hexdigest() == V1_WEIGHTS
    trainer.run()
    assert [line["epoch"] for line in trainer.tracker.history()] == [1, 2, 3, 4]


@pytest.mark.fault(36)
def test_fault_36_another_precision_or_thread_count_is_noted(tmp_path: Path, capsys) -> None:
    trainer = make(tmp_path, num_steps=4)
    trainer.data.before[2] = lambda: (trainer.save(), kill())
    with pytest.raises(Killed):
        trainer.run()
    make(tmp_path, num_steps=4).resume()
    assert "note" not in capsys.readouterr().out
    torch.set_num_threads(2)
    moved = make(tmp_path, num_steps=4, precision="bf16")
    moved.resume()
    torch.set_num_threads(1)
    assert (
        "note: precision was fp32 and is bf16, threads was 1 and is 2: from here on the bits may "
        "differ"
    ) in capsys.readouterr().out
    moved.run()
    assert moved.next_step == 4


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("name", "before", "now"),
    [("device", "cuda", "cpu"), ("processes", 2, 1), ("torch", "2.0.0", torch.__version__)],
)
def test_fault_36_another_device_number_of_processes_or_pytorch_is_noted(
    tmp_path: Path, capsys, name: str, before: str | int, now: str | int
) -> None:
    make(tmp_path, num_steps=1).run()
    trainer = make(tmp_path, num_steps=1)
    state = trainer.state() | {"computed_on": trainer.run_state.place() | {name: before}}
    checkpoint.save(trainer.checkpoint_file, state)
    trainer.resume()
    assert f"note: {name} was {before} and is {now}: " in capsys.readouterr().out


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "change",
    [
        {"next_step": -1},
        {"next_step": 11},
        {"next_step": "4"},
        {"loss_sums": 7},
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"student": None},
        {"objective": "?"},
    ],
    ids=str,
)
def test_fault_16_a_state_that_no_run_has_is_refused(tmp_path: Path, change: Any) -> None:
    trainer = make(tmp_path)
    checkpoint.save(trainer.checkpoint_file, trainer.state() | change)
    with pytest.raises(UsageError, match="--fresh") as caught:
        make(tmp_path).resume()
    assert "\n" not in str(caught.value)


# ---- schedule, evaluation, metrics


def test_learning_rate_is_a_cosine_per_step_that_ends_at_0(tmp_path: Path) -> None:
    trainer = make(tmp_path, learning_rate=0.3)
    rates = []
    for index in range(NUM_STEPS):
        trainer.train_step(trainer.step(index))
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    cosines = [0.15 * (1 + math.cos(math.pi * t / NUM_STEPS)) for t in range(NUM_STEPS + 1)]
    assert rates == pytest.approx(cosines[:-1])
    assert rates[0] == 0.3 and cosines[-1] == 0


@pytest.mark.parametrize("name", ["center", "distributionnet", "disturb_label", "large_margin"])
def test_an_optimizer_schedule_groups_and_loss_of_ones_own_resume_bit_identical(
    name: str, tmp_path: Path
) -> None:
    """Of losses those that have parameters, draws or a schedule of their own."""

    def build(folder: str) -> Trainer:
        with global_draws(0, 0, "initial weights of the loss", CPU):
            loss = LOSSES[name](LOSSES.config(name)(), num_classes=CLASSES, num_features=6)
        return make(
            tmp_path / folder,
            *("pi_model", True),
            layer_decay=0.5,
            loss=loss,
            optimizer=OPTIMIZERS["adamw"](OPTIMIZERS.config("adamw")()),
            schedule=SCHEDULES["multistep"](SCHEDULES.config("multistep")()),
            learning_rate=0.01,
        )

    whole, killed = build("whole"), build("killed")
    whole.run()
    killed.data.before[7] = lambda: (killed.save(), kill())
    with pytest.raises(Killed):
        killed.run()
    rates = [group["lr"] for group in killed.optimizer.param_groups]
    assert rates[:4] == pytest.approx([0.000125, 0.00025, 0.0005, 0.001])  # step 6 of 10
    assert rates[4:] == pytest.approx([0.005] if name == "center" else [])
    resumed = build("killed")
    assert resumed.resume()
    resumed.run()
    assert_ends_like(resumed, whole)
    assert [epoch["learning_rate"] for epoch in whole.tracker.history()] == pytest.approx(
        [0.01, 0.001, 0.0001, 0.0001]
    )


def test_mean_teacher_evaluates_its_teacher(tmp_path: Path) -> None:
    trainer = make(tmp_path, "mean_teacher")
    trainer.run()
    evaluated = torch.cat([logits for logits, *_ in trainer.predict(trainer.evaluations["test"])])
    teacher, student = trainer.objective.regularizer.teacher.eval(), trainer.student.eval()
    of_teacher, of_student = (
        torch.cat([network(images)[0] for images, _ in trainer.evaluations["test"]()])
        for network in (teacher, student)
    )
    assert torch.equal(evaluated, of_teacher) and not torch.equal(evaluated, of_student)


def test_evaluation_leaves_no_trace_is_in_eval_mode_and_gives_the_confusions_error(
    tmp_path: Path,
) -> None:
    trainer = make(tmp_path)
    trainer.run()
    before = {name: value.clone() for name, value in trainer.student.state_dict().items()}
    test = trainer.evaluations["test"]
    (error,) = {trainer.evaluation.scores(test)["error"] for _ in range(2)}  # no dropout
    assert same(before, dict(trainer.student.state_dict()))
    confusion, scores = trainer.final(test, ["a", "b", "c"])
    assert confusion.sum(1).tolist() == [IMAGES // CLASSES] * CLASSES
    assert error == pytest.approx(100 * (1 - confusion.trace().item() / IMAGES))
    assert scores["balanced_error"] == pytest.approx(error)


def test_metrics_of_an_epoch(tmp_path: Path) -> None:
    """Losses are means over the epoch's own steps, also where it is shorter."""
    trainer = make(tmp_path, "pi_model", isda=True)
    steps: list[dict[str, float]] = []
    real = trainer.train_step

    def spy(step: Step) -> Any:
        terms = real(step)
        steps.append({name: loss.item() for name, loss in terms.losses.items()})
        return terms

    trainer.train_step = spy  # type: ignore[method-assign]
    trainer.run()
    epochs = trainer.tracker.history()
    assert [(epoch["epoch"], epoch["step"]) for epoch in epochs] == [
        (1, 3),
        (2, 6),
        (3, 9),
        (4, 10),
    ]
    for epoch, part in zip(epochs, (steps[:3], steps[3:6], steps[6:9], steps[9:]), strict=True):
        for name in ("supervised", "semantic", "consistency"):
            mean = sum(step[name] for step in part) / len(part)
            assert epoch[f"{name}_loss"] == pytest.approx(mean)
    assert epochs[-1]["lambda"] == pytest.approx(0.5 * 0.9)
    assert epochs[-1]["consistency_weight"] == 100


# ---- the variants of ISDA, on a network of three layers

LEARNED = {"covariance": "learned", "uncertainty_weight": 0.5}
EXPLICIT = {"augmentation": "explicit", "augmentation_samples": 2}
VARIANTS = [
    {"lambda_schedule": "constant"},
    {"consistency": "second_order"},
    {"consistency": "centered_bound"},
    *({**EXPLICIT, "covariance": form} for form in ("full", "diagonal", "shared", "identity")),
    LEARNED,
    {**LEARNED, "consistency": "centered_bound"},
    {**LEARNED, **EXPLICIT},
]


class TinyData:
    """``tiny.batch``; ``before`` as in ``Data``."""

    def __init__(self, regularizer: Method) -> None:
        self.num_views = len(regularizer.views)
        self.before: dict[int, Callable[[], object]] = {}

    def batch(self, step: Step) -> Batch:
        self.before.pop(step.index, lambda: None)()
        return tiny.batch(step.index, self.num_views)


def make_tiny(folder: Path, method: str = "pi_model", **isda: Any) -> Trainer:
    student = tiny.student()
    regularizer = tiny.build(method, student)
    objective = Objective(regularizer, IsdaConfig(**isda), tiny.C, tiny.A).double()
    config = TrainerConfig(30, steps_per_epoch=4, images_per_step=10)
    folder.mkdir(exist_ok=True)
    return Trainer(student, objective, TinyData(regularizer), {}, config, Tracker(folder))


@pytest.fixture(scope="module")
def default_losses(tmp_path_factory) -> tuple[float, float]:
    return last_losses(make_tiny(tmp_path_factory.mktemp("default")))


def last_losses(trainer: Trainer) -> tuple[float, float]:
    trainer.run()
    last = trainer.tracker.history()[-1]
    assert all(math.isfinite(value) for value in last.values())
    assert last["gradient_norm_supervised"] > 0 and last["gradient_norm_semantic"] > 0
    return last["supervised_loss"], last["semantic_loss"]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(map(str, v.values())))
def test_every_variant_of_isda_trains(variant, default_losses, tmp_path: Path, capsys) -> None:
    """30 steps to finite losses that move the student, none like those of the default."""
    trainer = make_tiny(tmp_path, **variant)
    losses = last_losses(trainer)
    assert all(ours != theirs for ours, theirs in zip(losses, default_losses, strict=True))
    logged = {epoch["lambda"] for epoch in trainer.tracker.history()}
    assert (logged == {0.5}) == ("lambda_schedule" in variant)
    assert "warning" not in capsys.readouterr().out


@pytest.mark.fault(2)
@pytest.mark.parametrize("variant", [LEARNED, {**LEARNED, **EXPLICIT}, EXPLICIT])
def test_fault_2_a_variant_of_isda_resumes_bit_identical(tmp_path: Path, variant) -> None:
    uninterrupted = make_tiny(tmp_path / "reference", "mean_teacher", **variant)
    uninterrupted.run()
    trainer = make_tiny(tmp_path / "killed", "mean_teacher", **variant)
    trainer.data.before[14] = lambda: (trainer.save(), kill())
    with pytest.raises(Killed):
        trainer.run()
    resumed = make_tiny(tmp_path / "killed", "mean_teacher", **variant)
    assert resumed.resume() and resumed.next_step == 14
    resumed.run()
    assert same(resumed.state(), uninterrupted.state())


def test_learned_covariances_are_trained_and_logged(tmp_path: Path) -> None:
    trainer = make_tiny(tmp_path, **LEARNED)
    root = trainer.objective.covariance.root
    before = root.detach().clone()
    terms = trainer.train_step(trainer.step(0))
    assert terms.weights["uncertainty"] == LEARNED["uncertainty_weight"]
    trainer.run()
    assert (root - before).flatten(1).norm(dim=1).min() > 1e-3, "a class was not learned"
    history = trainer.tracker.history()
    assert all("uncertainty_loss" in epoch for epoch in history)
    assert history[0]["mean_variance"] != history[-1]["mean_variance"]


def test_the_optimizer_trains_student_and_learned_covariances_and_nothing_else(
    tmp_path: Path,
) -> None:
    learned = make_tiny(tmp_path, "mean_teacher", **LEARNED)
    root = learned.objective.covariance.root
    (group,) = learned.optimizer.param_groups
    assert [*map(id, group["params"])] == [*map(id, learned.student.parameters()), id(root)]
    (group,) = make_tiny(tmp_path, "mean_teacher").optimizer.param_groups
    assert len(group["params"]) == len([*learned.student.parameters()])
    assert learned.objective.regularizer.evaluated(learned.student) is not learned.student


@pytest.mark.parametrize(("scale", "at_rest"), [(2.0, True), (0.5, False)])
def test_an_uncertainty_loss_at_rest_is_no_dead_term(
    scale: float, at_rest: bool, tmp_path: Path, capsys
) -> None:
    """It moves no student, and a hinge may be 0; its gradient to the covariances is looked at."""
    trainer = make_tiny(tmp_path, **LEARNED)
    trainer.objective.covariance.root.data *= scale
    trainer.run()
    norms = [epoch["gradient_norm_uncertainty"] for epoch in trainer.tracker.history()]
    assert all((norm == 0) == at_rest for norm in norms)
    assert "warning" not in capsys.readouterr().out


# ---- what goes wrong


class DeadTeacher(Method):
    """Mean Teacher with the bug of other frameworks: no gradient reaches the student."""

    views = (View(), View())

    def forward(self, student, batch, views, step) -> Tensor:
        second, _ = student(batch.views[1])
        return (views[0].logits.detach().softmax(1) - second.detach().softmax(1)).square().mean()


class ZeroGradient(Method):
    """The same, but the graph is there."""

    def forward(self, student, batch, views, step) -> Tensor:
        return (views[0].logits * 0).sum() + 1


class Muted(DeadTeacher):
    """Without a weight it may be dead."""

    def weight(self, step: Step) -> float:
        return 0.0


@pytest.mark.parametrize(("method", "warns"), [(DeadTeacher, 1), (ZeroGradient, 1), (Muted, 0)])
def test_a_term_without_gradient_is_noticed(tmp_path, capsys, method, warns: int) -> None:
    make(tmp_path, method).run()
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(lines) == warns  # once, at the first end of an epoch after a quarter of the run
    if warns:
        assert "the consistency term has weight 1 at step 2 but gives the student no" in lines[0]


def test_each_epoch_is_diagnosed(tmp_path: Path) -> None:
    trainer = make(tmp_path, "mean_teacher", isda=True)
    data = trainer.data
    hidden = torch.where(torch.arange(IMAGES) < 24, data.labels, -1)
    trainer.pseudo_labeled = lambda: evaluation_batches(data.images, hidden, batch_size=20)
    trainer.run()
    last = trainer.tracker.history()[-1]
    student = trainer.student.eval()
    logits, _ = student(data.images.source.images)
    teacher, _ = trainer.objective.regularizer.evaluated(student).eval()(data.images.source.images)
    right = (logits.argmax(1) == data.labels)[:24].sum().item()
    agreeing = (logits.argmax(1) == teacher.argmax(1)).sum().item()
    assert last["pseudo_label_accuracy"] == pytest.approx(100 * right / 24)
    assert last["agreement"] == pytest.approx(100 * agreeing / IMAGES)
    assert last["mean_variance"] > 0 and 0 <= last["confident_share"] <= 100
    for epoch in trainer.tracker.history():
        assert epoch["gradient_norm_supervised"] > 0
        assert epoch["gradient_norm_semantic"] > 0 and epoch["gradient_norm_consistency"] > 0


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Not a bit of the training depends on whether pseudo-labels are looked at."""
    states = []
    for looks in (False, True):
        trainer = make(tmp_path / str(looks), "mean_teacher", isda=True)
        data = trainer.data
        if looks:
            trainer.pseudo_labeled = lambda data=data: evaluation_batches(data.images, data.labels)
        trainer.run()
        states.append(trainer.state())
    assert same(*states)


def test_the_real_methods_pass_the_audit(reference) -> None:
    _, trainer = reference
    assert "warning" not in (trainer.tracker.folder / "log.txt").read_text()


@pytest.mark.fault(18)
def test_fault_18_nan_names_step_and_term_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    trainer = make(tmp_path, learning_rate=1e20, checkpoint_minutes=0)
    with pytest.raises(
        TrainingFailed, match=r"^step 1: the supervised loss is (nan|inf)"
    ) as caught:
        trainer.run()
    assert caught.value.exit_code == 70
    resumed = make(tmp_path)
    assert resumed.resume() and resumed.next_step == 1


class Explodes(Method):
    def forward(self, student, batch, views, step) -> Tensor:
        return views[0].logits.sum() * (math.inf if step.index == 4 else 0)


@pytest.mark.fault(18)
def test_fault_18_the_term_that_exploded_is_the_one_named(tmp_path: Path) -> None:
    trainer = make(tmp_path, Explodes)
    trainer.data.before[3] = trainer.save
    before = [p.detach().clone() for p in trainer.student.parameters()]
    with pytest.raises(TrainingFailed, match=r"^step 4: the consistency loss is"):
        trainer.run()
    parameters = list(trainer.student.parameters())
    assert all(p.isfinite().all() for p in parameters)  # the bad step was not taken
    assert not same([p.detach() for p in parameters], before)
    resumed = make(tmp_path, Explodes)
    assert resumed.resume() and resumed.next_step == 3


@pytest.mark.fault(3)
def test_fault_3_a_signal_that_a_failure_hides_is_named(tmp_path: Path, monkeypatch) -> None:
    def full(path: Path, state: object) -> None:
        raise OutputFailed("disk full")

    trainer = make(tmp_path)
    trainer.data.before[2] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OutputFailed) as caught:
        trainer.run()
    assert caught.value.signal_number == signal.SIGTERM
    with pytest.raises(OutputFailed) as caught:
        make(tmp_path).run()
    assert caught.value.signal_number is None


@pytest.mark.fault(35)
def test_fault_35_too_little_gpu_memory_names_batch_and_memory(tmp_path: Path, monkeypatch) -> None:
    class Gpu:
        total_memory = 8_000_000_000

    def no_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Gpu)
    trainer = make(tmp_path)
    trainer.data.before[2] = no_memory
    with pytest.raises(TrainingFailed, match=r"^step 2: 22 images .* 8\.0 GB .*--batch-size"):
        trainer.run()
    trainer = make(tmp_path)
    trainer.data.before[0] = no_memory
    with pytest.raises(TrainingFailed, match=r"^step 0: 22 images"):
        trainer.dry_step()


@pytest.mark.parametrize(
    ("method", "isda"), [("supervised", False), ("vat", True), ("pi_model", True)]
)
def test_a_dry_step_takes_what_the_heaviest_step_takes(method: str, isda: bool, tmp_path) -> None:
    """The third step is the last of its epoch: an ordinary one takes less."""

    def peak(num_steps: int) -> int:
        trainer = make(tmp_path, method, isda)

        def train() -> None:
            for index in range(num_steps):
                trainer.train_step(trainer.step(index))

        return allocated_bytes(train, CPU)

    dry = allocated_bytes(make(tmp_path, method, isda).dry_step, CPU)
    assert peak(2) < dry
    assert dry == pytest.approx(peak(6), rel=1e-3)
