"""Disks that are really full: a small one of our own, where the kernel lets us mount it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.commands import CELL, ENVIRONMENT, FILES, SUPERVISED, ends_like, names, train
from tests.warm_start import WarmStart

WIDE = " ".join(SUPERVISED).replace("--hidden 16", "--hidden 400").split()  # 0.9 MB a checkpoint
SPARE = {"checkpoint.pt.previous", "checkpoint.pt.new"}
OFFLINE = ["offline" if word == "disabled" else word for word in SUPERVISED]


def can_mount() -> bool:
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    try:
        return subprocess.run(probe, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_mount(), reason="the kernel does not let this user mount a tmpfs"),
]


SHELL = "import subprocess\nsubprocess.run({!r}, shell=True, check=True)"
"""What a command's process does first: a line of the shell."""


@pytest.fixture(scope="module")
def namespace() -> WarmStart:
    """Commands in a mount namespace of their own."""
    return WarmStart(ENVIRONMENT, ["unshare", "-rm"])


def disk(size: str, folder: Path | str) -> str:
    return SHELL.format(f"mount -t tmpfs -o size={size} tmpfs {folder}")


@pytest.mark.fault(8)
def test_fault_8_a_full_disk_then_a_larger_one(namespace: WarmStart, tmp_path: Path) -> None:
    """The first checkpoint fits, the second does not; with more room the same command goes on."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "whole").mkdir()
    full = namespace.run(
        [*WIDE, "--checkpoint-epochs", "1"], tmp_path, prelude=disk("1600k", "runs")
    )
    assert re.fullmatch(
        r"run\.py: disk full: runs/.*/checkpoint\.pt\S* needs \d\.\d MB\n", full.stderr
    ), full.stderr
    assert full.returncode == 74 and "epoch 2/3" in full.stdout
    larger = SHELL.format(f"ls -A {CELL} > left; mount -o remount,size=10m runs")
    done = namespace.run(WIDE, tmp_path, prelude=larger)
    left = set((tmp_path / "left").read_text().splitlines())
    assert left & {*FILES, *SPARE} == FILES - {"result.json"}
    assert not any(name.endswith(".partial") for name in left)
    assert done.returncode == 0 and "resuming at step 2 of 6" in done.stdout
    namespace.run(["--version"], tmp_path, prelude=SHELL.format(f"cp -r {CELL} kept"))
    train(*WIDE, cwd=tmp_path / "whole")
    assert ends_like(tmp_path / "kept", tmp_path / "whole" / CELL)


@pytest.mark.fault(9)
def test_fault_9_a_disk_too_full_for_metrics(namespace: WarmStart, tmp_path: Path) -> None:
    """4 kB are left when the first epoch is over: the files before it have taken the rest."""
    (tmp_path / "runs").mkdir()
    child = namespace.run(SUPERVISED, tmp_path, prelude=disk("16k", "runs"))
    assert child.returncode == 74
    assert re.fullmatch(r"run\.py: disk full: runs/\S+ needs 0\.1 MB\n", child.stderr)


@pytest.mark.fault(9)
def test_fault_9_no_room_for_wandb_costs_a_warning_and_no_bit(
    namespace: WarmStart, tmp_path: Path
) -> None:
    wandb = tmp_path / CELL / "wandb"
    wandb.mkdir(parents=True)
    (tmp_path / "whole").mkdir()
    child = namespace.run(OFFLINE, tmp_path, prelude=disk("8k", wandb))
    assert child.returncode == 0, child.stderr
    assert child.stdout.count("warning: disk full: W&B cannot keep") == 1, child.stdout
    train(*SUPERVISED, cwd=tmp_path / "whole")
    assert ends_like(tmp_path / CELL, tmp_path / "whole" / CELL)
    assert names(tmp_path / CELL) == FILES | {"wandb"}
