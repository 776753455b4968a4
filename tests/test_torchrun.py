"""``torchrun ... run.py``: what a user of several processes sees."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssl_isda.checkpoint import load
from tests.commands import DIGITS, ENVIRONMENT, ROOT, ends_like, train

pytestmark = pytest.mark.slow
MEAN_TEACHER = [*DIGITS, "--method", "mean_teacher", "--isda", "--steps", "12"]
MEAN_TEACHER += ["--checkpoint-epochs", "1"]
CELL = Path("digits-20/mean_teacher+isda/seed0")


def torchrun(*arguments: str, cwd: Path, restarts: int = 0) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return subprocess.Popen(
        [*launcher, "--monitor-interval", "0.1", str(ROOT / "run.py"), *arguments],
        cwd=cwd,
        env=ENVIRONMENT | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, complaints = process.communicate(timeout=600)
    return process.returncode, output, complaints


def await_epoch(folder: Path, process: subprocess.Popen[str], num_epochs: int = 1) -> None:
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < num_epochs:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def processes_of(launcher: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    code, output, complaints = finish(torchrun(*MEAN_TEACHER, "--runs-dir", "two", cwd=folder))
    assert code == 0, complaints
    assert output.count("test error") == 7  # six epochs and the result, each said once
    train(*MEAN_TEACHER, "--runs-dir", "one", "--precision", "fp32", cwd=folder)
    return folder


@pytest.mark.fault(25)
def test_fault_25_two_processes_share_a_split_and_write_one_run(undisturbed):
    one, two = undisturbed / "one" / CELL, undisturbed / "two" / CELL
    assert (two / "split.json").read_bytes() == (one / "split.json").read_bytes()
    metrics = [json.loads(line) for line in (two / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in metrics] == [1, 2, 3, 4, 5, 6]
    result = json.loads((two / "result.json").read_text())
    assert result["processes"] == 2
    assert sum(map(sum, result["confusion"])) == 450
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()}


@pytest.mark.fault(32)
@pytest.mark.parametrize("rank", [0])  # the one that writes; the others are killed by torchrun
def test_fault_32_a_killed_process_is_restarted_and_the_run_ends_the_same(
    undisturbed, tmp_path, rank
):
    launcher = torchrun(*MEAN_TEACHER, "--runs-dir", "runs", cwd=tmp_path, restarts=1)
    await_epoch(tmp_path / "runs" / CELL, launcher, 2)
    subprocess.run(["kill", "-9", str(sorted(processes_of(launcher))[rank])], check=True)
    code, output, complaints = finish(launcher)
    assert code == 0, complaints
    assert "resuming at step" in output
    assert ends_like(tmp_path / "runs" / CELL, undisturbed / "two" / CELL)


@pytest.mark.fault(3)
def test_fault_3_a_signal_stops_all_processes_at_one_step(undisturbed, tmp_path):
    arguments = [*MEAN_TEACHER, "--runs-dir", "runs"]
    launcher = torchrun(*arguments, cwd=tmp_path)
    await_epoch(tmp_path / "runs" / CELL, launcher)
    for process in processes_of(launcher)[:1]:
        subprocess.run(["kill", f"-{int(signal.SIGTERM)}", str(process)], check=True)
    code, _, complaints = finish(launcher)
    assert code != 0
    stopped = load(tmp_path / "runs" / CELL / "checkpoint.pt")["next_step"]
    assert [line for line in complaints.splitlines() if line.startswith("run.py: ")] == [
        f"run.py: SIGTERM at step {stopped} of 12: saved; the same command goes on from here"
    ]
    assert stopped < 12
    assert finish(torchrun(*arguments, cwd=tmp_path))[0] == 0
    assert ends_like(tmp_path / "runs" / CELL, undisturbed / "two" / CELL)


def test_what_does_not_divide_is_refused_in_one_line(tmp_path):
    code, _, complaints = finish(torchrun(*MEAN_TEACHER, "--batch-size", "33", cwd=tmp_path))
    assert code != 0
    lines = [line for line in complaints.splitlines() if line.startswith("run.py: ")]
    assert lines == ["run.py: --batch-size must be a multiple of the 2 processes, got 33"]


def test_batchnorm_need_not_be_synchronized(tmp_path):
    arguments = [*DIGITS, "--method", "vat", "--steps", "2", "--no-sync-batchnorm"]
    code, _, complaints = finish(torchrun(*arguments, cwd=tmp_path))
    assert code == 0, complaints
