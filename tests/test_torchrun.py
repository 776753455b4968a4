"""``torchrun ... run.py``: what a user of several processes sees."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_isda.assembly import networks
from ssl_isda.assembly.batches import batches_of
from ssl_isda.assembly.workspace import Workspace
from ssl_isda.base.errors import UsageError
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.batches import TwoStreamBatches
from ssl_isda.data.splits import make_split
from ssl_isda.models.contract import Network
from ssl_isda.parallel.whole_batch import WholeBatchNorm
from ssl_isda.settings.resolve import resolve
from tests.commands import DIGITS, ENVIRONMENT, QUICK, ROOT, TORCHRUN, ends_like, train, warm_start

pytestmark = pytest.mark.slow
MEAN_TEACHER = [*DIGITS, "--method", "mean_teacher", "--isda", "--steps", "8"]
MEAN_TEACHER += ["--checkpoint-epochs", "1", "--precision", "fp32"]
CELL = Path("digits-20/mean_teacher+isda/seed0")


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "--monitor-interval", "0.1"]
    return subprocess.run(
        [*launcher, str(ROOT / "run.py"), *arguments],
        cwd=cwd,
        env=ENVIRONMENT | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def await_epoch(folder: Path, num_epochs: int) -> None:
    metrics, until = folder / "metrics.jsonl", time.monotonic() + 300
    while not metrics.exists() or len(metrics.read_text().splitlines()) < num_epochs:
        assert time.monotonic() < until, f"epoch {num_epochs} is done"
        time.sleep(0.02)


def epochs(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def processes_of(launcher: int) -> list[int]:
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(child) for child in children]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = torchrun(*MEAN_TEACHER, "--runs-dir", "two", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test error") == 5  # four epochs and the result, each said once
    train(*MEAN_TEACHER, "--runs-dir", "one", cwd=folder)
    return folder


@pytest.mark.fault(25)
def test_fault_25_two_processes_share_a_split_and_write_one_run(undisturbed):
    one, two = undisturbed / "one" / CELL, undisturbed / "two" / CELL
    assert (two / "split.json").read_bytes() == (one / "split.json").read_bytes()
    assert [epoch["epoch"] for epoch in epochs(two)] == [1, 2, 3, 4]
    result = json.loads((two / "result.json").read_text())
    assert result["processes"] == 2
    assert sum(map(sum, result["confusion"])) == 450
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}


def test_two_processes_begin_with_the_numbers_of_one(undisturbed):
    """fp32, two steps: 8e-5 apart, and 2e-3 where BatchNorm is not synchronized; rounding grows after.

    float64 and many steps: ``test_distributed.py``.
    """
    one, two = (epochs(undisturbed / name / CELL)[0] for name in ("one", "two"))
    looked_at = [name for name in one if name.endswith("_loss")] + ["mean_variance"]
    assert len(looked_at) == 4
    for name in looked_at:
        assert two[name] == pytest.approx(one[name], rel=5e-4), name
    assert two["test_error"] == pytest.approx(one["test_error"], abs=0.23)  # an image of 450


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory) -> tuple[Path, str, str]:
    """A run that was told to stop after an epoch, and lost a process after a further one: its folder,
    output and complaints."""
    folder = tmp_path_factory.mktemp("disturbed")

    def strike(launcher: int) -> None:
        for epoch, number, rank in ((1, signal.SIGTERM, 0), (3, signal.SIGKILL, 1)):
            await_epoch(folder / "runs" / CELL, epoch)
            os.kill(sorted(processes_of(launcher))[rank], number)

    words = [*MEAN_TEACHER, "--runs-dir", "runs"]
    done = warm_start().run(words, folder, prelude=TORCHRUN, watch=strike)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / CELL, done.stdout, done.stderr


@pytest.mark.fault(3)
def test_fault_3_a_signal_stops_all_processes_at_one_step(disturbed):
    """The step at which they go on."""
    _, output, complaints = disturbed
    (stop,) = [line for line in complaints.splitlines() if line.startswith("run.py: SIGTERM")]
    step = re.fullmatch(
        r"run\.py: SIGTERM at step (\d+) of 8: saved; the same command goes on from here", stop
    )
    assert step and int(step[1]) < 8
    assert f"resuming at step {step[1]} of 8\n" in output


@pytest.mark.fault(32)
def test_fault_32_a_killed_process_is_restarted_and_the_run_ends_the_same(undisturbed, disturbed):
    """One that does not write: the other must not write either what it could not finish."""
    folder, output, _ = disturbed
    assert output.count("resuming at step") == 2
    assert ends_like(folder, undisturbed / "two" / CELL)


# ---- as one of two processes would, in this one


def built(*flags: str) -> tuple[Network, TwoStreamBatches]:
    """The network and the batches of a run."""
    resolved = resolve(["--dataset", "digits", *QUICK, "--method", "vat", *flags])
    workspace = Workspace(resolved)
    labels = workspace.data.train.labels
    split = make_split(
        labels, num_classes=10, amounts=Amounts(20), seed=0, dataset="digits", checksum=""
    )
    student = networks.student_of(resolved, workspace)
    regularizer = networks.method_of(resolved, student, len(labels))
    return student, batches_of(resolved, workspace, split, regularizer)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--batch-size", "33"], "--batch-size must be a multiple of the 2 processes, got 33"),
        (
            ["--unlabeled-batch-size", "601"],
            "--unlabeled-batch-size must be a multiple of the 2 processes, got 601",
        ),
        (["--compile"], "--compile works on one process; leave it out under torchrun"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_two_processes_cannot_do_is_refused(flags, told, monkeypatch):
    built(*flags)  # one can
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError) as refusal:
        built(*flags)
    assert str(refusal.value) == told


@pytest.mark.parametrize("flags", [[], ["--sync-batchnorm"], ["--no-sync-batchnorm"]])
def test_batchnorm_need_not_be_synchronized(flags, monkeypatch):
    """What then becomes of a run: ``test_distributed.py``."""
    monkeypatch.setattr(networks, "num_processes", lambda: 2)
    student, _ = built(*flags)
    norms = [module for module in student.modules() if isinstance(module, _BatchNorm)]
    synchronized = [isinstance(norm, WholeBatchNorm) for norm in norms]
    assert synchronized == [flags != ["--no-sync-batchnorm"]] * 9
