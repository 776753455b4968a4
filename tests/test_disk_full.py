"""Disks that are really full: a small one of our own, where the kernel lets us mount it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.commands import CELL, ENVIRONMENT, FILES, RUN, SUPERVISED, ends_like, names, train

WIDE = ["0.2" if word == "0.05" else word for word in SUPERVISED]  # 1 MB a checkpoint
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


def on_a_disk(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``script`` sees the command line ``arguments`` as "$@", in a mount namespace of its own."""
    return subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "-", *RUN, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )


@pytest.mark.fault(8)
def test_fault_8_a_full_disk_then_a_larger_one(tmp_path: Path) -> None:
    """The first checkpoint fits, the second does not; with more room the same command goes on."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "whole").mkdir()
    script = """
        mount -t tmpfs -o size=1600k tmpfs runs
        "$@" --checkpoint-epochs 1; echo "exit $?"
        ls -A runs/digits-20/supervised/seed0
        mount -o remount,size=10m runs
        "$@" && cp -r runs/digits-20/supervised/seed0 kept
    """
    child = on_a_disk(script, *WIDE, cwd=tmp_path)
    assert re.search(
        r"^run\.py: disk full: runs/.*/checkpoint\.pt\S* needs \d\.\d MB$", child.stderr, re.M
    ), child.stderr
    assert len(child.stderr.splitlines()) == 1
    before, _, after = child.stdout.partition("exit 74\n")
    left = set(after.splitlines()) & {*FILES, "checkpoint.pt.previous", "checkpoint.pt.new"}
    assert left == FILES - {"result.json"} and ".partial" not in after
    assert "epoch 2/3" in before and "resuming at step 2 of 6" in after
    train(*WIDE, cwd=tmp_path / "whole")
    assert ends_like(tmp_path / "kept", tmp_path / "whole" / CELL)


@pytest.mark.fault(9)
def test_fault_9_a_disk_too_full_for_metrics(tmp_path: Path) -> None:
    """4 kB are left when the first epoch is over: config and split have taken the rest."""
    (tmp_path / "runs").mkdir()
    child = on_a_disk(
        'mount -t tmpfs -o size=12k tmpfs runs; "$@"; echo "exit $?"', *SUPERVISED, cwd=tmp_path
    )
    assert child.stdout.endswith("exit 74\n")
    assert re.fullmatch(r"run\.py: disk full: runs/\S+ needs 0\.1 MB\n", child.stderr)


@pytest.mark.fault(9)
def test_fault_9_no_room_for_wandb_costs_a_warning_and_no_bit(tmp_path: Path) -> None:
    wandb = tmp_path / CELL / "wandb"
    wandb.mkdir(parents=True)
    (tmp_path / "whole").mkdir()
    script = f'mount -t tmpfs -o size=8k tmpfs {CELL}/wandb; "$@"; echo "exit $?"'
    child = on_a_disk(script, *OFFLINE, cwd=tmp_path)
    assert child.stdout.endswith("exit 0\n"), child.stderr
    assert child.stdout.count("warning: disk full: W&B cannot keep") == 1, child.stdout
    train(*SUPERVISED, cwd=tmp_path / "whole")
    assert ends_like(tmp_path / CELL, tmp_path / "whole" / CELL)
    assert names(tmp_path / CELL) == FILES | {"wandb"}
