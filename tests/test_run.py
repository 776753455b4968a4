"""The real command line, and in processes of its own what depends on one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from ssl_isda import cli
from ssl_isda.base.errors import OutOfMemory, RunError, UsageError
from ssl_isda.commands import train as train_command
from ssl_isda.settings.resolve import resolve
from ssl_isda.training.trainer import Trainer
from tests import masks_folder
from tests.commands import (
    CELL,
    ENVIRONMENT,
    FAST,
    FILES,
    MLP,
    QUICK,
    RUN,
    SUPERVISED,
    ends_like,
    modified,
    names,
    refusal,
    train,
    warm_start,
)
from tests.commands import run as run_command


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A folder in which a command has trained one run, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(*SUPERVISED, cwd=folder)


@pytest.fixture
def after(finished, tmp_path: Path) -> Path:
    """A copy of that folder, to be changed."""
    return shutil.copytree(finished[0], tmp_path / "after")


# ---- a run and its folder


@pytest.mark.slow
def test_a_run_writes_exactly_its_files(finished) -> None:
    folder, _ = finished
    assert names(folder) == {"runs"}
    assert names(folder / CELL) == FILES
    assert len((folder / CELL / "metrics.jsonl").read_text().splitlines()) == 3
    result = json.loads((folder / CELL / "result.json").read_text())
    assert (result["epochs"], result["steps"], result["threads"]) == (3, 6, 1)
    assert result["command"] == ["python", "run.py", *SUPERVISED]
    assert {"error", "last_epoch_error", "device", "versions", "commit"} <= result.keys()


@pytest.mark.fault(38)
@pytest.mark.slow
def test_fault_38_no_progress_bar_in_a_pipe(finished) -> None:
    folder, printed = finished
    assert not re.search(r"\r|\x1b|it/s|step/s|\d%\|", printed)
    lines = printed.splitlines()
    assert lines[1].startswith("memory of the process at its peak, with a dry step: ")
    assert [line.split()[:2] for line in lines[2:5]] == [["epoch", f"{k}/3"] for k in (1, 2, 3)]
    log = (folder / CELL / "log.txt").read_text().splitlines()
    assert [line[20:] for line in log] == lines[:5]


@pytest.mark.fault(13)
def test_fault_13_the_same_command_again_prints_the_result_and_rewrites_nothing(finished) -> None:
    folder, printed = finished
    before = modified(folder)
    assert train(*SUPERVISED, cwd=folder) == printed.splitlines(keepends=True)[-1]
    assert modified(folder) == before


@pytest.mark.fault(14)
def test_fault_14_other_settings_are_refused(finished) -> None:
    folder, _ = finished
    before = modified(folder)
    line = refusal(*SUPERVISED, "--learning-rate", "0.2", "--seeds", "5", "0", cwd=folder)
    assert "learning_rate: 0.1 there, 0.2 now" in line and "--fresh" in line
    assert modified(folder) == before  # seed 5 has not trained first


@pytest.mark.slow
def test_seeds_skip_what_is_done_and_end_with_mean_and_deviation(after: Path) -> None:
    before = modified(after / CELL)
    printed = train(*SUPERVISED, "--seeds", "0", "1", cwd=after)
    assert modified(after / CELL) == before
    errors = [
        json.loads((after / CELL.parent / f"seed{k}" / "result.json").read_text())["error"]
        for k in (0, 1)
    ]
    mean, deviation = sum(errors) / 2, abs(errors[0] - errors[1]) / 2**0.5
    last = printed.splitlines()[-1]
    assert last.startswith(f"test error {mean:.2f} ± {deviation:.2f} %") and "2 seeds" in last
    weights = [(after / CELL.parent / f"seed{k}" / "split.json").read_text() for k in (0, 1)]
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_validation_holds_labels_out_and_selects_an_epoch(tmp_path: Path) -> None:
    printed = train(*SUPERVISED, "--labels", "40", "--validation", cwd=tmp_path)
    folder = tmp_path / "runs/digits-40/supervised-mlp/seed0"
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = min(epochs, key=lambda epoch: epoch["validation_error"])
    result = json.loads((folder / "result.json").read_text())
    assert result["selected_error"] == best["test_error"]
    assert f"{best['test_error']:.2f} % at epoch {best['epoch']} selected by validation" in printed
    split = json.loads((folder / "split.json").read_text())
    assert (len(split["labeled"]), len(split["validation"])) == (30, 10)


@pytest.mark.fault(12)
def test_fault_12_two_processes_on_one_folder(tmp_path: Path) -> None:
    (tmp_path / CELL).mkdir(parents=True)
    with FileLock(tmp_path / CELL / ".lock"):
        assert f"{CELL} is in use" in refusal(*SUPERVISED, cwd=tmp_path, code=75)


# ---- killed, interrupted, out of space, out of range

OPTIONS = ["--consistency-weight", "5", "--steps", "40"]
LONG = [*FAST, "--method", "mean_teacher", "--isda", *OPTIONS]
LONG_CELL = Path("runs/digits-20/mean_teacher+isda-mlp/seed0")
PIXELS = ["--dataset", "masks", "--data-dir", "set", *QUICK, "--batch-size", "4", "--labels", "3"]
PIXELS += ["--unlabeled-batch-size", "4", "--color-jitter", "0.2"]
PIXELS += ["--method", "mean_teacher", "--isda", "--steps", "24"]
PIXELS_CELL = Path("runs/masks-3/mean_teacher+isda/seed0")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(*LONG, cwd=folder)
    return folder / LONG_CELL


@pytest.mark.slow
def test_a_run_s_own_config_repeats_it(uninterrupted: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(uninterrupted / "config.yaml"), "--runs-dir", "again"]
    train(*arguments, cwd=tmp_path)
    assert ends_like(tmp_path / "again" / LONG_CELL.relative_to("runs"), uninterrupted)


@pytest.mark.slow
def test_nothing_of_the_dry_step_enters_the_run(
    uninterrupted: Path, tmp_path: Path, monkeypatch
) -> None:
    """A run without one ends with the same bytes; and its networks are gone when training begins."""
    made, take, train_ = [], Trainer.dry_step, Trainer.run

    def watched(trainer: Trainer) -> None:
        take(trainer)
        made.append(weakref.ref(trainer.student))

    def alone(trainer: Trainer) -> None:
        assert [network() for network in made] == [None]
        train_(trainer)

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "dry_step", lambda trainer: None)
        assert cli.main(LONG) == 0
    assert ends_like(tmp_path / LONG_CELL, uninterrupted)
    monkeypatch.setattr(Trainer, "dry_step", watched)
    monkeypatch.setattr(Trainer, "run", alone)
    assert cli.main([*LONG, "--seed", "1"]) == 0


def stop_after_two_epochs(
    *arguments: str, cwd: Path, number: int, cell: Path = LONG_CELL
) -> tuple[int, str]:
    """Send a signal once the second epoch is done; exit code and stderr."""
    metrics = cwd / cell / "metrics.jsonl"

    def strike(pid: int) -> None:
        while not metrics.exists() or metrics.read_text().count("\n") < 2:
            time.sleep(0.01)
        os.kill(pid, number)

    child = warm_start().run(arguments, cwd, watch=strike)
    return child.returncode, child.stderr


@pytest.mark.fault(3)
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault_3_a_signal_saves_and_the_same_command_goes_on(
    uninterrupted: Path, tmp_path: Path, number: signal.Signals
) -> None:
    code, stderr = stop_after_two_epochs(*LONG, cwd=tmp_path, number=number)
    assert code == 128 + number
    stopped = re.fullmatch(rf"run.py: {number.name} at step (\d+) of 40: saved; .*\n", stderr)
    assert stopped, stderr
    printed = train(*LONG, cwd=tmp_path)
    assert printed.startswith(f"resuming at step {stopped[1]} of 40\n")
    assert ends_like(tmp_path / LONG_CELL, uninterrupted)


@pytest.mark.fault(1)
@pytest.mark.slow
@pytest.mark.parametrize("words", [LONG, PIXELS], ids=["images", "pixels"])
def test_fault_1_killed_and_resumed(words: list[str], uninterrupted: Path, tmp_path: Path) -> None:
    cell = LONG_CELL
    if words is PIXELS:
        masks_folder.make(tmp_path / "set")
        train(*words, "--runs-dir", "whole", cwd=tmp_path)
        cell, uninterrupted = PIXELS_CELL, tmp_path / "whole" / PIXELS_CELL.relative_to("runs")
    code, _ = stop_after_two_epochs(
        *(*words, "--checkpoint-minutes", "0"), cwd=tmp_path, number=signal.SIGKILL, cell=cell
    )
    assert code == -signal.SIGKILL
    assert "resuming at step" in train(*words, cwd=tmp_path)
    assert ends_like(tmp_path / cell, uninterrupted)


SLOW_DISK = """
import os, time
sync = os.fsync
def slow_sync(descriptor):
    if ".new.partial" in os.readlink(f"/proc/self/fd/{descriptor}"):
        with open("saves", "a") as file:
            file.write(".")
        time.sleep(0.5)
    sync(descriptor)
os.fsync = slow_sync
"""


@pytest.mark.fault(3)
@pytest.mark.fault(4)
@pytest.mark.slow
@pytest.mark.parametrize(("signals", "saved"), [(1, 5), (2, 2)])
def test_fault_4_signals_during_a_save(
    uninterrupted: Path, tmp_path: Path, signals: int, saved: int
) -> None:
    """One: the save is finished, then the run stops. Two: it stops at once; what was, stays."""
    saves = tmp_path / "saves"

    def strike(pid: int) -> None:
        while not saves.exists() or saves.stat().st_size < 2:  # a whole checkpoint lies there
            time.sleep(0.01)
        for _ in range(signals):
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)

    arguments = [*LONG, "--checkpoint-epochs", "1"]
    child = warm_start().run(arguments, tmp_path, prelude=SLOW_DISK, watch=strike)
    assert child.returncode == (143 if signals == 1 else -signal.SIGTERM), child.stderr
    assert train(*LONG, cwd=tmp_path).startswith(f"resuming at step {saved} of 40\n")
    assert ends_like(tmp_path / LONG_CELL, uninterrupted)
    assert not list((tmp_path / LONG_CELL).glob("*.partial"))


@pytest.mark.fault(8)
@pytest.mark.slow
def test_fault_8_disk_full(after: Path) -> None:
    """Seed 0 is done; no file of seed 1 may grow beyond 20 kB."""
    fill = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    child = warm_start().run([*SUPERVISED, "--seed", "1"], after, prelude=fill)
    folder = CELL.parent / "seed1"
    told = rf"run\.py: disk full: {folder}/checkpoint\.pt\S* needs 0\.\d MB\n"
    assert child.returncode == 74 and re.fullmatch(told, child.stderr)
    assert names(after / folder) == FILES - {"checkpoint.pt", "result.json"}


@pytest.mark.fault(18)
@pytest.mark.slow
def test_fault_18_a_loss_that_is_no_number(tmp_path: Path) -> None:
    line = refusal(*SUPERVISED, "--learning-rate", "1e20", cwd=tmp_path, code=70)
    assert re.search(r"step 1: the supervised loss is (nan|inf)", line)
    assert "--learning-rate" in line


# ---- refused before any work


@pytest.mark.fault(35)
def test_fault_35_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    line = refusal(*SUPERVISED, "--device", "cuda", cwd=tmp_path)
    assert (
        line == "run.py: --device cuda: no GPU is available here; --device cpu trains without one"
    )


@pytest.mark.fault(20)
@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["cifar10", "svhn"])
def test_fault_20_no_data_and_no_network(tmp_path: Path, dataset: str) -> None:
    arguments = [*QUICK, "--dataset", dataset, "--method", "vat", "--labels", "1000"]
    began = time.monotonic()
    line = refusal(*arguments, cwd=tmp_path)
    assert time.monotonic() - began < 20  # about 1 on a free machine
    assert f"{dataset} is not in data" in line and "--dataset digits" in line and "http" in line


# ---- where it is started from, and what it is called


@pytest.mark.fault(37)
def test_fault_37_a_sign_that_the_locale_lacks_is_escaped(after: Path) -> None:
    """Two finished seeds, whose summary has a ±."""
    shutil.copytree(after / CELL, after / CELL.parent / "seed1")
    file = after / CELL.parent / "seed1" / "config.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    printed = train(*SUPERVISED, "--seeds", "0", "1", cwd=after, env=plain)
    assert r"\xb1" in printed.splitlines()[-1]


JUMPING_CLOCK = """
import itertools, time
real, jumps = time.time, itertools.cycle([0.0, 3e6, -4e8, 1e9, -86400.0])
time.time = lambda: real() + next(jumps)
time.time_ns = lambda: int(1e9 * time.time())
localtime, gmtime, strftime = time.localtime, time.gmtime, time.strftime
time.localtime = lambda seconds=None: localtime(time.time() if seconds is None else seconds)
time.gmtime = lambda seconds=None: gmtime(time.time() if seconds is None else seconds)
time.strftime = lambda form, t=None: strftime(form, time.localtime() if t is None else t)
"""


DEAF = """
import os, sys
def refuse(event, arguments):
    if event in ("socket.bind", "socket.listen"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(refuse)
"""


@pytest.mark.fault(27)
@pytest.mark.fault(28)
@pytest.mark.fault(37)
@pytest.mark.slow
def test_fault_27_a_strange_place_to_run(finished, tmp_path: Path) -> None:
    """A path that no one would choose, other packages of our names, a time zone with half hours, a
    locale that knows ASCII, a clock that jumps by years; and a process that may listen to no network."""
    for name in ("datasets", "methods", "ssl_isda"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the other')\n")
    (tmp_path / "sitecustomize.py").write_text(JUMPING_CLOCK + DEAF)
    place = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    elsewhere = place | {"LC_ALL": "C", "TZ": "Asia/Kolkata"}
    name = "-ünï cödé 图像 $(x)/" + "n" * 200
    flags = [f"--runs-dir={name}", "--checkpoint-minutes", "0.001"]
    printed = train(*SUPERVISED, *flags, cwd=tmp_path, env=elsewhere, encoding="utf-8")
    assert printed.splitlines()[-1].startswith(f"{name}/digits-20/")
    again = tmp_path / name / CELL.relative_to("runs")
    assert names(again) - {"checkpoint.pt.previous"} == FILES  # it may have saved on the way
    assert ends_like(again, finished[0] / CELL)
    years = {line[:4] for line in (again / "log.txt").read_text().splitlines()}
    assert len(years) > 1  # the clock did jump
    listen = "import socket; socket.socket().bind(('127.0.0.1', 0))"
    trap = subprocess.run([sys.executable, "-c", listen], env=place, capture_output=True)
    assert trap.returncode == 99


# ---- who listens


@pytest.mark.fault(38)
@pytest.mark.slow
def test_fault_38_head_takes_one_line(finished, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with subprocess.Popen(["head", "-1", pipe], stdout=subprocess.PIPE, text=True) as head:
        child = warm_start().run(SUPERVISED, tmp_path, stdout=pipe)
        taken, _ = head.communicate()
    assert (child.returncode, child.stderr) == (0, "")
    assert taken == finished[1].splitlines(keepends=True)[0]
    assert ends_like(tmp_path / CELL, finished[0] / CELL)


@pytest.mark.fault(38)
@pytest.mark.slow
@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">/dev/full"])
def test_fault_38_closed_and_full_streams(finished, tmp_path: Path, streams: str) -> None:
    """And in Turkey, where the small letter of I is ı (fault 37)."""
    child = subprocess.run(
        ["bash", "-c", f'env LC_ALL=tr_TR.UTF-8 "$@" {streams}', "-", *RUN, *SUPERVISED],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert names(tmp_path / CELL) == FILES
    assert ends_like(tmp_path / CELL, finished[0] / CELL)


@pytest.mark.fault(38)
def test_fault_38_a_refusal_that_nobody_hears(tmp_path: Path) -> None:
    for streams in ("2>&-", "2>/dev/full"):
        child = subprocess.run(
            ["bash", "-c", f'"$@" {streams}', "-", *RUN, "--lables", "40"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
        )
        assert (child.returncode, child.stdout, child.stderr) == (2, b"", b"")


# ---- a user's own images


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """3 classes of 4 training and 2 test images each, 6 unlabeled ones; 16 x 16 pixels."""
    folder = tmp_path_factory.mktemp("own") / "my images"
    rng = np.random.default_rng(0)
    files = [f"train/{c}/{k}" for c in "abc" for k in range(4)]
    files += [f"test/{c}/{k}" for c in "abc" for k in range(2)]
    for file in [*files, *(f"unlabeled/{k}" for k in range(6))]:
        path = folder / f"{file}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return folder


FOLDER = [*MLP, "--wandb", "disabled", "--dataset", "folder", "--image-size", "16"]
FOLDER += ["--steps", "4", "--batch-size", "4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["supervised", "pi_model", "temporal_ensembling", "mean_teacher", "vat"]
)
def test_own_images_train_with_every_method(images: Path, tmp_path: Path, method: str) -> None:
    arguments = ["--data-dir", str(images), "--unlabeled-batch-size", "9", "--method", method]
    printed = train(*FOLDER, *arguments, "--isda", cwd=tmp_path)
    assert "all labels of 18 images, 3 classes" in printed
    assert names(tmp_path / f"runs/my images-all/{method}+isda-mlp/seed0") == FILES


@pytest.mark.fault(39)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "content"),
    [("train/a/notes.png", b"hello"), ("unlabeled/0.png", b"\x89PNG\r\n")],
)
def test_fault_39_a_file_that_is_no_image_is_named(
    images: Path, tmp_path: Path, path: str, content: bytes
) -> None:
    folder = shutil.copytree(images, tmp_path / "images")
    (folder / path).write_bytes(content)
    line = refusal(*FOLDER, "--method", "vat", "--data-dir", "images", cwd=tmp_path)
    assert f"images/{path}" in line


@pytest.mark.fault(39)
@pytest.mark.slow
def test_fault_39_too_small_an_image_size_is_one_line(images: Path, tmp_path: Path) -> None:
    arguments = [*QUICK, "--dataset", "folder", "--image-size", "8", "--method", "vat"]
    line = refusal(*arguments, "--data-dir", str(images), cwd=tmp_path)
    assert "16 x 16 pixels or more" in line


@pytest.mark.parametrize(("kind", "told"), [(OutOfMemory, True), (UsageError, False)])
def test_of_several_processes_one_tells_what_all_have_and_each_what_it_has_alone(
    kind: type[RunError], told: bool, monkeypatch, capsys
) -> None:
    def end(arguments: object) -> int:
        raise kind("why")

    monkeypatch.setattr(cli, "_command", end)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main([]) == kind.exit_code
    assert capsys.readouterr().err == "run.py: why\n" * told


def test_the_first_process_alone_says_which_seeds_are_done(monkeypatch, capsys) -> None:
    """Each machine may have a runs folder of its own, by which the ranks would train different seeds."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    told = [{"error": 5.0, "averaged_epochs": 1, "last_epoch_error": 5.0}]
    monkeypatch.setattr(train_command, "_processes", lambda device: nullcontext())
    monkeypatch.setattr("ssl_isda.parallel.distributed.from_first", lambda function: told)
    monkeypatch.setattr("ssl_isda.runs.run_folder.RunFolder.finished", None)
    resolved = resolve([*SUPERVISED, "--runs-dir", "nowhere"])
    assert train_command.train_seeds(resolved) == told
    assert capsys.readouterr().out == ""  # it is not the one that prints
    with pytest.raises(UsageError, match="--fresh works on one machine"):
        train_command.train_seeds(resolve([*SUPERVISED, "--fresh"]))


@pytest.mark.fault(35)
def test_fault_35_gpu_memory_outside_the_steps(tmp_path: Path, monkeypatch, capsys) -> None:
    def raises(*arguments: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("ssl_isda.assembly.workspace.Workspace", raises)
    assert cli.main([*SUPERVISED, "--runs-dir", str(tmp_path)]) == OutOfMemory.exit_code == 70
    assert "do not fit in the GPU memory" in capsys.readouterr().err


@pytest.mark.fault(35)
def test_fault_35_too_little_memory_for_the_dry_step_stands_in_the_log(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    def raises(trainer: object) -> None:
        raise OutOfMemory("step 0: 620 images a step do not fit")

    monkeypatch.setattr(Trainer, "dry_step", raises)
    assert cli.main([*SUPERVISED, "--runs-dir", str(tmp_path)]) == 70
    assert capsys.readouterr().err == "run.py: step 0: 620 images a step do not fit\n"
    (line,) = (tmp_path / CELL.relative_to("runs") / "log.txt").read_text().splitlines()
    assert line[20:] == "failed: step 0: 620 images a step do not fit"


def test_a_package_that_is_missing_is_named(monkeypatch, capsys) -> None:
    def needs(arguments: object) -> int:
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    monkeypatch.setattr(cli, "_command", needs)
    assert cli.main([]) == 2
    line = capsys.readouterr().err
    assert "package 'pydantic' is missing" in line and line.count("\n") == 1


def test_what_a_finished_run_cannot_give_any_more_is_said(finished, tmp_path: Path) -> None:
    folder, printed = finished
    made_in = json.loads((folder / CELL / "result.json").read_text())["precision"]
    other = {"bf16": "fp32", "fp32": "bf16"}[made_in]
    again = run_command(*SUPERVISED, "--precision", other, "--snapshots", "2", cwd=folder)
    assert (again.returncode, again.stdout) == (0, printed.splitlines(keepends=True)[-1])
    assert again.stderr.splitlines() == [
        f"{CELL} was made in {made_in}; --fresh makes it anew",
        f"{CELL} was made without snapshots; --fresh makes it anew",
    ]


def test_a_finished_run_of_other_images_is_no_result(images: Path, tmp_path: Path) -> None:
    ours, others = (tmp_path / place / "photos" for place in ("ours", "others"))
    shutil.copytree(images, ours)
    shutil.copytree(images, others)
    arguments = [*FOLDER, "--method", "supervised"]
    printed = train(*arguments, "--data-dir", "ours/photos", cwd=tmp_path)
    assert train(*arguments, "--data-dir", "others/photos", cwd=tmp_path) in printed
    next((others / "test/a").iterdir()).unlink()
    line = refusal(*arguments, "--data-dir", "others/photos", cwd=tmp_path)
    assert "runs/photos-all/supervised-mlp/seed0 holds a run on other images" in line
    assert "(digest 2:" in line
    next(tmp_path.glob("runs/*/*/*/result.json")).unlink()  # as if it had been interrupted
    line = refusal(*arguments, "--data-dir", "others/photos", cwd=tmp_path)
    assert "began with other images" in line and "(digest 2:" in line


def test_sgd_without_momentum_trains(tmp_path: Path) -> None:
    assert "test error" in train(*SUPERVISED, "--momentum", "0", cwd=tmp_path)


def test_a_split_that_is_gone_binds_no_run_that_has_its_own(finished, tmp_path: Path) -> None:
    shutil.copy(finished[0] / CELL / "split.json", tmp_path / "given.json")
    printed = train(*SUPERVISED, "--split", "given.json", cwd=tmp_path)
    (tmp_path / "given.json").unlink()
    assert train(*SUPERVISED, "--split", "given.json", cwd=tmp_path) in printed
