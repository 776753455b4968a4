"""Memory: what ISDA is going to take, what there is, and the refusal of what does not fit."""

from __future__ import annotations

import pytest
import torch

from ssl_isda import ClassCovariance, isda_cross_entropy, semantic_consistency
from ssl_isda.base import memory as system
from ssl_isda.base.errors import UsageError
from ssl_isda.runs import memory
from ssl_isda.training import isda_memory
from tests.benchmarks.measurement import allocated_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(64, 40, 32), (128, 10, 128), (16, 90, 8)])
@pytest.mark.parametrize("form", ["full", "diagonal", "shared", "identity"])
def test_the_estimate_is_what_is_allocated(form, shape):
    """By PyTorch's own account: no less than two thirds of it, and no more than a twentieth above it and
    three tensors of the size of a batch of features and logits. Every class that can occur does."""
    n, c, a = shape
    labels = torch.arange(n) % c
    weight = torch.nn.functional.normalize(torch.randn(c, a)).requires_grad_()
    features = weight.detach()[labels].requires_grad_()
    covariance = ClassCovariance(c, a, form)
    held = sum(buffer.nbytes for buffer in covariance.buffers())

    def step() -> None:
        covariance.update(features.detach(), labels)
        logits = features @ weight.T
        isda_cross_entropy(logits, labels, weight, covariance, 0.5).backward()
        semantic_consistency(features @ weight.T, weight, covariance, 0.5).backward()

    needed = held + allocated_bytes(step, CPU)
    estimate = isda_memory.isda_bytes(form, c, a, n, every_class=False)
    batch = 4 * n * (a + c)
    assert estimate / 1.5 < needed < 1.05 * estimate + 3 * batch


def test_a_thousand_classes_and_2048_features_are_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: 16 * 10**9)
    with pytest.raises(UsageError, match="--covariance diagonal needs") as refusal:
        isda_memory.refuse_what_does_not_fit("full", 1000, 2048, 128, CPU)
    assert "1,000 classes and 2,048 features needs about 19.9 GB" in str(refusal.value)
    isda_memory.refuse_what_does_not_fit("diagonal", 1000, 2048, 128, CPU)


def test_the_variances_of_imagenet_take_a_few_times_the_inputs_of_their_loss(monkeypatch):
    """A GPU computes every class; the published code forms 512 x 1,000 x 2,048 numbers, 4.2 GB."""
    n, c, a = 64, 300, 1000
    covariance, labels = ClassCovariance(c, a, "diagonal"), torch.arange(n)
    weight, features = (torch.randn(k, a).requires_grad_() for k in (c, n))
    covariance.update(features.detach(), labels)

    def step() -> None:
        logits = features @ weight.T
        isda_cross_entropy(logits, labels, weight, covariance, 0.5).backward()

    inputs = sum(each.nbytes for each in (weight, features, covariance.mean, covariance.scatter))
    assert allocated_bytes(step, CPU) < 3 * inputs
    estimate = isda_memory.isda_bytes("diagonal", c, a, n, every_class=False, semantic=False)
    assert 4 * c * a < estimate < 3 * inputs
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: 10**8)
    of_imagenet = ("diagonal", 1000, 2048, 512, torch.device("cuda"))
    isda_memory.refuse_what_does_not_fit(*of_imagenet, semantic=False)
    with pytest.raises(UsageError, match=r"0\.1 GB are free"):
        isda_memory.refuse_what_does_not_fit(*of_imagenet)


@pytest.mark.parametrize(
    ("free", "device", "advice"),
    [
        (10**9, "cpu", "smaller --batch-size and"),  # 3.1 GB with diagonal, 0.04 for one image
        (10**6, "cpu", "a smaller --width"),
        (16 * 10**9, "cuda", "a smaller --width"),  # every class is computed, whatever the batch
    ],
)
def test_where_not_even_diagonal_fits_the_advice_is_what_helps(monkeypatch, free, device, advice):
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: free)
    with pytest.raises(UsageError, match=advice):
        isda_memory.refuse_what_does_not_fit("full", 1000, 2048, 128, torch.device(device))


def test_processes_refuse_as_one_by_the_least_memory(monkeypatch):
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: 10**12)
    isda_memory.refuse_what_does_not_fit("full", 1000, 2048, 128, CPU)
    monkeypatch.setattr(isda_memory.distributed, "largest", lambda number: max(number, -(10**6)))
    with pytest.raises(UsageError, match=r"0\.0 GB are free"):
        isda_memory.refuse_what_does_not_fit("full", 1000, 2048, 128, CPU)


def test_a_machine_that_does_not_say_what_is_free_is_trusted(monkeypatch):
    monkeypatch.setattr(isda_memory, "free_bytes", lambda device: None)
    isda_memory.refuse_what_does_not_fit("full", 10**4, 10**5, 128, CPU)


def test_what_an_earlier_run_of_the_process_has_given_back_is_free(monkeypatch):
    """PyTorch keeps it from the driver for the next one."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert memory.free_bytes(torch.device("cuda")) == 130


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A folder in place of what the kernel tells, empty."""
    monkeypatch.setattr(system, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(system, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(system, "_CGROUP", tmp_path / "groups")
    return tmp_path


def limit(group, limit, used, inactive_file=0):
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 7\ninactive_file {inactive_file}\nslab 9\n")


def test_the_smaller_of_machine_and_container_counts(machine):
    assert memory.free_bytes(CPU) is None
    (machine / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    assert memory.free_bytes(CPU) == 2_048_000
    limit(machine / "groups", "max", 1000)
    assert memory.free_bytes(CPU) == 2_048_000
    limit(machine / "groups", 5000, 1000)
    assert memory.free_bytes(CPU) == 4000


def test_a_full_file_cache_is_no_lack_of_memory(machine):
    limit(machine / "groups", 5000, 5000, inactive_file=3000)
    assert memory.free_bytes(CPU) == 3000


def test_the_group_of_a_job_and_those_above_it_count(machine):
    (machine / "own").write_text("1:name=systemd:/x\n0::/slurm/job_7/step_0\n")
    limit(machine / "groups/slurm/job_7/step_0", "max", 10)
    limit(machine / "groups/slurm/job_7", 900, 200)
    limit(machine / "groups/slurm", 9000, 200)
    assert memory.free_bytes(CPU) == 700


def test_processes_of_one_machine_share_its_memory(machine, monkeypatch):
    limit(machine / "groups", 5000, 1000)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.free_bytes(CPU) == 1000


def test_the_peak_is_at_least_what_is_held_now():
    held = torch.ones(5_000_000)
    assert memory.peak_bytes(CPU) > held.nbytes
    assert memory.described_peak(CPU).startswith(
        "memory of the process at its peak, with a dry step: "
    )
