"""Memory: what ISDA is going to take, what there is, and the refusal of what does not fit."""

from __future__ import annotations

import pytest
import torch

from ssl_isda import ClassCovariance, isda_cross_entropy, memory, semantic_consistency
from ssl_isda.errors import UsageError
from tests.benchmarks.measurement import allocated_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(64, 40, 32), (128, 10, 128), (16, 90, 8)])
@pytest.mark.parametrize("form", ["full", "diagonal", "shared", "identity"])
def test_the_estimate_is_what_is_allocated(form, shape):
    """By PyTorch's own account: never more than estimated, and no less than two thirds of it, but for
    tensors of the size of a batch of features and logits. Every class that can occur does."""
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
    estimate = memory.isda_bytes(form, c, a, n, every_class=False)
    batch = 4 * n * (a + c)
    assert estimate / 1.5 - 4 * batch < needed < estimate + 4 * batch


def test_a_thousand_classes_and_2048_features_are_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 16 * 10**9)
    with pytest.raises(UsageError, match="--covariance diagonal needs") as refusal:
        memory.refuse_what_does_not_fit("full", 1000, 2048, 128, CPU)
    assert "1,000 classes and 2,048 features needs about 19.9 GB" in str(refusal.value)
    memory.refuse_what_does_not_fit("diagonal", 1000, 2048, 128, CPU)


def test_where_not_even_diagonal_fits_smaller_batches_are_advised(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**6)
    with pytest.raises(UsageError, match="smaller --batch-size"):
        memory.refuse_what_does_not_fit("full", 1000, 2048, 128, CPU)


def test_a_machine_that_does_not_say_what_is_free_is_trusted(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    memory.refuse_what_does_not_fit("full", 10**4, 10**5, 128, CPU)


def test_the_smaller_of_machine_and_container_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free_bytes(CPU) is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    assert memory.free_bytes(CPU) == 2_048_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.free_bytes(CPU) == 2_048_000
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.free_bytes(CPU) == 4000


def test_the_peak_is_at_least_what_is_held_now():
    held = torch.ones(5_000_000)
    assert memory.peak_bytes(CPU) > held.nbytes
    assert memory.described_peak(CPU).startswith("memory of the process at its peak: ")
