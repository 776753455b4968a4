"""Whole grids of real runs: in one process, by xargs, interrupted, on a Ray cluster that loses a node."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ssl_isda import cli
from ssl_isda.runs.checkpoint import load
from tests.commands import (
    ENVIRONMENT,
    RUN,
    Answer,
    answer,
    ends_like,
    modified,
    train,
    warm_start,
)

QUICK = "dataset: digits, model: mlp, hidden: 16, features: 16, threads: 1, wandb: disabled"
SHORT = f"settings: {{{QUICK}, unlabeled_batch_size: 600, steps: 4}}\nruns:\n  - "


def grid(folder: Path, text: str, *flags: str) -> Answer:
    (folder / "grid.yaml").write_text(text)
    return answer(["grid", "grid.yaml", "--workers", "1", *flags], folder)


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def num_epochs(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


# ---- one by one


@pytest.mark.fault(34)
@pytest.mark.slow
def test_fault_34_failing_runs_are_named_and_the_others_finish(tmp_path: Path) -> None:
    bad = "{method: supervised, labels: [21, 20], seed: 1}\n  - "
    text = SHORT + bad + "{method: supervised, learning_rate: 1e20}"
    code, out, err = grid(tmp_path, text)
    assert code == 1 and err == ""
    *_, good, diverged, labels_line, nan_line = out.splitlines()
    assert re.fullmatch(r"  runs/digits-20/supervised-mlp +[0-9.]+ \(n = 1\)", good)
    assert re.fullmatch(
        r"  runs/learning_rate=1e\+20/digits-20/supervised-mlp +-  1 failed", diverged
    )
    assert labels_line.startswith(
        "failed: runs/digits-21/supervised-mlp/seed1: exit code 2: 21 labels"
    )
    nan = "failed: runs/learning_rate=1e+20/digits-20/supervised-mlp/seed0: exit code 70: step "
    assert nan_line.startswith(nan) and "--learning-rate" in nan_line


@pytest.mark.slow
def test_two_processes_share_the_runs_and_both_are_gone_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(f"{SHORT}{{method: [supervised], seed: [0, 1, 2, 3]}}")
    found = answer(["grid", "grid.yaml", "--processes", "2"], tmp_path)
    assert found.code == 0 and "± " in found.out and "(n = 4)" in found.out
    logs = [*tmp_path.glob("runs/*/*/seed*/log.txt")]
    assert len(logs) == 4
    for log in logs:  # each was begun once
        assert len(re.findall("4 steps on cpu", log.read_text())) == 1
        assert not (log.parent / "checkpoint.pt.new").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="-d is GNU's xargs")
def test_printed_commands_run_and_the_grid_takes_their_results(tmp_path: Path) -> None:
    text = SHORT + "{method: supervised, seed: [0, 1]}"
    flags = ("--runs-dir", "my runs")
    printed = grid(tmp_path, text, *flags, "--print-commands").out
    assert not (tmp_path / "my runs").exists()
    xargs = ["xargs", "-d", "\n", "-P", "2", "-I", "COMMAND", "sh", "-c", "COMMAND"]
    subprocess.run(xargs, input=printed, text=True, cwd=tmp_path, env=ENVIRONMENT, check=True)
    before = modified(tmp_path / "my runs")
    code, out, _ = grid(tmp_path, text, *flags)
    assert code == 0 and "2 runs, 2 of them done before" in out
    assert re.search(r"my runs/digits-20/supervised-mlp  [0-9.]+ ± [0-9.]+ \(n = 2\)", out)
    assert modified(tmp_path / "my runs") == before


@pytest.mark.slow
def test_runs_of_one_process_are_those_of_their_printed_commands(tmp_path: Path) -> None:
    """To the byte, and each names its own command."""
    text = SHORT + "{method: mean_teacher, isda: [false, true], lambda_0: [0.5, 1]}"
    printed = grid(tmp_path, text, "--runs-dir", "alone", "--print-commands").out.splitlines()
    for line in printed:
        assert warm_start().run(shlex.split(line)[2:], tmp_path).returncode == 0
    assert grid(tmp_path, text, "--runs-dir", "together").code == 0
    results = sorted((tmp_path / "alone").rglob("result.json"))
    assert len(results) == len(printed) == 3
    for result in results:
        twin = tmp_path / "together" / result.relative_to(tmp_path / "alone")
        assert ends_like(twin.parent, result.parent)
        one, other = (json.loads(file.read_text())["command"] for file in (result, twin))
        assert other == [word.replace("alone", "together") for word in one]
        config = (result.with_name("config.yaml").read_text()).replace("alone", "together")
        assert twin.with_name("config.yaml").read_text() == config


OF_A_SHELL = """
import os, signal
os.setsid()
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
"""A group of processes of its own, which hears SIGINT also where this one runs in the background."""


def interrupted(
    folder: Path, number: signal.Signals, flags: list[str], is_time: Callable[[], bool]
) -> str:
    """Start a grid of two runs, send it the signal when it is time; what it says."""
    text = f"settings: {{{QUICK}, epochs: 3}}\nruns:\n  - {{method: [supervised, mean_teacher]}}"
    (folder / "grid.yaml").write_text(text)

    def strike(pid: int) -> None:
        wait_until(is_time, "they train")
        if number == signal.SIGINT:
            os.killpg(pid, number)  # as a terminal does
        else:
            os.kill(pid, number)

    child = warm_start().run(
        ["grid", "grid.yaml", *flags, "--steps", "6000"],
        cwd=folder,
        environment=RAY,
        prelude=OF_A_SHELL,
        watch=strike,
    )
    assert child.returncode == 128 + number
    return child.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "flags", "begun", "again"),
    [
        (signal.SIGINT, ["--workers", "1"], {"supervised-mlp"}, False),
        (signal.SIGTERM, ["--workers", "1"], {"supervised-mlp"}, True),
        (signal.SIGTERM, ["--cpus-per-run", "0.5"], {"supervised-mlp", "mean_teacher-mlp"}, False),
    ],
    ids=["SIGINT", "SIGTERM", "SIGTERM, Ray"],
)
def test_an_interrupted_grid_has_saved_and_goes_on(
    number: signal.Signals,
    flags: list[str],
    begun: set[str],
    again: bool,
    tmp_path: Path,
) -> None:
    """It is started again in one case, until a further epoch is done: fault 33 sees such runs end."""
    if len(begun) > 1:
        pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    cell = tmp_path / "runs/digits-20"
    folders = [cell / name / "seed0" for name in begun]

    def they_train() -> bool:
        assert not [*cell.rglob("checkpoint.pt")], "one has saved without being told"
        return all(map(num_epochs, folders))

    complaint = interrupted(tmp_path, number, flags, they_train)
    assert complaint == (
        f"run.py: {number.name}: 0 of 2 runs are done; the same command goes on from what the "
        "others have saved\n"
    )
    assert {path.name for path in cell.iterdir()} == begun
    assert {path.parent.parent.name for path in cell.rglob("checkpoint.pt")} == begun
    assert not [*cell.rglob("result.json")]
    if again:
        before = (folders[0] / "metrics.jsonl").read_text()
        step = load(folders[0] / "checkpoint.pt")["next_step"]
        done = num_epochs(folders[0])
        interrupted(tmp_path, number, flags, lambda: num_epochs(folders[0]) > done)
        assert (folders[0] / "metrics.jsonl").read_text().startswith(before)
        assert f"resuming at step {step} of 6000" in (folders[0] / "log.txt").read_text()


# ---- on a cluster

RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # it listens on all networks
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
node = cluster.add_node(num_cpus=2)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(node, allow_graceful=False)
print("removed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""
FOUR = f"""
settings: {{{QUICK}, steps: 600, unlabeled_batch_size: 64, checkpoint_minutes: 0.001}}
runs:
  - {{method: supervised, seed: [0, 1]}}
  - {{method: mean_teacher, isda: true, seed: [0, 1]}}
"""
CELLS = ["supervised-mlp", "mean_teacher+isda-mlp"]


@pytest.fixture
def cluster() -> Iterator[subprocess.Popen[str]]:
    """Two nodes with two CPUs each; says its address, and removes a node when it is told a line."""
    pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=ENVIRONMENT | RAY,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def running(runs: Path) -> dict[int, tuple[int, Path]]:
    """The training processes of a grid: their parent and their folder."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text("utf-8", "replace").split("\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it has just ended
        if str(runs) in words and "--seed" in words and "grid" not in words:
            found[int(entry.name)] = parent, folder_of(words, runs)
    return found


def folder_of(words: Sequence[str], runs: Path) -> Path:
    """The folder of the run that a command trains."""
    method, seed = (words[words.index(flag) + 1] for flag in ("--method", "--seed"))
    isda = "+isda" if "--isda" in words else ""
    return runs / f"digits-20/{method}{isda}-mlp/seed{seed}"


def midway(runs: Path) -> dict[int, tuple[int, Path]]:
    """Those that have finished an epoch and have a checkpoint, and are far from done."""
    return {
        pid: (parent, folder)
        for pid, (parent, folder) in running(runs).items()
        if 0 < num_epochs(folder) < 15 and (folder / "checkpoint.pt").exists()
    }


@contextmanager
def held(
    grid: subprocess.Popen[str], runs: Path, number: int
) -> Iterator[dict[int, tuple[int, Path]]]:
    """At least as many runs, each stopped as soon as it is midway: none ends before the others start."""
    caught: dict[int, tuple[int, Path]] = {}

    def are_caught() -> bool:
        assert grid.poll() is None, grid.stdout and grid.stdout.read()
        for pid, (parent, folder) in midway(runs).items():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                caught[pid] = parent, folder
        return len(caught) >= number

    try:
        wait_until(are_caught, f"{number} runs are midway")
        yield caught
    finally:
        for pid in caught:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def orphans(runs: Path, caught: dict[int, tuple[int, Path]]) -> dict[int, Path]:
    """Those whose Ray worker is gone; it may have taken them along."""
    now = running(runs)
    return {p: run[1] for p, run in caught.items() if p not in now or now[p][0] != run[0]}


@pytest.mark.fault(33)
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_fault_33_a_node_and_a_worker_are_lost_and_every_run_counts_once(
    cluster, tmp_path: Path, capsys
) -> None:
    """They end with the bytes of runs that nothing disturbed."""
    (tmp_path / "grid.yaml").write_text(FOUR)
    runs = tmp_path / "runs"
    address = cluster.stdout.readline().strip()
    with subprocess.Popen(
        [*RUN, "grid", "grid.yaml", "--runs-dir", str(runs)],
        cwd=tmp_path,
        env=ENVIRONMENT | RAY | {"RAY_ADDRESS": address},
        text=True,
        stdout=subprocess.PIPE,
    ) as child:
        with held(child, runs, 4) as caught:  # two runs on each of two nodes
            cluster.stdin.write("remove the node\n")
            cluster.stdin.flush()
            assert cluster.stdout.readline() == "removed\n"
            wait_until(lambda: len(orphans(runs, caught)) == 2, "the node's workers are gone")
            lost = orphans(runs, caught)
        wait_until(lambda: not lost.keys() & running(runs).keys(), "its runs have ended")
        with held(child, runs, 1) as caught:
            pid, (worker, _) = next(iter(caught.items()))
            assert "ray::" in Path(f"/proc/{worker}/cmdline").read_text()
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: pid in orphans(runs, caught), "the worker is gone")
            lost |= orphans(runs, caught)
        printed, _ = child.communicate()
    assert child.returncode == 0, printed
    summary = printed.splitlines()[-len(CELLS) :]
    assert [line.split()[0] for line in summary] == [str(runs / "digits-20" / c) for c in CELLS]
    assert all(line.endswith("(n = 2)") for line in summary)
    assert not running(runs) and len(lost) == 3
    for folder in runs.rglob("seed*"):
        epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [each["epoch"] for each in epochs] == [*range(1, len(epochs) + 1)]
    for folder in lost.values():
        assert "resuming at step" in (folder / "log.txt").read_text(), folder
    _assert_undisturbed(runs, {*lost.values()}, tmp_path / "undisturbed", capsys)


def _assert_undisturbed(runs: Path, lost: set[Path], undisturbed: Path, capsys) -> None:
    grid = str(runs.with_name("grid.yaml"))
    assert cli.main(["grid", grid, "--runs-dir", str(undisturbed), "--print-commands"]) == 0
    for command in capsys.readouterr().out.splitlines():
        words = command.split()[2:]
        if (folder := folder_of(words, runs)) in lost:
            train(*words, cwd=runs.parent)
            assert ends_like(folder, folder_of(words, undisturbed))
