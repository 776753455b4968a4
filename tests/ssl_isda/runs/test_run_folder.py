"""The folder of a run: one owner, one set of settings; and the errors to report."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from ssl_isda.base.errors import FolderInUse, UsageError
from ssl_isda.runs.run_folder import RunFolder, cell_name
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.resolve import resolve

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def settings(tmp_path: Path, *flags: str, dataset: str = "digits") -> Resolved:
    return resolve(
        ["--dataset", dataset, "--method", "vat", f"--runs-dir={tmp_path / 'runs'}", *flags],
    )


def begun(resolved: Resolved) -> RunFolder:
    """A folder in which a first epoch is done."""
    folder = RunFolder(resolved)
    with folder.opened():
        (folder.path / "metrics.jsonl").write_text("{}\n")
    return folder


def names(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


# ---- where


@pytest.mark.parametrize(
    ("dataset", "flags", "cell"),
    [
        ("digits", [], "digits-20/vat"),
        ("digits", ["--isda", "--labels", "100", "--seed", "7"], "digits-100/vat+isda"),
        ("digits", ["--model", "resnet20", "--isda"], "digits-20/vat+isda-resnet20"),
        (
            "digits",
            ["--loss=label_smoothing", "--policy=cutout"],
            "digits-20/vat-label_smoothing-cutout",
        ),
        ("digits", ["--model=cnn13", "--optimizer=adamw"], "digits-20/vat"),
        ("folder", ["--data-dir", "a/my images"], "my images-all/vat"),
        ("folder", ["--data-dir", "a/../b/."], "b-all/vat"),
    ],
)
def test_a_cell_is_what_all_seeds_share(
    tmp_path: Path, dataset: str, flags: list[str], cell: str
) -> None:
    resolved = settings(tmp_path, *flags, dataset=dataset)
    assert cell_name(resolved) == cell
    seed = resolved.config.seed
    assert RunFolder(resolved).path == tmp_path / "runs" / cell / f"seed{seed}"


@pytest.mark.fault(10)
@pytest.mark.parametrize("runs_dir", ["file", "file/below", "/proc/runs"])
def test_fault_10_a_folder_that_cannot_be_made(tmp_path: Path, runs_dir: str) -> None:
    (tmp_path / "file").touch()
    resolved = settings(tmp_path)
    config = resolved.config.model_copy(update={"runs_dir": tmp_path / runs_dir})
    folder = RunFolder(replace(resolved, config=config))
    with pytest.raises(UsageError, match="cannot write to ") as caught, folder.opened():
        pass
    assert str(folder.path) in str(caught.value)


# ---- whose


@pytest.mark.fault(12)
def test_fault_12_one_owner_at_a_time(tmp_path: Path) -> None:
    resolved = settings(tmp_path)
    with RunFolder(resolved).opened():
        again = RunFolder(resolved)
        with pytest.raises(FolderInUse, match="is in use by another process"), again.opened():
            pass
    with RunFolder(resolved).opened():
        pass


@pytest.mark.fault(12)
def test_fault_12_an_error_inside_frees_the_folder(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    with pytest.raises(KeyError), folder.opened():
        raise KeyError
    lock = FileLock(folder.path / ".lock", timeout=0)
    with lock:
        pass


@pytest.mark.fault(12)
def test_fault_12_free_again_after_kill_9_of_the_owner(tmp_path: Path) -> None:
    folder = begun(settings(tmp_path))
    command = [sys.executable, "-c", HOLD, str(folder.path / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUse, match="is in use"), folder.opened():
            pass
        holder.kill()
    with folder.opened():
        pass


# ---- which settings


def test_the_settings_are_recorded(tmp_path: Path) -> None:
    resolved = settings(tmp_path)
    folder = begun(resolved)
    assert folder.config_file.read_text() == resolved.to_yaml()


@pytest.mark.fault(14)
def test_fault_14_other_settings_are_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    begun(settings(tmp_path))
    other = RunFolder(settings(tmp_path, "--learning-rate", "0.2", "--epsilon", "1"))
    for attempt in (other.finished, other.opened().__enter__):
        with pytest.raises(UsageError) as caught:
            attempt()
        line = str(caught.value)
        assert "learning_rate: 0.1 there, 0.2 now; epsilon: 2.0 there, 1.0 now" in line
        assert "--fresh" in line and "\n" not in line
    assert "learning_rate: 0.2" not in other.config_file.read_text()


@pytest.mark.fault(14)
def test_fault_14_where_and_how_it_runs_may_differ(tmp_path: Path) -> None:
    begun(settings(tmp_path))
    with RunFolder(settings(tmp_path, "--threads", "1", "--precision", "fp32")).opened():
        pass


@pytest.mark.fault(14)
def test_fault_14_fresh_starts_over(tmp_path: Path) -> None:
    begun(settings(tmp_path))
    other = RunFolder(settings(tmp_path, "--learning-rate", "0.2", "--fresh"))
    (other.path / "wandb").mkdir()
    (other.path / "link").symlink_to(tmp_path)
    with other.opened():
        assert names(other) == [".lock", "config.yaml"]
        assert "learning_rate: 0.2" in other.config_file.read_text()
    assert tmp_path.exists()


def test_a_run_that_is_refused_before_it_begins_leaves_nothing(tmp_path: Path) -> None:
    """But what was there before, and what a run has begun, stays."""
    (tmp_path / "runs/others").mkdir(parents=True)
    with pytest.raises(UsageError), RunFolder(settings(tmp_path)).opened():
        raise UsageError("--max-translation must be 0 to 15")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["others"]
    folder = begun(settings(tmp_path))
    for refused in (settings(tmp_path), settings(tmp_path, "--seed", "1")):
        with pytest.raises(UsageError), RunFolder(refused).opened():
            raise UsageError("--weights: no such file")
    assert {"config.yaml", "metrics.jsonl"} <= {*names(folder)}
    assert [path.name for path in folder.path.parent.iterdir()] == ["seed0"]


def test_settings_that_led_to_nothing_bind_nobody(tmp_path: Path) -> None:
    """A command that failed before its first step does not stand in the way of the corrected one."""
    first = RunFolder(settings(tmp_path, "--validation"))
    with first.opened():
        first.split_file.touch()
    with RunFolder(settings(tmp_path)).opened():
        assert names(first) == [".lock", "config.yaml"]
        assert "validation: false" in first.config_file.read_text()


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    "trace", ["checkpoint.pt", "checkpoint.pt.new", "checkpoint.pt.previous", "metrics.jsonl"]
)
def test_fault_14_any_trace_of_a_run_binds(tmp_path: Path, trace: str) -> None:
    """A kill between two renames leaves a checkpoint by one of its other names."""
    first = RunFolder(settings(tmp_path))
    with first.opened():
        (first.path / trace).touch()
    other = RunFolder(settings(tmp_path, "--learning-rate", "0.2"))
    with pytest.raises(UsageError, match=r"learning_rate: 0\.1 there"), other.opened():
        pass
    first.config_file.unlink()
    with pytest.raises(UsageError, match=r"config\.yaml"), first.opened():
        pass


@pytest.mark.fault(32)
def test_fault_32_fresh_deletes_nothing_after_a_restart(tmp_path: Path, monkeypatch) -> None:
    begun(settings(tmp_path)).write_result({"error": 1.0})
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    again = RunFolder(settings(tmp_path, "--fresh"))
    assert again.finished() == {"error": 1.0}
    with again.opened():
        assert "metrics.jsonl" in names(again)


@pytest.mark.fault(11)
def test_fault_11_stray_files_are_removed(tmp_path: Path) -> None:
    folder = begun(settings(tmp_path))
    (folder.path / "checkpoint.pt.new.partial").touch()
    with folder.opened():
        assert names(folder) == [".lock", "config.yaml", "metrics.jsonl"]


# ---- results


def test_a_result_comes_back(tmp_path: Path) -> None:
    folder = begun(settings(tmp_path))
    assert folder.finished() is None
    folder.write_result({"error": 1 / 3})
    assert folder.finished() == {"error": 1 / 3}
    assert RunFolder(settings(tmp_path, "--fresh")).finished() is None


def test_a_result_of_other_images_is_refused(tmp_path: Path) -> None:
    folder = begun(settings(tmp_path))
    folder.write_result({"error": 1.0})
    assert folder.finished(["2:d1", "d0"]) == {"error": 1.0}  # nobody recorded of which images
    for made_with in ("2:d1", "d0"):  # the latter by version 0.1, over names and sizes
        folder.write_result({"error": 1.0, "data_digest": made_with})
        assert folder.finished(["2:d1", "d0"]) and folder.finished()
        with pytest.raises(UsageError, match=r"other images than data has now") as caught:
            folder.finished(["2:e1", "e0"])
        assert f"(digest {made_with} there, {made_with.replace('d', 'e')} now)" in str(caught.value)


@pytest.mark.fault(27)
def test_fault_27_a_name_that_no_file_system_takes_is_one_line(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path / ("n" * 300)))
    with pytest.raises(UsageError, match=r"^cannot read .*: File name too long$"):
        folder.finished()


@pytest.mark.parametrize("content", [b"", b'{"error": 1', b"\xff"])
def test_a_damaged_result_is_named(tmp_path: Path, content: bytes) -> None:
    folder = begun(settings(tmp_path))
    folder.result_file.write_bytes(content)
    with pytest.raises(UsageError, match=r"result\.json is damaged: delete it"):
        folder.finished()


def test_a_result_is_plain_json(tmp_path: Path) -> None:
    folder = begun(settings(tmp_path))
    folder.write_result({"error": 1.0})
    assert json.loads(folder.result_file.read_text()) == {"error": 1.0}
