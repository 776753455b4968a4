"""Grid files: what they stand for, what is refused, and how their runs are started and watched."""

from __future__ import annotations

import _thread
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ssl_isda import cli
from ssl_isda.base.errors import FolderInUse, Interrupted, OutputFailed, UsageError
from ssl_isda.commands.grid import attempts, command, on_ray, progress, stopping
from ssl_isda.commands.grid.attempts import Outcome, run_to_end
from ssl_isda.commands.grid.one_by_one import one_by_one
from ssl_isda.commands.grid.progress import Progress
from ssl_isda.commands.grid.side_by_side import of_one_process
from ssl_isda.runs.grid_expansion import GridRun, expand
from ssl_isda.runs.grid_file import read_grid
from ssl_isda.settings import resolve as reading
from ssl_isda.settings.components import read_components
from ssl_isda.settings.resolve import resolve
from tests.commands import WITHOUT_TORCH
from tests.synthetic_runs import write_run

ROOT = Path(__file__).resolve().parents[2]
DIGITS = "settings: {dataset: digits}\nruns:\n  - "


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    stopping.heard.clear()  # what the test before has sent
    return tmp_path / "my.yaml"


def expanded(file: Path, text: str) -> list[GridRun]:
    file.write_text(text)
    return expand(read_grid(file, read_components()), {})


def printed(file: Path, text: str, *flags: str, capsys) -> list[str]:
    """The printed commands, without interpreter and program."""
    file.write_text(text)
    assert cli.main(["grid", str(file), "--print-commands", *flags]) == 0
    start = f"{sys.executable} {ROOT / 'run.py'} "
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


# ---- expansion: files, flags, and the commands that they stand for

VAT = "--dataset digits --method vat"
COMMANDS = {
    "a block is the product of its lists, and a value is a list of one": (
        DIGITS + "{method: vat, isda: [false, true], seed: [0, 1]}\n  - method: supervised",
        "",
        [f"{VAT} --{isda} --seed {seed}" for isda in ("no-isda", "isda") for seed in (0, 1)]
        + ["--dataset digits --method supervised"],
    ),
    "further axes are parts of the folder": (
        DIGITS + "{method: vat, isda: true, lambda_0: [0.1, 1], epsilon: [1, 2], width: 0.5}\n"
        "  - {method: vat, isda: false}",
        "",
        [
            f"{VAT} --isda --lambda-0 {strength} --epsilon {epsilon} --width 0.5 "
            f"--runs-dir runs/lambda_0={strength}/epsilon={epsilon}/width=0.5"
            for strength in ("0.1", "1")
            for epsilon in (1, 2)
        ]
        + [f"{VAT} --no-isda"],
    ),
    "a list is one value": (
        "settings: {dataset: digits, method: vat, schedule: multistep, milestones: [0.5, 0.75]}\n"
        "runs:\n  - seed: 0\n  - milestones: [[0.1], []]",
        "",
        ["--dataset digits --method vat --schedule multistep --milestones 0.5,0.75 --seed 0"]
        + [
            f"--dataset digits --method vat --schedule multistep --milestones{text} "
            f"--runs-dir runs/milestones={text[1:]}"
            for text in (" 0.1", "=")
        ],
    ),
    "one value for all is no part": (
        DIGITS + "{method: [vat, supervised], width: 0.5}",
        "",
        [f"--dataset digits --method {method} --width 0.5" for method in ("vat", "supervised")],
    ),
    "a path is one part": (
        DIGITS + "{method: vat, data_dir: [my/data, other]}",
        "",
        [
            f"{VAT} --data-dir my/data --runs-dir runs/data_dir=my%2Fdata",
            f"{VAT} --data-dir other --runs-dir runs/data_dir=other",
        ],
    ),
    "the same run twice is one run": (
        DIGITS + "{method: vat, momentum: [0.5, 0.9]}\n  - {method: vat}",
        "",
        [f"{VAT} --momentum {m} --runs-dir runs/momentum={m}" for m in ("0.5", "0.9")],
    ),
    "runs without ISDA have no settings of it": (
        DIGITS + "{method: vat, isda: [false, true], lambda_0: [1, 0.5]}",
        "",
        [f"{VAT} --no-isda"]
        + [f"{VAT} --isda --lambda-0 {x} --runs-dir runs/lambda_0={x}" for x in ("1", "0.5")],
    ),
    "flags win over the file": (
        "settings: {dataset: digits, steps: 9}\n"
        "runs:\n  - {method: vat, seed: [0, 1], width: [0.1, 0.2]}",
        "--steps 5 --width 0.5 --isda --runs-dir 'a b' --wandb=disabled",
        [
            f"--dataset digits --steps 5 --method vat --seed {seed} --width 0.5 --isda "
            "--runs-dir 'a b' --wandb disabled"
            for seed in (0, 1)
        ],
    ),
    "seeds first: whole pairs wherever it stops": (
        DIGITS + "{method: vat, isda: [false, true], seed: [1, 0]}",
        "--seeds-first",
        [f"{VAT} --{isda} --seed {seed}" for seed in (0, 1) for isda in ("no-isda", "isda")],
    ),
    "of two lengths that of the block counts": (
        "settings: {dataset: digits, epochs: 3}\nruns:\n  - {method: vat, steps: 5}",
        "",
        [f"{VAT} --steps 5"],
    ),
    "of two lengths the flag counts": (
        "settings: {dataset: digits, epochs: 3}\nruns:\n  - {method: vat}\n  - {method: vat, steps: 5}",
        "--steps 7",
        [f"{VAT} --steps 7"],
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_file_stands_for_these_commands(case: str, file: Path, capsys) -> None:
    text, flags, expected = COMMANDS[case]
    assert printed(file, text, *shlex.split(flags), capsys=capsys) == expected
    if not flags:
        for each in expanded(file, text):
            assert resolve(each.arguments) == each.resolved


def test_a_command_gives_what_the_file_says(file: Path) -> None:
    """Numbers, text, nothing, a dash and spaces survive the way through a command line."""
    text = (
        "settings: {labels: null, wandb_project: '-a b', batch_size: 7, dataset: folder}\n"
        "runs:\n  - {method: vat, epsilon: 2.5, isda: true, learning_rate: 1e-5, flip: false}"
    )
    (made,) = expanded(file, text)
    resolved = resolve(made.arguments)
    config = resolved.config
    assert (config.labels, config.wandb_project, config.batch_size) == (None, "-a b", 7)
    assert (config.learning_rate, config.flip) == (1e-5, False)
    assert resolved == made.resolved and "--epsilon 2.5" in " ".join(made.arguments)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_grid_in_configs_expands_and_names_its_command(path: Path, monkeypatch) -> None:
    """One parser reads the command lines of all its runs: to build one takes longer than all of them."""
    text, built, build = path.read_text("utf-8"), [], reading._parser
    monkeypatch.setattr(reading, "_parser", lambda *parts: built.append(parts) or build(*parts))
    if "\nruns:" not in text:
        assert "run.py grid" not in text
        return
    assert read_grid(path, read_components()).blocks  # tests/test_recipes.py expands the large ones
    assert not path.stem.endswith("_small") or expand(read_grid(path, read_components()), {})
    assert f"python run.py grid configs/{path.name}" in text and len(built) <= 1


def test_a_config_is_found_beside_the_grid_or_above(file, tmp_path, capsys) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "my.yaml").write_text("dataset: digits\nlabels: 30\n")
    grid = tmp_path / "configs" / "grid.yaml"
    text = "config: configs/my.yaml\nruns:\n  - method: vat\n"
    assert printed(grid, text, capsys=capsys) == ["--config configs/my.yaml --method vat"]
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    (command,) = printed(grid, text, capsys=capsys)
    assert command == f"--config {tmp_path / 'configs' / 'my.yaml'} --method vat"


# ---- without Ray, without a cluster


@pytest.mark.parametrize(("flags", "is_there"), [(["--workers", "1"], True), ([], False)])
def test_one_worker_and_no_ray_go_one_by_one(flags, is_there, file, monkeypatch, capsys) -> None:
    started = []
    monkeypatch.setattr(command, "is_installed", lambda: is_there)
    monkeypatch.setattr(command, "one_by_one", lambda runs, *rest: started.extend(runs))
    file.write_text(DIGITS + "{method: vat, seed: [0, 1]}")
    assert cli.main(["grid", str(file), *flags]) == 0
    assert [each.resolved.config.seed for each in started] == [0, 1]
    assert ("not installed" in capsys.readouterr().out) == (not is_there)
    monkeypatch.setattr(command, "is_installed", lambda: False)
    assert cli.main(["grid", str(file), "--workers", "2"]) == 2
    assert "pip install -e '.[grid]'" in capsys.readouterr().err


def test_one_process_trains_all_and_a_failure_ends_one_run(file, monkeypatch, capsys) -> None:
    """Its words are not shown: the table stands alone on the screen. What it held is let go."""
    runs, seen = watched(file, monkeypatch, "[0, 1, 2]")
    told: list[object] = []
    held: list[weakref.ref[torch.Tensor]] = []

    def train(resolved) -> None:
        assert not any(tensor() is not None for tensor in held)
        network = torch.zeros(1)
        held.append(weakref.ref(network))
        told.append((resolved, os.getpid()))
        print("epoch 1/40")
        print("warning", file=sys.stderr)
        if len(told) == 1:
            raise UsageError("--labels: too many")
        if len(told) == 2:
            raise RuntimeError("a fault of\n  a library")
        write_run(file.parent / "runs", "--dataset", "digits", "--seed", "2", errors=[20.0])

    one_by_one(runs, train, seen)
    assert told == [(each.resolved, os.getpid()) for each in runs]
    assert seen.errors == {runs[2].path: 20.0} and [*seen.failures.values()] == [
        "exit code 2: --labels: too many",
        "exit code 1: RuntimeError: a fault of a library",
    ]
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[::2] == [f"started {each.path}" for each in runs]
    assert [line[:6] for line in lines[1::2]] == ["[1/3] ", "[2/3] ", "[3/3] "]
    assert printed.err == ""


def test_a_grid_of_many_short_runs_tells_of_few_of_them(file, monkeypatch, capsys) -> None:
    """The first and the last, and every one that fails; another after ten seconds."""
    monkeypatch.setattr(progress, "MANY", 4)
    runs, seen = watched(file, monkeypatch, "[0, 1, 2, 3]")

    def train(resolved) -> None:
        seed = resolved.config.seed
        if seed == 2:
            raise UsageError("--labels: too many")
        write_run(file.parent / "runs", "--dataset", "digits", "--seed", str(seed), errors=[20.0])

    one_by_one(runs, train, seen)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines] == ["[1/4] ", "[3/4] ", "[4/4] "]


def test_a_run_that_another_process_has_is_looked_at_again_after_each_of_the_others(
    file, monkeypatch
) -> None:
    runs, seen = watched(file, monkeypatch, "[0, 1, 2]")
    asked: list[int] = []
    monkeypatch.setattr("ssl_isda.commands.grid.one_by_one.TICK", 0.0)

    def train(resolved) -> None:
        asked.append(resolved.config.seed)
        if resolved.config.seed == 0 and len(asked) < 5:
            raise FolderInUse("in use by another process")
        seed = str(resolved.config.seed)
        write_run(file.parent / "runs", "--dataset", "digits", "--seed", seed, errors=[20.0])

    one_by_one(runs, train, seen)
    assert asked == [0, 1, 0, 2, 0] and len(seen.errors) == 3 and not seen.failures


def test_a_run_that_failed_in_another_process_is_not_tried_again(file, monkeypatch) -> None:
    """One that failed before this grid began is, and so is one that has started again since."""
    runs = expanded(file, DIGITS + "{method: vat, seed: [0, 1, 2]}")
    for run in runs:
        say(run, "failed: step 7: the loss is nan")
    seen, asked = Progress(runs), []
    for run in runs[1:]:
        say(run, "resuming at step 5 of 40")
    say(runs[1], "failed: step 8: the loss is nan")

    def train(resolved) -> None:
        seed = resolved.config.seed
        asked.append(seed)
        shutil.rmtree(runs[seed].path)
        write_run(file.parent / "runs", "--dataset", "digits", "--seed", str(seed), errors=[20.0])

    one_by_one(runs, train, seen)
    reason = "step 8: the loss is nan (in another process)"
    assert asked == [0, 2] and seen.failures == {runs[1].path: reason}


def test_other_processes_get_the_same_words_but_their_number() -> None:
    words = ["my.yaml", "--processes", "3", "--steps", "6"]
    assert of_one_process(words) == ["my.yaml", "--steps", "6", "--workers", "1"]
    words = ["my.yaml", "--processes=3", "--workers=1"]
    assert of_one_process(words) == ["my.yaml", "--workers=1"]


def test_between_runs_the_process_is_put_back_to_what_it_was(file, monkeypatch) -> None:
    cleared: list[str] = []
    threads: list[int] = []

    def train(resolved) -> None:
        threads.append(torch.get_num_threads())
        torch.set_num_threads(3)
        if len(threads) == 1:
            raise UsageError("--labels: too many")

    monkeypatch.setattr("ssl_isda.commands.train.train_seeds", train)
    monkeypatch.setattr(torch.compiler, "reset", lambda: cleared.append("compiled passes"))
    monkeypatch.setitem(sys.modules, "torch._dynamo", sys)
    file.write_text(DIGITS + "{method: vat, seed: [0, 1]}")
    assert cli.main(["grid", str(file), "--workers", "1"]) == 1
    assert threads == [1, 1] and torch.get_num_threads() == 1 and len(cleared) == 2


def trained_until(signal_comes: str) -> None:
    if signal_comes == "while it trains":
        raise Interrupted("saved", signal.SIGTERM)
    if signal_comes == "too late":
        error = OutputFailed("disk full")
        error.signal_number = signal.SIGTERM
        raise error
    swallowed = KeyboardInterrupt if signal_comes == "swallowed" else ()
    with contextlib.suppress(swallowed):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)


@pytest.mark.parametrize(
    "signal_comes", ["while it trains", "while it reads images", "too late", "swallowed"]
)
def test_a_signal_ends_one_process_and_its_grid(signal_comes, file, monkeypatch, capsys) -> None:
    trained = []
    monkeypatch.setattr(
        "ssl_isda.commands.train.train_seeds",
        lambda resolved: (trained.append(resolved), trained_until(signal_comes)),
    )
    file.write_text(DIGITS + "{method: vat, seed: [0, 1]}")
    assert cli.main(["grid", str(file), "--workers", "1"]) == 143
    assert len(trained) == 1
    assert capsys.readouterr().err.startswith("run.py: SIGTERM: 0 of 2 runs are done; the same")


def test_a_package_that_is_missing_is_named_for_each_run(file) -> None:
    file.write_text(DIGITS + "{method: vat, seed: [0, 1]}")
    asked = [sys.executable, "-c", WITHOUT_TORCH, "grid", str(file), "--workers", "1"]
    process = subprocess.run(asked, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (1, "")
    line = "exit code 2: Python's package 'torch' is missing here: use .venv/bin/python"
    assert process.stdout.count(f"failed: runs/digits-20/vat/seed1: {line}") == 2


def test_a_cluster_that_does_not_answer_is_one_line(file, monkeypatch, capsys) -> None:
    pytest.importorskip("ray", reason="Ray has no wheel for this Python")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    file.write_text(DIGITS + "method: vat")
    assert cli.main(["grid", str(file)]) == 2
    error = capsys.readouterr().err
    assert "RAY_ADDRESS=127.0.0.1:9 cannot be joined" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("asked", "gpus", "given"),
    [(None, 8, 1), (None, 0, 0), (0.5, 8, 0.5), (0.0, 8, 0), (0.5, 0, None)],
)
def test_a_run_gets_a_gpu_where_there_is_one(asked, gpus, given) -> None:
    resources = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 32.0, "GPU": gpus}]
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": each} for each in resources])
    share = on_ray.Share(cpus_per_run=8, gpus_per_run=asked)
    if given is None:
        with pytest.raises(UsageError, match=r"no node has 8 CPUs and 0.5 of a GPU"):
            on_ray._gpus(ray, share)
    else:
        resources[0].pop("GPU")
        assert on_ray._gpus(ray, share) == given


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="not every system has it")
def test_ray_gets_the_cpus_that_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        shares = [on_ray.Share(cpus_per_run=cpus) for cpus in (0.5, 1, 2.5)]
        assert [on_ray._num_cpus(share) for share in shares] == [1, 1, 3]
    finally:
        os.sched_setaffinity(0, before)


def test_runs_that_ray_gives_up_waiting_for_are_told(file, monkeypatch, capsys) -> None:
    runs, seen = watched(file, monkeypatch)
    asked: list[str] = []
    ray = SimpleNamespace(cancel=asked.append, wait=lambda refs, **_: (refs[:1], refs[1:]))
    with (
        pytest.raises(KeyboardInterrupt),
        on_ray._saving(ray, dict(zip("ab", runs, strict=True)), seen),
    ):
        raise KeyboardInterrupt
    assert asked == ["a", "b"]
    assert capsys.readouterr().out == (
        "runs that did not save within 120 s: 1; they go on from their last checkpoint\n"
    )


# ---- starting one run

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
with open("starts", "a") as starts:
    starts.write("x")
count = len(Path("starts").read_text())
"""


@pytest.fixture
def program(tmp_path: Path):
    """Writes a program that counts its starts in the file ``starts``; its path."""

    def write(rest: str) -> str:
        (tmp_path / "program.py").write_text(PROGRAM + rest)
        return str(tmp_path / "program.py")

    return write


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


@pytest.mark.parametrize(
    ("rest", "retries", "outcome", "num_starts"),
    [
        ("", 3, Outcome(0, ""), 1),
        ("if count < 3: os.kill(os.getpid(), signal.SIGKILL)", 3, Outcome(0, ""), 3),
        ("os.kill(os.getpid(), 9)", 2, Outcome(-9, "killed by SIGKILL"), 3),
        ("sys.exit(143 if count < 2 else 0)", 1, Outcome(0, ""), 2),
        ("sys.exit('run.py: no such')", 3, Outcome(1, "exit code 1: no such"), 1),
        ("print('run.py: why', 'later', sep='\\n', file=sys.stderr); sys.exit(70)", 3,
         Outcome(70, "exit code 70: why"), 1),
        ("sys.exit(74)", 3, Outcome(74, "exit code 74"), 1),
        ("if count < 3: sys.exit(75)", 0, Outcome(0, ""), 3),
    ],
    ids=["done", "killed twice", "killed always", "terminated", "1", "70", "74", "in use"],
)  # fmt: skip
def test_killed_runs_start_again_and_failed_ones_do_not(
    rest, retries, outcome, num_starts, program, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(attempts, "TICK", 0.02)
    assert run_to_end([program(rest)], str(tmp_path), retries) == outcome
    assert starts(tmp_path) == num_starts


def test_patience_with_a_folder_in_use_has_an_end(program, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(attempts, "TICK", 0.02)
    monkeypatch.setattr(attempts, "PATIENCE", 0.1)
    assert run_to_end([program("sys.exit(75)")], str(tmp_path), 3) == (75, "exit code 75")


SAVES = """
def save(number, frame):
    Path("saved").write_text(str(number))
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
Path("pid").write_text(str(os.getpid()))
time.sleep(60)
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def wait_for(path: Path) -> str:
    wait_until(lambda: path.exists() and path.read_text() != "")
    return path.read_text()


def test_an_interrupted_wait_lets_the_run_save(program, tmp_path) -> None:
    """Ray cancels a task as ``interrupt_main`` does: by a flag that Python's next line finds."""

    def interrupt() -> None:
        wait_for(tmp_path / "pid")
        _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            run_to_end([program(SAVES)], str(tmp_path), 3)
    finally:
        signal.signal(signal.SIGINT, before)
        thread.join()
    assert (tmp_path / "saved").read_text() == str(int(signal.SIGTERM))
    assert starts(tmp_path) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_run_does_not_outlive_a_killed_parent(program, tmp_path) -> None:
    code = (
        "import sys\nfrom ssl_isda.commands.grid.attempts import run_to_end\n"
        f"run_to_end([{program(SAVES)!r}], {str(tmp_path)!r}, 3)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(tmp_path / "pid")
    parent.kill()
    parent.wait()
    assert wait_for(tmp_path / "saved") == str(int(signal.SIGTERM))


def test_signals_that_ray_blocks_are_heard_again(program, tmp_path) -> None:
    blocked = program("sys.exit(50 + len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        assert run_to_end([blocked], str(tmp_path), 3).exit_code == 50
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- progress and summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(file: Path, monkeypatch, seeds: str = "[0, 1]") -> tuple[list[GridRun], Progress]:
    monkeypatch.setattr(progress, "PERIOD", 0.0)
    runs = expanded(file, DIGITS + f"{{method: vat, seed: {seeds}}}")
    return runs, Progress(runs)


def say(planned: GridRun, line: str) -> None:
    planned.path.mkdir(parents=True, exist_ok=True)
    with (planned.path / "log.txt").open("a") as log:
        log.write(f"2026-01-02 03:04:05 {line}\n")


def test_a_log_gets_a_line_for_each_start_and_end(file, monkeypatch, capsys) -> None:
    runs, seen = watched(file, monkeypatch)
    seen.tick()
    say(runs[0], "vat on digits")
    seen.tick()
    seen.tick()
    write_run(file.parent / "other", "--dataset", "digits", errors=[30.0, 20.0])
    (file.parent / "other/digits-20/vat/seed0").rename(runs[0].path.with_name("made"))
    for made in runs[0].path.with_name("made").iterdir():
        made.rename(runs[0].path / made.name)
    seen.ended(runs[0], Outcome(0, ""))
    seen.ended(runs[1], Outcome(70, "exit code 70: a loss is nan"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "started runs/digits-20/vat/seed0"
    assert lines[1].startswith("[1/2] runs/digits-20/vat/seed0: test error 20.00 % (about ")
    assert lines[2:] == ["[2/2] failed: runs/digits-20/vat/seed1: exit code 70: a loss is nan"]
    assert seen.errors == {runs[0].path: 20.0} and not seen.left
    assert seen.summary(runs).splitlines()[1:] == [
        "  runs/digits-20/vat  20.00 (n = 1)  1 failed",
        "failed: runs/digits-20/vat/seed1: exit code 70: a loss is nan",
    ]


def test_other_settings_there_and_a_result_elsewhere_are_failures(file, monkeypatch) -> None:
    write_run(file.parent / "runs", "--dataset", "digits", "--width", "0.5")
    runs, seen = watched(file, monkeypatch)
    assert "other settings (width: 0.5 there" in seen.failures[runs[0].path]
    assert [*seen.left] == [runs[1].path]
    seen.ended(runs[1], Outcome(0, ""))
    assert "shared file system" in seen.failures[runs[1].path] and not seen.errors


def test_a_run_without_images_to_test_on_is_done(file, monkeypatch, capsys) -> None:
    folder = write_run(file.parent / "runs", "--dataset", "digits")
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(
        json.dumps({name: result[name] for name in result if "error" not in name})
    )
    runs, seen = watched(file, monkeypatch)
    assert [*seen.left] == [runs[1].path] and not seen.errors and not seen.failures
    seen.ended(runs[1], Outcome(70, "exit code 70: a loss is nan"))
    assert capsys.readouterr().out.startswith("[2/2] failed")
    assert seen.summary(runs).splitlines()[1].endswith("vat  -  1 failed")


def test_the_time_left_follows_from_epochs_done_here(file, monkeypatch, capsys) -> None:
    """Two runs of four epochs; one of them had three before, and nothing else tells of the pace."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    first, second = expanded(file, DIGITS + "{method: vat, seed: [0, 1]}")
    say(first, "epoch 3/4  supervised 1.0")
    seen = Progress([first, second])
    now[0] = 600.0
    seen.tick()
    assert seen._time_left() == ""
    say(first, "epoch 4/4  supervised 1.0")
    say(second, "epoch 1/4  supervised 1.0")
    now[0] = 1200.0
    seen.tick()  # half a run in 20 minutes, three quarters are left
    assert seen._time_left() == " (about 30 min left)"


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_terminal_gets_a_table_where_rich_is_installed(has_rich, file, monkeypatch) -> None:
    """It moves while runs train, is no higher than the terminal, and leaves nothing but lines."""
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "LINES": "5"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setattr(progress, "find_spec", lambda name: has_rich or None)
    monkeypatch.setattr(progress, "PERIOD", 0.01)
    (*runs, last) = expanded(file, DIGITS + "{method: vat, seed: [0, 1, 2, 3]}")
    seen, threads = Progress([*runs, last]), threading.active_count()

    def train(resolved) -> None:
        say(runs[resolved.config.seed], "epoch 1/40  supervised 1.0")
        wait_until(lambda: not has_rich or f"seed{resolved.config.seed}" in terminal.getvalue())
        raise UsageError("the [bold] reason")

    with seen.table():
        one_by_one(runs, train, seen)
        for each in (*runs, last):
            say(each, f"epoch {each.resolved.config.seed}/40  supervised 1.0")
    wait_until(lambda: threading.active_count() == threads)
    text = terminal.getvalue()
    failed = f"failed: {runs[1].path}: exit code 2: the [bold] reason"
    assert text.count(failed) == 1
    drawn = "\n".join(text.splitlines())
    assert ("epoch 1/40" in drawn and "2 of 4 runs ended, 1 running, 2 failed" in drawn) == has_rich
    assert (f"started {runs[0].path}" in text) != has_rich and ("\x1b" in text) == has_rich


def test_nothing_is_left_to_start_when_all_is_done(file, monkeypatch, capsys) -> None:
    """The summary has mean, deviation and number of each cell."""
    for method, seed, error in (("vat", "0", 10.0), ("vat", "1", 12.0), ("supervised", "0", 7.0)):
        words = ("--dataset", "digits", "--method", method, "--seed", seed)
        write_run(file.parent / "runs", *words, errors=[error])
    monkeypatch.setattr(command, "_engine", None)
    file.write_text(DIGITS + "{method: vat, seed: [0, 1]}\n  - {method: supervised}")
    assert cli.main(["grid", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "grid: 3 runs, 3 of them done before",
        "test error in %, mean ± standard deviation over the seeds",
        "  runs/digits-20/vat         11.00 ± 1.41 (n = 2)",
        "  runs/digits-20/supervised  7.00 (n = 1)",
    ]
