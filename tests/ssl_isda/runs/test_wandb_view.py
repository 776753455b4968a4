"""W&B is a view: it never asks, hangs or changes a result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ssl_isda.runs import wandb_view
from ssl_isda.runs.wandb_view import open_view, run_id
from tests.commands import ENVIRONMENT, MLP, warm_start
from tests.fake_wandb import HISTORY, SUMMARY, FakeServer


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
        self.failing, self.attempts, self.teardowns = failing, [], 0

    def teardown(self) -> None:
        self.teardowns += 1

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

    def start(mode: Any, fake: FakeWandb | None, history: Any = ()) -> tuple[Any, list[str]]:
        monkeypatch.setitem(sys.modules, "wandb", fake)
        warnings: list[str] = []
        view = open_view(
            mode,
            project="p",
            folder=tmp_path,
            group="digits-20/vat",
            name="digits-20/vat/seed0",
            identity="0123456789abcdef",
            tags=["vat"],
            config={"labels": 20},
            history=history,
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
        ("online", {"WANDB_MODE": "offline"}, ["offline"]),
        ("online", {"WANDB_MODE": "disabled"}, []),
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
    assert fake.teardowns == 1  # or the identity would be in use
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


def test_what_validation_selected_is_shown_as_the_best(start) -> None:
    view, _ = start("auto", fake := FakeWandb())
    view.finish({"error": 1.5, "selected_error": 2.0, "selected_epoch": 3}, 0)
    assert fake.run.summary == {"final/error": 1.5, "best/error": 2.0, "best/epoch": 3}


@pytest.mark.fault(30)
def test_fault_30_every_start_shows_the_whole_history_under_one_identity(start) -> None:
    view, _ = start("auto", fake := FakeWandb(), history=[{"epoch": 1}, {"epoch": 2}])
    view.log({"epoch": 3})
    assert fake.run.logged == [{"epoch": 1}, {"epoch": 2}, {"epoch": 3}]
    ((_, arguments),) = fake.attempts
    assert arguments["id"] == "0123456789abcdef" and "resume" not in arguments


def test_an_identity_is_that_of_the_experiment() -> None:
    one = run_id("p", "digits-20/vat/seed0", {"labels": 20, "isda": True})
    assert one == run_id("p", "digits-20/vat/seed0", {"isda": True, "labels": 20})
    others = [
        run_id("q", "digits-20/vat/seed0", {"labels": 20, "isda": True}),
        run_id("p", "digits-20/vat/seed1", {"labels": 20, "isda": True}),
        run_id("p", "digits-20/vat/seed0", {"labels": 20, "isda": False}),
    ]
    assert len({one, *others}) == 4 and len(one) == 16


@pytest.mark.fault(29)
def test_fault_29_an_older_wandb_without_a_setting_stops_nothing(start) -> None:
    fake = FakeWandb()
    fake.Settings = None  # calling it raises
    view, warnings = start("auto", fake)
    assert view is None and len(warnings) == 1


def test_a_picture_is_shown(start, tmp_path: Path) -> None:
    fake = FakeWandb()
    fake.Image = lambda path: ("image", path)
    view, warnings = start("auto", fake)
    view.show_image("tsne", tmp_path / "tsne.png")
    assert fake.run.logged == [{"tsne": ("image", str(tmp_path / "tsne.png"))}] and not warnings


def test_an_error_without_words_is_named() -> None:
    assert wandb_view._first_line(KeyError()) == "KeyError"


# ---- the real one, in processes of their own

COMMAND = [
    *("--dataset", "digits", "--method", "vat", "--isda"),
    *MLP,
    *("--unlabeled-batch-size", "600"),
]
CELL = "digits-20/vat+isda-mlp/seed0"
SHORT, LONGER = ("--steps", "4"), ("--steps", "8")


WAIT = "from ssl_isda.runs import wandb_view; wandb_view.{}_SECONDS = {}"


def train(
    runs_dir: Path,
    *flags: str,
    steps: tuple[str, str] = SHORT,
    prelude: str = "",
    **environment: str,
) -> tuple[Path, str, float]:
    """The run folder, what was printed, seconds."""
    home = runs_dir.parent / "home"
    home.mkdir(exist_ok=True)
    began = time.monotonic()
    child = warm_start().run(
        [*COMMAND, *steps, "--runs-dir", str(runs_dir), *flags],
        cwd=home,
        environment={"HOME": str(home), **environment},
        prelude=prelude,
    )
    seconds = time.monotonic() - began
    assert (child.returncode, child.stderr) == (0, "")
    return runs_dir / CELL, child.stdout, seconds


TWO_VIEWS = """
from pathlib import Path
from ssl_isda.runs.wandb_view import open_view
shared = {"project": "p", "folder": Path(), "group": "g", "tags": [], "config": {}, "history": []}
view = open_view("offline", name="a", identity=8 * "a", warn=print, **shared)
view._run.log = None  # whatever it is that breaks
view.log({"epoch": 1})
view.finish({}, 0)
later = open_view("offline", name="b", identity=8 * "b", warn=print, **shared)
print(later._run.id)
later.finish({}, 0)
"""


@pytest.mark.fault(29)
@pytest.mark.slow
def test_fault_29_after_a_view_that_broke_the_next_run_has_its_own(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", TWO_VIEWS],
        cwd=tmp_path,
        env=ENVIRONMENT | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    warning, identity = child.stdout.splitlines()
    assert warning.startswith("W&B stopped (") and identity == "bbbbbbbb"


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
    folder, printed, seconds = train(tmp_path / "runs", prelude=WAIT.format("START", 2), **server)
    assert printed.count("warning") == 1 and "warning: W&B online failed" in printed
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert seconds < 10 + 3 * disabled[1]
    assert_equal(folder, disabled[0])


def shown_epochs(segment: Path) -> list[int]:
    """The epochs on record in one offline segment, by W&B's own reader."""
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(segment)]
    printed = subprocess.run(reader, capture_output=True, text=True, check=True).stdout
    records = [json.loads(line) for line in printed.splitlines()]
    return [record["history"]["item"]["epoch"] for record in records if record["type"] == "history"]


def start_and_strike(
    runs_dir: Path, number: signal.Signals, *, after_epoch: int, **environment: str
) -> None:
    """Start a run of 4 epochs and send it a signal, after W&B has begun at the earliest."""
    folder = runs_dir / CELL
    metrics, segments = folder / "metrics.jsonl", folder / "wandb"
    before = len(list(segments.glob("*run-*/*.wandb")))

    def strike(pid: int) -> None:
        while after_epoch and not (
            metrics.exists() and metrics.read_text().count("\n") >= after_epoch
        ):
            time.sleep(0.01)
        while len(list(segments.glob("*run-*/*.wandb"))) == before:
            time.sleep(0.01)
        os.kill(pid, number)

    child = warm_start().run(
        [*COMMAND, *LONGER, "--runs-dir", str(runs_dir)],
        cwd=runs_dir.parent,
        environment={"HOME": str(runs_dir.parent), **environment},
        watch=strike,
    )
    assert child.returncode == (143 if number == signal.SIGTERM else -number)


@pytest.mark.fault(30)
@pytest.mark.slow
def test_fault_30_offline_each_epoch_stands_once_in_the_last_segment(tmp_path: Path) -> None:
    """Killed before an epoch was over, then stopped after the second, then finished."""
    start_and_strike(tmp_path / "runs", signal.SIGKILL, after_epoch=0)
    start_and_strike(tmp_path / "runs", signal.SIGTERM, after_epoch=2)
    folder, printed, _ = train(tmp_path / "runs", steps=LONGER)
    assert "resuming at step" in printed
    segments = sorted((folder / "wandb").glob("offline-run-*"))
    killed, stopped, finished = map(shown_epochs, segments)
    assert (killed, stopped[:2], finished) == ([], [1, 2], [1, 2, 3, 4])
    # offline-run-TIME-ID, and "-1" behind it where another segment begins in the same second
    assert len({segment.name.split("-")[3] for segment in segments}) == 1


# ---- online, against a server of our own


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server
        server.shutdown()


def logged_in(server: FakeServer) -> dict[str, str]:
    return {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": server.url}


@pytest.mark.fault(31)
@pytest.mark.slow
def test_fault_31_online_is_bit_equal_and_shows_everything(
    disabled, server: FakeServer, tmp_path: Path
) -> None:
    folder, printed, _ = train(tmp_path / "runs", **logged_in(server))
    assert "warning" not in printed
    assert_equal(folder, disabled[0])
    ((identity, run),) = server.runs.items()
    assert run["groupName"] == "digits-20/vat+isda-mlp" and run["displayName"].endswith("/seed0")
    assert run["jobType"] == "train" and set(run["tags"]) == {"vat", "digits", "isda"}
    assert server.epochs(identity) == [1, 2]
    kept = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for shown, metrics in zip(server.lines[identity][HISTORY].values(), kept, strict=True):
        assert metrics.items() <= shown.items()
    result = json.loads((folder / "result.json").read_text())
    summary = server.lines[identity][SUMMARY][0]
    for name in ("error", "balanced_error", "macro_f1", "calibration_error"):
        assert summary[f"final/{name}"] == result[name]
    assert summary["final/class_errors"] == result["class_errors"]


@pytest.mark.fault(30)
@pytest.mark.slow
def test_fault_30_online_each_epoch_stands_once(server: FakeServer, tmp_path: Path) -> None:
    """Killed before an epoch was over, then stopped after the second, then finished."""
    key = logged_in(server)
    start_and_strike(tmp_path / "runs", signal.SIGKILL, after_epoch=0, **key)
    start_and_strike(tmp_path / "runs", signal.SIGTERM, after_epoch=2, **key)
    train(tmp_path / "runs", steps=LONGER, **key)
    (identity,) = server.runs
    assert server.epochs(identity) == [1, 2, 3, 4]


@pytest.mark.fault(29)
@pytest.mark.slow
def test_fault_29_the_network_is_lost_in_the_middle(
    disabled, server: FakeServer, tmp_path: Path
) -> None:
    """Training is identical, and the end is not waited for longer than it may take."""
    metrics = tmp_path / "runs" / CELL / "metrics.jsonl"

    def lose() -> None:
        while not metrics.exists():
            time.sleep(0.001)
        server.lost.set()

    threading.Thread(target=lose, daemon=True).start()
    waits = WAIT.format("FINISH", 3)
    folder, _, seconds = train(tmp_path / "runs", prelude=waits, **logged_in(server))
    assert server.lost.is_set()
    assert 3 < seconds < 10 + 3 + 3 * disabled[1]
    assert_equal(folder, disabled[0])


@pytest.mark.fault(29)
@pytest.mark.slow
def test_fault_29_a_server_that_never_answers(disabled, server: FakeServer, tmp_path: Path) -> None:
    server.silent.set()
    folder, printed, seconds = train(
        tmp_path / "runs", prelude=WAIT.format("START", 2), **logged_in(server)
    )
    assert printed.count("warning") == 1 and "warning: W&B online failed" in printed
    assert 2 < seconds < 10 + 2 + 3 * disabled[1]
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert_equal(folder, disabled[0])
