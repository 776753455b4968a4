"""Features that are not finite, and modules that are converted."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.modules import ISDALoss
from ssl_isda.isda.propositions import isda_cross_entropy, semantic_consistency
from tests.ssl_isda.isda.test_covariance import FORMS, UPDATES

C, A, N = 4, 5, 12
LABELS = torch.arange(N) % C
BAD = [torch.inf, -torch.inf, torch.nan, 1e30]
"""The last one is finite in fp32, and its square is not."""


def started(form: str) -> ClassCovariance:
    torch.manual_seed(0)
    covariance = ClassCovariance(C, A, form)
    covariance.update(torch.randn(40, A), torch.arange(40) % C)
    return covariance


def state(module: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in module.state_dict().values()]


@pytest.mark.fault(45)
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("form", FORMS)
def test_fault_45_a_row_that_is_not_finite_enters_nowhere(form, update, value, monkeypatch) -> None:
    """The others of its batch do, to the bit; a class without another row stays as it is."""
    monkeypatch.setattr(ClassCovariance, UPDATES[0], getattr(ClassCovariance, update))
    covariance, twin = started(form), started(form)
    features, good = torch.randn(N, A), (LABELS != 2) & (torch.arange(N) != 5)
    spoilt = features.clone()
    spoilt[~good, 3] = value
    spoilt[5, 0] = -value  # in one column with nothing, in another against the others
    covariance.update(spoilt, LABELS)
    twin.update(features[good], LABELS[good])
    for ours, expected in zip(state(covariance), state(twin), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
        assert update == UPDATES[1] or torch.equal(ours, expected)
    before = state(covariance)
    covariance.update(torch.full((N, A), value), LABELS)
    assert all(map(torch.equal, state(covariance), before))


@pytest.mark.fault(45)
@pytest.mark.parametrize("update", UPDATES)
def test_fault_45_training_goes_on_as_with_plain_cross_entropy(update: str, monkeypatch) -> None:
    """A step that overflows is skipped, as a GradScaler does; the next loss is finite."""
    monkeypatch.setattr(ClassCovariance, UPDATES[0], getattr(ClassCovariance, update))
    isda, head = ISDALoss(C, A, 10), nn.Linear(A, C)
    for step in range(4):
        features = torch.randn(N, A)
        if step == 1:
            features[3] = torch.inf
        loss = isda(features, LABELS, head)
        assert bool(loss.isfinite()) == (step != 1)
    assert all(buffer.isfinite().all() for buffer in isda.buffers())


def test_many_large_rows_that_fit_all_enter() -> None:
    """Their norm together is beyond that of one row."""
    covariance = ClassCovariance(1, 1)
    covariance.update(torch.full((4, 1), 2e14), torch.zeros(4, dtype=torch.int64))
    assert covariance.count == 4 and covariance.mean == 2e14


@pytest.mark.fault(46)
@pytest.mark.parametrize("form", [*FORMS, "learned"])
@pytest.mark.parametrize("convert", ["half", "bfloat16", "double", "float"])
def test_fault_46_converted_modules_keep_their_numbers(form: str, convert: str) -> None:
    torch.manual_seed(0)
    sigma = LearnedCovariance(C, A) if form == "learned" else started(form)
    model = nn.ModuleDict({"head": nn.Linear(A, C), "sigma": sigma})
    before = copy.deepcopy(model)
    model = getattr(model, convert)()
    numbers = torch.float64 if convert == "double" else torch.float32
    for name, tensor in sigma.state_dict(keep_vars=True).items():
        assert tensor.dtype == (torch.int64 if name == "count" else numbers)
        assert torch.equal(tensor, before["sigma"].state_dict()[name].to(tensor.dtype))
    weight, features = model["head"].weight, torch.randn(N, A, dtype=model["head"].weight.dtype)
    logits = F.linear(features.float(), weight.detach().float())
    for loss in (
        lambda z, w, s: isda_cross_entropy(z, LABELS, w, s, 0.7),
        lambda z, w, s: semantic_consistency(z, w, s, 0.7),
    ):
        ours = loss(logits, weight, sigma)
        expected = loss(logits, weight.float(), before["sigma"])
        torch.testing.assert_close(ours, expected, check_dtype=False)
        assert ours.dtype == numbers and torch.autograd.grad(ours, weight)[0].dtype == weight.dtype
    sigma.update(features, LABELS)
    before["sigma"].update(features, LABELS)
    torch.testing.assert_close(sigma.matrix(1), before["sigma"].matrix(1), check_dtype=False)


@pytest.mark.fault(46)
def test_fault_46_what_would_overflow_in_fp16_does_not() -> None:
    isda = ISDALoss(2, 1, 10, class_weight=torch.tensor([0.1, 1.0])).half()
    features = torch.tensor([[60_000.0], [-60_000.0]]).half()
    isda.covariance.update(features, torch.tensor([0, 0]))
    assert isda.covariance.matrix(0).item() == pytest.approx(features[0].item() ** 2)
    assert isda.class_weight is not None and torch.equal(isda.class_weight, torch.tensor([0.1, 1]))


def test_a_narrow_default_type_is_not_that_of_the_statistics() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        built = [ClassCovariance(2, 3), LearnedCovariance(2, 3)]
    finally:
        torch.set_default_dtype(before)
    assert [module.dtype for module in built] == [torch.float32, torch.float32]


@pytest.mark.parametrize("form", [*FORMS, "learned"])
def test_a_head_and_a_covariance_of_other_types_meet_in_the_wider_one(form: str) -> None:
    torch.manual_seed(0)
    sigma = LearnedCovariance(C, A) if form == "learned" else started(form)
    logits, weight, soft = torch.randn(N, C), torch.randn(C, A), torch.rand(N, C).softmax(1)
    expected = {}
    for of_head, of_sigma in (("double", "double"), ("double", "float"), ("float", "double")):
        sigma = getattr(sigma, of_sigma)()
        z, w = (getattr(x, of_head)().requires_grad_() for x in (logits, weight))
        for name, loss in {
            "1": isda_cross_entropy(z, LABELS, w, sigma, 0.7),
            "mixture": isda_cross_entropy(z, soft, w, sigma, 0.7),
            "2": semantic_consistency(z, w, sigma, 0.7),
        }.items():
            assert loss.dtype == torch.float64
            (gradient,) = torch.autograd.grad(loss, w)
            found = torch.cat([loss.view(1), gradient.flatten()]).double()
            torch.testing.assert_close(
                found, expected.setdefault(name, found), rtol=1e-5, atol=1e-6
            )
