"""metrics.jsonl is the truth; the console and W&B are views."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_isda.base.errors import OutputFailed, UsageError
from ssl_isda.base.progress import counted, duration
from ssl_isda.runs.tracking import Tracker


def log(tracker: Tracker, epoch: int) -> None:
    tracker.log_epoch({"epoch": epoch, "loss": epoch / 3}, {"seconds": 0.5}, f"epoch {epoch}")


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    tracker = Tracker(tmp_path, quiet=True)
    for epoch in (1, 2, 3):
        log(tracker, epoch)
    return tracker


def test_numbers_come_back_bit_for_bit(tracker: Tracker) -> None:
    assert tracker.history() == [{"epoch": e, "loss": e / 3} for e in (1, 2, 3)]


def test_a_new_run_has_no_history(tmp_path: Path) -> None:
    assert Tracker(tmp_path).history() == []


def test_metrics_hold_nothing_of_the_clock(tracker: Tracker) -> None:
    assert "seconds" not in tracker.metrics_file.read_text()
    assert len(tracker.timing_file.read_text().splitlines()) == 3


def test_resuming_forgets_later_epochs_and_half_a_line(tracker: Tracker) -> None:
    with open(tracker.metrics_file, "a") as file:
        file.write('{"epoch": 4, "lo')
    tracker.resume_at(2)
    assert [line["epoch"] for line in tracker.history()] == [1, 2]
    log(tracker, 3)
    assert [line["epoch"] for line in tracker.history()] == [1, 2, 3]
    assert len(tracker.timing_file.read_text().splitlines()) == 3


def test_epochs_that_are_gone_are_not_passed_over(tracker: Tracker) -> None:
    """Their mean would be reported."""
    with pytest.raises(UsageError, match=r"metrics\.jsonl has 3 of the 4 epochs .* --fresh"):
        tracker.resume_at(4)
    assert len(tracker.history()) == 3
    tracker.metrics_file.unlink()
    with pytest.raises(UsageError, match=r"metrics\.jsonl has 0 of the 1 epochs"):
        tracker.resume_at(1)


@pytest.mark.fault(9)
@pytest.mark.parametrize("name", ["metrics.jsonl", "timing.jsonl", "log.txt"])
def test_fault_9_a_full_disk_is_loud(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OutputFailed, match=rf"disk full: .*{name} needs") as caught:
        log(Tracker(tmp_path, quiet=True), 1)
    assert caught.value.exit_code == 74


def test_a_view_is_shown_metrics_and_timing(tmp_path: Path) -> None:
    class View:
        def __init__(self) -> None:
            self.shown: list[Any] = []

        def log(self, metrics: Any) -> None:
            self.shown.append(metrics)

        def finish(self, summary: Any, exit_code: int) -> None: ...

    tracker = Tracker(tmp_path, view := View(), quiet=True)
    log(tracker, 1)
    assert view.shown == [{"epoch": 1, "loss": 1 / 3, "seconds": 0.5}]


def test_what_is_said_is_printed_and_logged(tmp_path: Path, capsys) -> None:
    tracker = Tracker(tmp_path)
    tracker.say("Grüße ±")
    tracker.warn("careful")
    assert capsys.readouterr() == ("Grüße ±\nwarning: careful\n", "")
    lines = (tmp_path / "log.txt").read_text("utf-8").splitlines()
    assert [line[20:] for line in lines] == ["Grüße ±", "warning: careful"]


@pytest.mark.fault(38)
@pytest.mark.parametrize(("terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_fault_38_no_bar_without_a_terminal(
    tmp_path: Path, monkeypatch, terminal: bool, term: str
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    with Tracker(tmp_path).progress(0, 3) as advance:
        advance()
    assert stream.getvalue() == ""


def test_a_bar_on_a_terminal_and_lines_above_it(tmp_path: Path, monkeypatch, capsys) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    tracker = Tracker(tmp_path)
    with tracker.progress(1, 3) as advance:
        advance()
        tracker.say("epoch 1")
    assert "/3" in stream.getvalue()
    assert capsys.readouterr().out == "epoch 1\n"


CHILD = """
import sys
from ssl_isda.runs.tracking import show
for k in range(3):
    show(f"line {k}")
    show(f"error {k}", stream=sys.stderr)
open(sys.argv[1], "w").write("survived")
"""


@pytest.mark.fault(38)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["closed pipe", "full disk"])
def test_fault_38_a_reader_who_is_gone_stops_nothing(
    tmp_path: Path, stream: str, kind: str
) -> None:
    if kind == "closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open("/dev/full", os.O_WRONLY)
    streams: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "out")],
        **(streams | {stream: writing}),
        cwd=Path(__file__).parents[3],
        text=True,
    )
    os.close(writing)
    assert child.returncode == 0
    assert (tmp_path / "out").read_text() == "survived"
    if stream == "stdout":
        assert child.stderr == "error 0\nerror 1\nerror 2\n"
    else:
        assert child.stdout == "line 0\nline 1\nline 2\n"


def test_json_is_one_line_per_epoch(tracker: Tracker) -> None:
    for line in tracker.metrics_file.read_text().splitlines():
        assert json.loads(line).keys() == {"epoch", "loss"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11_100, "3 h 05 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_failure_is_noted_in_the_log_alone(tracker: Tracker, capsys) -> None:
    tracker.quiet = False
    tracker.note_failure(OutputFailed("disk full"))
    last = (tracker.folder / "log.txt").read_text().splitlines()[-1]
    assert last.endswith(" failed: disk full") and not capsys.readouterr().out


def test_a_failure_that_cannot_be_noted_is_no_second_failure(tracker: Tracker) -> None:
    (tracker.folder / "log.txt").unlink()
    (tracker.folder / "log.txt").mkdir()
    tracker.note_failure(OutputFailed("disk full"))


@pytest.mark.parametrize("terminal", [False, True])
def test_counted_items_are_the_same_and_move_a_bar_on_a_terminal(monkeypatch, terminal) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    assert list(counted(["ab", "c"], 3, "letter", len)) == ["ab", "c"]
    assert ("/3" in stream.getvalue()) == terminal
