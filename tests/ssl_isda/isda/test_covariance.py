"""ClassCovariance against the pooled covariance of everything it was ever shown."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_isda.isda.covariance import GPU_PARTS, ClassCovariance

FORMS = ["full", "diagonal", "shared", "identity"]
UPDATES = ["_update_present_classes", "_update_every_class"]


def pooled(features: Tensor, labels: Tensor, c: int, form: str) -> Tensor:
    """The obvious reference: all samples at once, divided by their number."""
    a = features.shape[1]
    if form == "identity":
        return torch.eye(a, dtype=features.dtype)
    x = features if form == "shared" else features[labels == c]
    if len(x) == 0:
        return torch.zeros(a, a, dtype=features.dtype)
    centered = x - x.mean(0)
    sigma = centered.T @ centered / len(x)
    return torch.diag(sigma.diagonal()) if form == "diagonal" else sigma


def stream(num_batches: int, num_classes: int, num_features: int, seed: int) -> list[tuple]:
    """Batches of uneven class sizes whose distribution drifts, as features in training do."""
    g = torch.Generator().manual_seed(seed)
    batches = []
    for t in range(num_batches):
        n = int(torch.randint(1, 12, (), generator=g))
        labels = torch.randint(0, num_classes, (n,), generator=g)
        x = torch.randn(n, num_features, generator=g, dtype=torch.float64)
        batches.append((x * (1 + 0.1 * t) + 5 + labels.unsqueeze(1) + 0.3 * t, labels))
    return batches


def fed(form: str, update: str, batches: list[tuple], c: int, a: int) -> ClassCovariance:
    covariance = ClassCovariance(c, a, form).double()
    for x, y in batches:
        y = torch.zeros_like(y) if form == "shared" else y
        getattr(covariance, update)(x, y)
    return covariance


@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("update", UPDATES)
def test_autocast_does_not_reach_the_statistics(form: str, update: str, monkeypatch) -> None:
    monkeypatch.setattr(ClassCovariance, UPDATES[0], getattr(ClassCovariance, update))
    inside, outside = ClassCovariance(3, 4, form), ClassCovariance(3, 4, form)
    x, labels = 3 + torch.randn(30, 4), torch.arange(30) % 3
    outside.update(x, labels)
    with torch.autocast("cpu", torch.bfloat16):
        inside.update(x, labels)
    for name, buffer in outside.named_buffers():
        assert torch.equal(inside.get_buffer(name), buffer), name


def test_a_gpu_takes_the_classes_in_parts_the_last_one_smaller() -> None:
    batches = stream(5, num_classes=11, num_features=7, seed=2)
    on_gpu, on_cpu = (fed("full", update, batches, 11, 7) for update in UPDATES)
    assert 11 % (11 // GPU_PARTS) == 1
    torch.testing.assert_close(on_gpu.scatter, on_cpu.scatter, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("update", UPDATES)
def test_equals_the_pooled_covariance_after_every_batch(form: str, update: str) -> None:
    batches = stream(40, num_classes=5, num_features=7, seed=0)
    for end in (1, 2, 7, 40):
        covariance = fed(form, update, batches[:end], 5, 7)
        x, y = (torch.cat(part) for part in zip(*batches[:end], strict=True))
        for c in range(5):
            expected = pooled(x, y, c, form)
            torch.testing.assert_close(covariance.matrix(c), expected, rtol=1e-10, atol=1e-12)


@given(
    seed=st.integers(0, 10**6),
    num_batches=st.integers(1, 12),
    form=st.sampled_from(FORMS),
    c=st.integers(1, 6),
    a=st.integers(1, 5),
)
@settings(max_examples=500, deadline=None)
def test_any_stream_equals_the_pooled_covariance(
    seed: int, num_batches: int, form: str, c: int, a: int
) -> None:
    batches = stream(num_batches, c, a, seed)
    covariance = ClassCovariance(c, a, form).double()
    for x, y in batches:
        covariance.update(x, y)
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    for k in range(c):
        expected = pooled(x, y, k, form)
        torch.testing.assert_close(covariance.matrix(k), expected, rtol=1e-10, atol=1e-11)


def test_mean_and_count_follow_equations_1_and_3() -> None:
    batches = stream(20, 4, 3, seed=3)
    covariance = fed("full", "_update_present_classes", batches, 4, 3)
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    for c in range(4):
        assert covariance.count[c] == (y == c).sum()
        torch.testing.assert_close(covariance.mean[c], x[y == c].mean(0), rtol=1e-12, atol=0)


@pytest.mark.fault(42)
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_fault_42_absent_and_single_sample_classes_are_exact(form: str, update: str) -> None:
    covariance = fed(form, update, stream(5, 2, 3, seed=1), 4, 3)
    before = {k: v.clone() for k, v in covariance.state_dict().items()}
    x = torch.randn(1, 3, dtype=torch.float64)
    getattr(covariance, update)(x, torch.tensor([2]))
    for k, v in covariance.state_dict().items():
        assert torch.equal(v[[0, 1, 3]], before[k][[0, 1, 3]]), "an absent class changed"
    assert torch.equal(covariance.matrix(2), torch.zeros(3, 3, dtype=torch.float64))
    assert torch.equal(covariance.mean[2], x[0]) and covariance.count[2] == 1


def test_long_fp32_streams_keep_their_precision() -> None:
    """After 20,000 batches about a mean of 3, fp32 is still right to a part in ten thousand."""
    g = torch.Generator().manual_seed(0)
    covariance = ClassCovariance(1, 4)
    labels = torch.zeros(16, dtype=torch.int64)
    batches = torch.randn(20_000, 16, 4, generator=g) + 3
    for x in batches:
        covariance.update(x, labels)
    x = batches.double().flatten(0, 1)
    expected = pooled(x, torch.zeros(len(x)), 0, "full")
    torch.testing.assert_close(covariance.matrix(0).double(), expected, rtol=1e-4, atol=1e-4)


def test_count_stays_exact_beyond_the_integers_of_fp32() -> None:
    covariance = ClassCovariance(1, 1)
    covariance.count.fill_(2**24)
    covariance.update(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))
    assert covariance.count.item() == 2**24 + 1


@pytest.mark.parametrize("form", FORMS)
def test_multiply_each_equals_multiply_by_the_matrix(form: str) -> None:
    covariance = ClassCovariance(4, 5, form).double()
    for x, y in stream(10, 4, 5, seed=2):
        covariance.update(x, y)
    directions = torch.randn(3, 6, 5, dtype=torch.float64)
    classes = torch.tensor([3, 0, 3])
    products = covariance.multiply_each(directions, classes)
    for i, c in enumerate(classes.tolist()):
        expected = directions[i] @ covariance.matrix(c)
        torch.testing.assert_close(products[i], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(covariance.multiply(directions[i], c), expected)


@pytest.mark.parametrize("form", FORMS)
def test_draws_have_the_covariance_of_their_class(form: str) -> None:
    covariance = ClassCovariance(2, 3, form)
    g = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, generator=g)
    x = torch.randn(200, 3, generator=g) @ mixing
    covariance.update(x, torch.arange(200) % 2)
    draws = covariance.draw(torch.tensor([0, 1]), 200_000, g)
    for c in range(2):
        sample = draws[:, c].T.cov(correction=0)
        torch.testing.assert_close(sample, covariance.matrix(c), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_from_an_estimate_of_few_samples_keep_its_directions(dtype: torch.dtype) -> None:
    """Four samples span three directions of twenty; a class that was never seen is not augmented."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 20, generator=g, dtype=dtype)
    covariance = ClassCovariance(2, 20).to(dtype)
    covariance.update(x, torch.zeros(4, dtype=torch.int64))
    draws = covariance.draw(torch.tensor([0, 1]), 50_000, g)
    sigma = covariance.matrix(0)
    outside = torch.linalg.eigh(sigma)[1][:, :17]
    assert (draws[:, 0] @ outside).var() < 2e-3 * sigma.trace() / 20
    sample = draws[:, 0].T.cov(correction=0)
    assert (sample - sigma).norm() < 0.02 * sigma.norm()
    assert not draws[:, 1].any()


def test_state_travels_by_state_dict() -> None:
    a, b = ClassCovariance(3, 4), ClassCovariance(3, 4)
    a.update(torch.randn(9, 4), torch.arange(9) % 3)
    b.load_state_dict(a.state_dict())
    assert set(a.state_dict()) == {"count", "mean", "scatter"}
    assert torch.equal(a.matrix(1), b.matrix(1))


def test_update_leaves_no_graph() -> None:
    covariance = ClassCovariance(2, 3)
    covariance.update(torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 0, 1]))
    assert not any(b.requires_grad for b in covariance.buffers())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ClassCovariance(0, 4), "at least 1 class"),
        (lambda: ClassCovariance(3, 4)._check(torch.ones(2, 5), torch.ones(2)), r"got \(2, 5\)"),
        (lambda: ClassCovariance(3, 4)._check(torch.ones(2, 4), torch.ones(3)), r"got \(3,\)"),
    ],
)
def test_errors_say_what_was_given(build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()
