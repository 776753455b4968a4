"""The real command line, in processes of its own or in this one, and what it leaves behind."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.warm_start import WarmStart

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, str(ROOT / "run.py")]
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PYTHON"))} | {
    "CUDA_VISIBLE_DEVICES": "",  # exact comparisons, and a GPU that is not there
    "https_proxy": "http://127.0.0.1:9",  # a closed port: no network
    "http_proxy": "http://127.0.0.1:9",
}
QUICK = ["--width", "0.05", "--threads", "1", "--wandb", "disabled"]
DIGITS = ["--dataset", "digits", *QUICK, "--unlabeled-batch-size", "600"]  # 2 steps an epoch
MLP = ["--model", "mlp", "--hidden", "16", "--features", "16", "--threads", "1"]
FAST = ["--dataset", "digits", *MLP, "--wandb", "disabled", "--unlabeled-batch-size", "600"]
SUPERVISED = [*FAST, "--method", "supervised", "--steps", "6"]
CELL = Path("runs/digits-20/supervised-mlp/seed0")
FILES = {
    *("config.yaml", "split.json", "preparation.npz", "metrics.jsonl", "timing.jsonl", "log.txt"),
    *("checkpoint.pt", "result.json"),
}
NO_TORCH = f"""
import sys
sys.modules["torch"] = None
sys.path.insert(0, {str(ROOT)!r})
"""
"""How a program begins that cannot import torch."""
WITHOUT_TORCH = f"""{NO_TORCH}
from ssl_isda import cli
sys.exit(cli.main(sys.argv[1:]))
"""
"""A program that answers like run.py where torch cannot be imported."""
TORCHRUN = """
import runpy, sys
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from ssl_isda import cli

command = cli.main

def work(words):
    torch.set_num_threads(1)
    if not words[0].endswith(".py"):
        sys.exit(command(words))
    sys.argv[:] = words
    runpy.run_path(words[0], run_name="__main__")

def launch(words):
    how = {"start_method": "fork", "max_restarts": 2, "monitor_interval": 0.1}
    place = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "here"}
    elastic_launch(LaunchConfig(1, 1, 2, **place, **how), work)(words)
    return 0

cli.main = launch
"""
"""Ahead of a warm start: as ``torchrun --nproc-per-node 2 --max-restarts 2`` runs a command or a script,
in processes that are forked, and so need no second or two for their imports."""


class Answer(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def answer(words: Sequence[str], cwd: Path) -> Answer:
    """Of a command in this process, where a traceback would be an exception."""
    from ssl_isda import cli

    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(words)
    finally:
        os.chdir(before)
    return Answer(code, out.getvalue(), err.getvalue())


class Killed(Exception):
    """Stands for kill -9."""


def kill_at(index: int, words: Sequence[str], cwd: Path) -> None:
    """A training's command, killed before step ``index`` with a checkpoint of its state there."""
    from ssl_isda.training.trainer import Trainer

    taken = Trainer.train_step

    def killed(trainer: Trainer, step: Any) -> Any:
        if step.index == index:
            trainer.save()
            raise Killed
        return taken(trainer, step)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Trainer, "train_step", killed)
        answer(words, cwd)


@functools.cache
def warm_start() -> WarmStart:
    """For commands that a signal ends, or whose process or environment is looked at."""
    return WarmStart(ENVIRONMENT)


def run(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command to its end: with ``options`` of subprocess.run in a process of its own, else in this."""
    if not options:
        return subprocess.CompletedProcess(arguments, *answer(arguments, cwd))
    environment = ENVIRONMENT | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(
        [*RUN, *arguments], cwd=cwd, env=environment, text=True, **{**pipes, **options}
    )


def train(*arguments: str, cwd: Path, **options: Any) -> str:
    """What a successful command prints."""
    process = run(*arguments, cwd=cwd, **options)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def refusal(*arguments: str, cwd: Path, code: int = 2, **options: Any) -> str:
    """The one line with which a command ends."""
    process = run(*arguments, cwd=cwd, **options)
    assert process.returncode == code, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("run.py: ") and len(line) < 600
    return line


def modified(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def ends_like(folder: Path, reference: Path) -> bool:
    """Weights, teacher, covariances, optimizer and metrics: the same bytes."""
    return all(
        (folder / name).read_bytes() == (reference / name).read_bytes()
        for name in ("checkpoint.pt", "metrics.jsonl", "split.json")
    )
