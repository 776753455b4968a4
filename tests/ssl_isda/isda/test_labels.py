"""Labels as people have them, rows that do not count, maps of pixels, and cross-entropy's options."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.isda import covariance as covariance_module
from ssl_isda.isda import cross_entropy as cross_entropy_module
from ssl_isda.isda import labels as labels_module
from ssl_isda.isda import variances as variances_module
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.cross_entropy import cross_entropy, target_of
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.propositions import (
    augmented_logits,
    centered_semantic_consistency,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_semantic_consistency,
    second_order_consistency,
    semantic_consistency,
)
from tests.ssl_isda.isda.test_propositions import FORMS, problem

C, A, N = 5, 6, 9
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint64]
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0], dtype=torch.float64)
SEMANTIC = [semantic_consistency, centered_semantic_consistency, second_order_consistency]


def sampled(features: Tensor, labels: Tensor, head, covariance, **options) -> Tensor:
    draws = {"num_samples": 3, "generator": torch.Generator().manual_seed(0)}
    return sampled_isda_cross_entropy(
        features, labels, head.weight, head.bias, covariance, 0.7, **draws, **options
    )


def state(covariance: ClassCovariance) -> list[Tensor]:
    return [buffer.clone() for buffer in covariance.state_dict().values()]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_labels_are_of_any_integer_type(dtype: torch.dtype) -> None:
    features, labels, head, covariance = problem()
    rows, given = head(features), labels.to(dtype)
    for loss in (isda_cross_entropy, augmented_logits):
        expected = loss(rows, labels, head.weight, covariance, 0.7)
        assert torch.equal(loss(rows, given, head.weight, covariance, 0.7), expected)
    ours, expected = (sampled(features, y, head, covariance) for y in (given, labels))
    assert torch.equal(ours, expected)
    other = ClassCovariance(C, A).double()
    other.load_state_dict(covariance.state_dict())
    covariance.update(features, labels)
    other.update(features, given)
    assert all(map(torch.equal, state(other), state(covariance)))


@pytest.mark.parametrize("ignore_index", [-100, 255, -1, 2])
@pytest.mark.parametrize("form", [*FORMS, "learned"])
def test_ignored_rows_are_as_if_they_were_not_there(form: str, ignore_index: int) -> None:
    features, labels, head, estimated = problem(form="full" if form == "learned" else form)
    covariance = LearnedCovariance(C, A).double() if form == "learned" else estimated
    kept = torch.tensor([0, 1, 3, 4, 6, 8])
    labels = torch.where(labels == 2, 3, labels)
    given = torch.full_like(labels, ignore_index).index_copy(0, kept, labels[kept])
    options = {"class_weight": WEIGHTS, "label_smoothing": 0.2}
    for loss in (
        lambda a, y, **o: isda_cross_entropy(head(a), y, head.weight, covariance, 0.7, **o),
        lambda a, y, **o: isda_cross_entropy(
            head(a), y, head.weight, covariance, 0.7, **options, **o
        ),
    ):
        a = features.clone().requires_grad_()
        ours, expected = loss(a, given, ignore_index=ignore_index), loss(a[kept], labels[kept])
        torch.testing.assert_close(ours, expected)
        gradients = (torch.autograd.grad(x, (a, head.weight)) for x in (ours, expected))
        torch.testing.assert_close(*gradients)
        each = loss(a, given, ignore_index=ignore_index, reduction="none")
        assert each.nonzero().flatten().tolist() == kept.tolist()
    assert sampled(features, given, head, covariance, ignore_index=ignore_index).isfinite()
    if form != "learned":
        other = ClassCovariance(C, A, form).double()
        other.load_state_dict(covariance.state_dict())
        covariance.update(features, given, ignore_index=ignore_index)
        other.update(features[kept], labels[kept])
        assert all(map(torch.equal, state(covariance), state(other)))


@pytest.mark.parametrize("ignore_index", [-100, 255, 2])
@pytest.mark.parametrize("form", FORMS[:2])
def test_both_updates_pass_over_ignored_rows(form: str, ignore_index: int) -> None:
    features, labels, _, covariance = problem(form=form)
    given = torch.where(labels == 2, ignore_index, labels)
    twin = ClassCovariance(C, A, form).double()
    twin.load_state_dict(covariance.state_dict())
    covariance._update_present_classes(features, given, ignore_index)
    twin._update_every_class(features, given, ignore_index)
    for ours, expected in zip(state(twin), state(covariance), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("form", [*FORMS, "learned"])
@pytest.mark.parametrize("label", [-1, C, 255, -101])
def test_a_label_outside_the_classes_is_refused_before_anything_changes(form, label: int) -> None:
    features, labels, head, estimated = problem(form="full" if form == "learned" else form)
    covariance = LearnedCovariance(C, A).double() if form == "learned" else estimated
    labels[3] = label
    before = state(covariance)
    for call in (
        lambda: covariance.update(features, labels),
        lambda: isda_cross_entropy(head(features), labels, head.weight, covariance, 0.7),
        lambda: augmented_logits(head(features), labels, head.weight, covariance, 0.7),
        lambda: sampled(features, labels, head, covariance),
    ):
        with pytest.raises(ValueError, match=rf"0 to 4, or ignore_index, -100; got {label}$"):
            call()
    assert all(map(torch.equal, state(covariance), before))


WRONG = [
    (torch.zeros(N, 1, dtype=torch.int64), r"\(9, 1\) of int64: labels.squeeze\(1\)"),
    (torch.zeros(N, C, dtype=torch.int64), r"\(9, 5\) of int64: labels.argmax\(1\)"),
    (torch.zeros(N), r"\(9,\) of float32: classes are integers, so labels.long\(\)"),
    (torch.zeros(N, dtype=torch.bool), r"\(9,\) of bool"),
    (torch.zeros(N - 1, dtype=torch.int64), r"\(8,\) of int64$"),
    (torch.zeros(N, C + 1), r"probabilities of shape \(9, 5\); got \(9, 6\) of float32"),
]


@pytest.mark.parametrize(("labels", "words"), WRONG)
def test_labels_that_do_not_fit_are_refused_in_one_line(labels: Tensor, words: str) -> None:
    features, _, head, covariance = problem()
    for call in (
        lambda: covariance.update(features, labels),
        lambda: isda_cross_entropy(head(features), labels, head.weight, covariance, 0.7),
        lambda: sampled(features, labels, head, covariance),
    ):
        with pytest.raises(ValueError, match=words) as refusal:
            call()
        assert "\n" not in str(refusal.value)


def test_statistics_take_no_mixed_features() -> None:
    features, _, _, covariance = problem()
    with pytest.raises(ValueError, match="mixed image's features belong to no class"):
        covariance.update(features, torch.full((N, C), 1 / C))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("soft", [False, True])
def test_options_are_those_of_cross_entropy(reduction, weights, smoothing, soft) -> None:
    """Without augmentation to the bit; with it the mean and the sum are of each row's bound."""
    features, labels, head, covariance = problem()
    rows, ignored = head(features), torch.where(torch.arange(N) % 4 == 0, 255, labels)
    target = features[:, :C].softmax(1) if soft else ignored
    given = {"label_smoothing": smoothing, "reduction": reduction, "ignore_index": 255}
    shared = (head.weight, covariance)
    ours = isda_cross_entropy(rows, target, *shared, 0.0, class_weight=weights, **given)
    theirs = given if not soft else {**given, "ignore_index": -100}
    assert torch.equal(ours, F.cross_entropy(rows, target, weight=weights, **theirs))
    bound = isda_cross_entropy(rows, target, *shared, 0.7, class_weight=weights, **given)
    given["reduction"] = "none"
    each = isda_cross_entropy(rows, target, *shared, 0.7, class_weight=weights, **given)
    share = torch.ones(N).double()
    if not soft:
        share = (torch.ones(C).double() if weights is None else weights)[labels] * (ignored != 255)
    mean = each.sum() / share.sum()
    expected = {"mean": mean, "sum": each.sum(), "none": each}[reduction]
    torch.testing.assert_close(bound, expected)
    assert (bound >= ours - 1e-12).all() and bound.sum() > ours.sum() + 0.1


def dense(rows: Tensor) -> Tensor:
    """(9, k) as (1, k, 3, 3)."""
    return rows.view(1, 3, 3, -1).movedim(-1, 1)


@pytest.mark.parametrize("soft", [False, True])
def test_maps_of_pixels_are_rows(soft: bool) -> None:
    features, labels, head, covariance = problem()
    rows, kernel = head(features), head.weight.view(C, A, 1, 1)
    target = features[:, :C].softmax(1) if soft else labels
    pixels = dense(target) if soft else labels.view(1, 3, 3)
    for reduction in ("mean", "none"):
        ours = isda_cross_entropy(dense(rows), pixels, kernel, covariance, 0.7, reduction=reduction)
        expected = isda_cross_entropy(
            rows, target, head.weight, covariance, 0.7, reduction=reduction
        )
        assert torch.equal(ours, expected if reduction == "mean" else expected.view(1, 3, 3))
        for form in SEMANTIC:
            ours = form(dense(rows), kernel, covariance, 0.7, reduction=reduction)
            expected = form(rows, head.weight, covariance, 0.7, reduction=reduction)
            assert torch.equal(ours.flatten(), expected.flatten())
    shifted = augmented_logits(dense(rows), pixels, kernel, covariance, 0.7)
    expected = augmented_logits(rows, target, head.weight, covariance, 0.7)
    assert torch.equal(shifted, dense(expected))
    draws = {"num_samples": 2, "reduction": "none"}
    for a, w, y in ((features, head.weight, target), (dense(features), kernel, pixels)):
        g = torch.Generator().manual_seed(0)
        given = (head.bias, covariance, 0.7)
        losses = sampled_isda_cross_entropy(a, y, w, *given, generator=g, **draws)
        losses = torch.stack(
            [losses, sampled_semantic_consistency(a, w, *given, generator=g, **draws)]
        )
        if a is features:
            first = losses
    assert torch.equal(losses.view(2, N), first)
    if not soft:
        other = ClassCovariance(C, A).double()
        other.load_state_dict(covariance.state_dict())
        covariance.update(features, labels)
        other.update(dense(features), pixels)
        assert all(map(torch.equal, state(covariance), state(other)))


@pytest.mark.parametrize("case", ["empty", "ignored"])
@pytest.mark.parametrize("form", [*FORMS, "learned"])
def test_without_a_row_the_loss_is_0_with_a_zero_gradient(form: str, case: str) -> None:
    features, labels, head, estimated = problem(form="full" if form == "learned" else form)
    covariance = LearnedCovariance(C, A).double() if form == "learned" else estimated
    features = features[: 0 if case == "empty" else N].requires_grad_()
    labels, before = torch.full((len(features),), -100), state(covariance)
    rows, shared = head(features), (head.weight, covariance, 0.7)
    losses = [isda_cross_entropy(rows, labels, *shared, reduction=r) for r in ("mean", "sum")]
    losses += [isda_cross_entropy(rows, labels, *shared, label_smoothing=0.1, class_weight=WEIGHTS)]
    losses += [sampled(features, labels, head, covariance)]
    if case == "empty":
        losses += [form(rows, *shared) for form in SEMANTIC]
        losses += [isda_cross_entropy(rows, torch.zeros(0, C), *shared)]
    for loss in losses:
        gradients = torch.autograd.grad(loss, [features, head.weight], retain_graph=True)
        assert loss == 0 and not any(g.any() for g in gradients)
    covariance.update(features, labels)
    assert all(map(torch.equal, state(covariance), before))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((None, 0.0, "avg"), "reduction is one of mean, sum, none; got 'avg'"),
        ((None, 1.5, "mean"), "label_smoothing is from 0 to 1; got 1.5"),
        ((WEIGHTS[:4], 0.0, "mean"), r"class_weight is \(5,\), one a class; got \(4,\)"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, words: str) -> None:
    """Below the functions, whose annotations the tests' checker of shapes looks at first."""
    target = target_of(torch.zeros(N, dtype=torch.int64), (N,), C, -100)
    with pytest.raises(ValueError, match=words):
        cross_entropy(torch.zeros(N, C), None, target, *options)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks at no value, and a GPU's forms are taken."""
    for module in (covariance_module, cross_entropy_module, labels_module, variances_module):
        monkeypatch.setattr(module, "has_fixed_shapes", lambda tensor: True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_gpu_has_the_same_losses_and_statistics(form, reduction, request) -> None:
    features, labels, head, covariance = problem(form=form)
    labels[2], rows = 255, head(features)
    options = {"ignore_index": 255, "reduction": reduction, "class_weight": WEIGHTS}
    cases = [(labels, options), (labels, {**options, "label_smoothing": 0.2})]
    cases += [(torch.full((N,), 255), options), (rows.detach().softmax(1), options)]
    cases += [(torch.full((N,), 255), {**options, "label_smoothing": 0.2})]

    def everything(sigma: ClassCovariance) -> list[Tensor]:
        losses = [isda_cross_entropy(rows, y, head.weight, sigma, 0.7, **o) for y, o in cases]
        total = sum(loss.sum() for loss in losses)
        sigma.update(features, labels, ignore_index=255)
        return [*losses, *torch.autograd.grad(total, [*head.parameters()], retain_graph=True)]

    twin = ClassCovariance(C, A, form).double()
    twin.load_state_dict(covariance.state_dict())
    on_cpu = everything(covariance)
    request.getfixturevalue("as_on_a_gpu")
    for ours, expected in zip(everything(twin), on_cpu, strict=True):
        torch.testing.assert_close(ours, expected)
    for ours, expected in zip(state(twin), state(covariance), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_gpu_tells_of_a_label_outside_the_classes_later(form: str, as_on_a_gpu) -> None:
    """Its row's loss is NaN and the statistics leave it out; what was sent is told by the next update."""
    features, labels, head, covariance = problem(form=form)
    twin = ClassCovariance(C, A, form).double()
    twin.load_state_dict(covariance.state_dict())
    labels[3] = -7
    good = torch.arange(N) != 3
    loss = isda_cross_entropy(
        head(features), labels, head.weight, covariance, 0.7, reduction="none"
    )
    assert torch.equal(loss.isnan(), ~good)
    assert sampled(features, labels, head, covariance, reduction="none").isnan().equal(~good)
    covariance.update(features, labels)
    twin.update(features[good], labels[good])
    covariance.update(features[good], labels[good])  # nothing was sent yet
    twin.update(features[good], labels[good])
    for ours, expected in zip(state(covariance), state(twin), strict=True):
        torch.testing.assert_close(ours, expected)
    covariance.outside._sent = covariance.outside.label.clone()
    with pytest.raises(ValueError, match="0 to 4, or ignore_index; an earlier batch had -7"):
        covariance.update(features[good], labels[good])
    covariance.update(features[good], labels[good])  # it was said once
    covariance.update(features, labels)
    with pytest.raises(ValueError, match="had -7"):
        covariance.tell_labels_outside()
    covariance.tell_labels_outside()
