"""Images that do not fit into memory: one line with what they need and what fits, and no traceback."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_isda
from ssl_isda.assembly import workspace
from ssl_isda.base import memory
from ssl_isda.base.errors import OutOfMemory, UsageError
from ssl_isda.data import streaming
from ssl_isda.data.images import memory as image_memory
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preprocessing import prepare
from ssl_isda.training.watching import telling_what_fits
from tests.commands import SUPERVISED, answer
from tests.ssl_isda.data.conftest import MakeFolder, load

CPU = torch.device("cpu")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """So many bytes are free."""

    def free(size: int) -> None:
        for module in (memory, image_memory, streaming):
            monkeypatch.setattr(module, "available_bytes", lambda: size)

    return free


def test_a_folder_says_what_it_needs_and_what_fits(
    make_folder: MakeFolder, only: Callable[[int], None], tmp_path: Path
) -> None:
    root = make_folder()  # 10 images
    only(3 * 10 * 40**2)
    words = [f"--data-dir={root}", "--image-size=200", "--model=linear", "--steps=1"]
    code, _, line = answer(["--dataset=folder", "--method=supervised", *words], tmp_path)
    assert code == 2 and line == (
        "run.py: 10 images of 200 x 200 pixels need about 1.2 MB of memory, 48 kB are free: "
        "--streaming decodes images when a step needs them, or --image-size 40 fits\n"
    )
    assert load("folder", root, image_size=40).train.shape == (3, 40, 40)
    with pytest.raises(UsageError, match="or --image-size 40 fits"):
        load("folder", root, image_size=41)
    assert load("folder", root, image_size=200, streaming=True).train.most_kept == 1
    only(100)
    with pytest.raises(UsageError, match=r"when a step needs them$"):
        load("folder", root, image_size=200)


@pytest.mark.parametrize("name", ["standardize", "zca"])
def test_a_preparation_that_makes_numbers_of_bytes_says_so(
    name: str, data: ImageData, only: Callable[[int], None], tmp_path: Path
) -> None:
    only(1000)
    with pytest.raises(
        UsageError, match=rf"3 x 8 x 8 values, prepared by {name}, need about \d+ kB"
    ):
        prepare(name, data, tmp_path)
    assert len(prepare("normalize", data, tmp_path).train.source) == 60
    only(10**9)
    assert len(prepare(name, data, tmp_path).train.source) == 60


def lacking(*arguments: object, **options: object) -> object:
    raise MemoryError


def test_what_the_system_refuses_is_told_as_well(
    data: ImageData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ssl_isda.data.preparation.standardized", lacking)
    with pytest.raises(UsageError, match="prepared by standardize, need about"):
        prepare("standardize", data, tmp_path)
    monkeypatch.setattr("sklearn.datasets.load_digits", lacking)
    code, _, line = answer(SUPERVISED, tmp_path)
    assert code == 2 and "run.py: the images of digits need about 0.7 MB of memory" in line
    monkeypatch.setattr("numpy.stack", lacking)
    pairs = [(np.zeros((8, 8), np.uint8), k % 2) for k in range(8)]
    with pytest.raises(UsageError, match="the images of my_data need more of memory"):
        ssl_isda.train(data=pairs, method="supervised", runs_dir=tmp_path, quiet=True)


def test_images_that_no_gpu_holds_are_refused_before_they_are_sent(
    data: ImageData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts = prepare("normalize", data, tmp_path)[:2]  # 80 images of 192 bytes
    monkeypatch.setattr(workspace, "free_bytes", lambda device: 80 * 192)
    workspace._refuse_what_no_gpu_holds(parts, torch.device("cuda"))
    monkeypatch.setattr(workspace, "free_bytes", lambda device: 80 * 192 - 1)
    workspace._refuse_what_no_gpu_holds(parts, CPU)
    with pytest.raises(UsageError, match="the images need 15 kB of GPU memory, 15 kB are free"):
        workspace._refuse_what_no_gpu_holds(parts, torch.device("cuda"))


def test_a_step_that_does_not_fit_names_the_batch() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        with (
            pytest.raises(OutOfMemory, match=r"^step 3: 64 images a step do not fit in the memory"),
            telling_what_fits(CPU, lambda: 3, 64),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another"), telling_what_fits(CPU, lambda: 3, 64):
        raise RuntimeError("another")


def test_a_lack_that_nobody_expected_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ssl_isda.commands.report.command.find_runs", lacking)
    code, _, line = answer(["report", "runs"], tmp_path)
    assert (code, line) == (70, "run.py: out of memory: \n")


def test_the_limits_of_the_process_and_of_groups_of_version_1_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, place in {"_MEMINFO": "none", "_OWN_GROUP": "own", "_CGROUP": "groups"}.items():
        monkeypatch.setattr(memory, name, tmp_path / place)
    (tmp_path / "own").write_text("4:cpu:/x\n7:memory:/job\n0::/\n")
    group = tmp_path / "groups/memory/job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("5000\n")
    (group / "memory.usage_in_bytes").write_text("4000\n")
    (group / "memory.stat").write_text("cache 3\ntotal_inactive_file 300\ntotal_active_file 200\n")
    assert memory.available_bytes() == 1500
    (tmp_path / "statm").write_text("100 9 9 9 0 20 0\n")
    monkeypatch.setattr(memory, "_STATM", tmp_path / "statm")
    page, unlimited = os.sysconf("SC_PAGE_SIZE"), resource.RLIM_INFINITY
    for kind, pages in ((resource.RLIMIT_AS, 100), (resource.RLIMIT_DATA, 20)):
        limits = dict.fromkeys((resource.RLIMIT_AS, resource.RLIMIT_DATA), (unlimited, unlimited))
        limits[kind] = (page * pages + 700, unlimited)
        monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
        assert memory.available_bytes() == 700
