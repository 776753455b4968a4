"""W&B is a view: it never asks, hangs or changes a result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ssl_isda import wandb_view
from ssl_isda.wandb_view import open_view

ROOT = Path(__file__).parents[2]


class FakeRun:
    """Notes what it is told; fails once ``broken``."""

    def __init__(self) -> None:
        self.logged: list[Any] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.broken = False

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "epoch")

    def log(self, metrics: Any) -> None:
        if self.broken:
            raise OSError("no space\nleft")
        self.logged.append(metrics)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


class FakeWandb(SimpleNamespace):
    """The module; ``failing`` modes cannot start."""

    def __init__(self, *failing: str) -> None:
        super().__init__(Settings=lambda **settings: settings, run=FakeRun())
        self.failing, self.attempts = failing, []

    def init(self, mode: str, **arguments: Any) -> FakeRun:
        self.attempts.append((mode, arguments))
        if mode in self.failing:
            raise RuntimeError(f"{mode} does not work\nand more lines")
        return self.run


@pytest.fixture
def start(monkeypatch, tmp_path: Path):
    """Opens a view in front of a fake W&B, for a user who is not logged in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def start(mode: Any, fake: FakeWandb | None) -> tuple[Any, list[str]]:
        monkeypatch.setitem(sys.modules, "wandb", fake)
        warnings: list[str] = []
        view = open_view(
            mode,
            project="p",
            folder=tmp_path,
            group="digits-20/vat",
            name="digits-20/vat/seed0",
            config={"labels": 20},
            warn=warnings.append,
        )
        return view, warnings

    return start


def modes(fake: FakeWandb) -> list[str]:
    return [mode for mode, _ in fake.attempts]


@pytest.mark.fault(29)
def test_fault_29_without_wandb_one_warning_and_no_view(start) -> None:
    view, warnings = start("auto", None)
    assert view is None
    assert len(warnings) == 1 and "not installed" in warnings[0]


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("disabled", {}, []),
        ("auto", {}, ["offline"]),
        ("offline", {"WANDB_API_KEY": "k"}, ["offline"]),
        ("auto", {"WANDB_API_KEY": "k"}, ["online"]),
        ("online", {}, ["online"]),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, ["offline"]),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, []),
    ],
)
def test_online_where_you_are_logged_in(start, monkeypatch, mode, environment, expected) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fake = FakeWandb()
    view, warnings = start(mode, fake)
    assert modes(fake) == expected and (view is None) == (not expected) and warnings == []


@pytest.mark.parametrize(
    ("netrc", "url", "expected"),
    [
        ("machine api.wandb.ai login user password k\n", None, ["online"]),
        ("machine elsewhere login user password k\n", None, ["offline"]),
        ("machine our.host login user password k\n", "http://our.host:8080/", ["online"]),
        ("nonsense\n", None, ["offline"]),
    ],
)
def test_a_key_may_stand_in_netrc(start, monkeypatch, tmp_path, netrc, url, expected) -> None:
    (tmp_path / ".netrc").write_text(netrc)
    (tmp_path / ".netrc").chmod(0o600)
    if url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
    start("auto", fake := FakeWandb())
    assert modes(fake) == expected


@pytest.mark.fault(29)
def test_fault_29_what_cannot_go_online_goes_offline_with_one_warning(start) -> None:
    fake = FakeWandb("online")
    view, warnings = start("online", fake)
    assert modes(fake) == ["online", "offline"] and view is not None
    assert warnings == ["W&B online failed (online does not work)"]


@pytest.mark.fault(29)
def test_fault_29_training_goes_on_where_nothing_works(start) -> None:
    view, warnings = start("online", FakeWandb("online", "offline"))
    assert view is None and len(warnings) == 2


@pytest.mark.fault(29)
def test_fault_29_waiting_is_bounded_and_nothing_is_asked(start, tmp_path: Path) -> None:
    start("auto", fake := FakeWandb())
    ((_, arguments),) = fake.attempts
    settings = arguments["settings"]
    assert settings["init_timeout"] <= 25 and settings["login_timeout"] <= 25
    assert settings["finish_timeout"] <= 60 and settings["console"] == "off"
    assert arguments["dir"] == str(tmp_path)
    assert (arguments["group"], arguments["name"]) == ("digits-20/vat", "digits-20/vat/seed0")


@pytest.mark.fault(29)
def test_fault_29_a_view_that_breaks_is_dropped_with_one_warning(start) -> None:
    fake = FakeWandb()
    view, warnings = start("auto", fake)
    view.log({"epoch": 1})
    fake.run.broken = True
    for epoch in (2, 3):
        view.log({"epoch": epoch})
    view.finish({"error": 1.0}, 0)
    assert fake.run.logged == [{"epoch": 1}]
    assert warnings == ["W&B stopped (no space); the run goes on without it"]


def test_the_end_is_shown(start) -> None:
    fake = FakeWandb()
    view, _ = start("auto", fake)
    view.finish({"error": 1.5}, 130)
    assert fake.run.summary == {"final/error": 1.5} and fake.run.exit_code == 130


def test_an_error_without_words_is_named() -> None:
    assert wandb_view._first_line(KeyError()) == "KeyError"


# ---- the real one, in processes of their own

COMMAND = [
    *(sys.executable, str(ROOT / "run.py"), "--dataset", "digits", "--method", "vat", "--isda"),
    *("--width", "0.05", "--steps", "4", "--unlabeled-batch-size", "600", "--threads", "1"),
]


def train(runs_dir: Path, *flags: str, **environment: str) -> tuple[Path, str, float]:
    """The run folder, what was printed, seconds."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PYTHON"))}
    home = runs_dir.parent / "home"
    home.mkdir(exist_ok=True)
    began = time.monotonic()
    child = subprocess.run(
        [*COMMAND, "--runs-dir", str(runs_dir), *flags],
        env={**clean, "CUDA_VISIBLE_DEVICES": "", "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - began
    assert child.returncode == 0 and "Traceback" not in child.stderr, child.stderr
    return runs_dir / "digits-20/vat+isda/seed0", child.stdout, seconds


def assert_equal(folder: Path, reference: Path) -> None:
    for name in ("metrics.jsonl", "checkpoint.pt", "split.json"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes()


@pytest.fixture(scope="module")
def disabled(tmp_path_factory) -> tuple[Path, float]:
    folder, printed, seconds = train(tmp_path_factory.mktemp("off") / "runs", "--wandb", "disabled")
    assert "W&B" not in printed and not (folder / "wandb").exists()
    return folder, seconds


@pytest.mark.fault(31)
@pytest.mark.slow
def test_fault_31_offline_without_a_key_is_silent_and_bit_equal(disabled, tmp_path: Path) -> None:
    folder, printed, _ = train(tmp_path / "runs")
    assert "warning" not in printed
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert_equal(folder, disabled[0])


@pytest.mark.fault(29)
@pytest.mark.slow
def test_fault_29_an_unreachable_server_costs_a_bounded_time_and_one_warning(
    disabled, tmp_path: Path
) -> None:
    server = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    folder, printed, seconds = train(tmp_path / "runs", **server)
    assert printed.count("warning") == 1 and "warning: W&B online failed" in printed
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert seconds < 60 + 3 * disabled[1]
    assert_equal(folder, disabled[0])
