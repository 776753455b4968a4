"""The losses as modules, in a loop of one's own."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ssl_isda
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.modules import BOUNDS, ISDALoss, SemanticConsistency
from ssl_isda.isda.propositions import isda_cross_entropy
from ssl_isda.models.contract import linear_map
from tests.ssl_isda.isda.test_covariance import FORMS

C, A, N, T = 4, 5, 12, 6
LABELS = torch.arange(N) % C
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.1])


def batches(count: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(N, A, generator=g) for _ in range(count)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "none", "label_smoothing": 0.1, "ignore_index": 3, "class_weight": WEIGHTS}],
    ids=["default", "options"],
)
def test_it_is_update_then_prop_1_at_the_strength_of_its_step(form: str, options) -> None:
    isda, covariance = ISDALoss(C, A, T, 0.8, form, **options), ClassCovariance(C, A, form)
    head = nn.Linear(A, C)
    for t, features in enumerate(batches(T + 2)):
        ours = isda(features, LABELS, head)
        ignored = {k: v for k, v in options.items() if k == "ignore_index"}
        covariance.update(features, LABELS, **ignored)
        strength = 0.8 * min(t, T) / T
        expected = isda_cross_entropy(
            head(features), LABELS, head.weight, covariance, strength, **options
        )
        torch.testing.assert_close(ours, expected)
        assert isda.steps == t + 1 and isda.strength.item() == pytest.approx(strength)


def test_evaluation_is_plain_cross_entropy_and_leaves_no_trace() -> None:
    isda, head = ISDALoss(C, A, T, class_weight=WEIGHTS, label_smoothing=0.1), nn.Linear(A, C)
    for features in batches(3):
        isda(features, LABELS, head)
    before = copy.deepcopy(isda.state_dict())
    loss = isda.eval()(features, LABELS, head)
    assert torch.equal(
        loss, F.cross_entropy(head(features), LABELS, weight=WEIGHTS, label_smoothing=0.1)
    )
    assert all(torch.equal(value, before[name]) for name, value in isda.state_dict().items())


def test_maps_of_pixels_and_a_head_that_is_a_convolution() -> None:
    conv, linear = nn.Conv2d(A, C, 1), nn.Linear(A, C)
    linear.weight.data, linear.bias.data = conv.weight.data.flatten(1), conv.bias.data
    ours, rows = (ISDALoss(C, A, T, ignore_index=255, reduction="none") for _ in range(2))
    for features in batches(3):
        pixels, labels = features.view(1, 3, 4, A).movedim(-1, 1), LABELS.view(1, 3, 4).clone()
        labels[0, 1, 1] = 255
        expected = rows(features, labels.flatten().byte(), linear)
        torch.testing.assert_close(ours(pixels, labels.byte(), conv), expected.view(1, 3, 4))
    of_unlabeled = SemanticConsistency(ours, reduction="none")(pixels, conv)
    torch.testing.assert_close(
        of_unlabeled.flatten(), SemanticConsistency(rows, reduction="none")(features, linear)
    )


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_semantic_term_reads_the_covariances_and_the_strength_of_the_loss(bound: str) -> None:
    isda, head = ISDALoss(C, A, T, 0.8), nn.Linear(A, C)
    semantic = SemanticConsistency(isda, bound)
    for t, features in enumerate(batches(4)):
        isda(features, LABELS, head)
        unlabeled = features.flip(0).requires_grad_()
        ours = semantic(unlabeled, head)
        given = (head(unlabeled), head.weight, isda.covariance)
        torch.testing.assert_close(ours, BOUNDS[bound](*given, 0.8 * t / T))
    gradients = torch.autograd.grad(ours, [unlabeled, *head.parameters()])
    assert all(g.norm() > 1e-5 for g in gradients)
    assert torch.equal(semantic.eval()(unlabeled, head), BOUNDS[bound](*given, 0.0))
    assert not semantic.state_dict() and semantic(unlabeled[:0], head) == 0
    model = copy.deepcopy(nn.ModuleDict({"isda": isda, "semantic": semantic}))
    assert model["semantic"].isda is model["isda"]


def test_a_run_goes_on_from_its_state() -> None:
    """State that is saved and loaded half-way ends where an undisturbed loop does."""
    torch.manual_seed(0)
    head = nn.Linear(A, C)
    undisturbed, first = ISDALoss(C, A, T), ISDALoss(C, A, T)
    data = batches(T)
    expected = [undisturbed(features, LABELS, head) for features in data]
    losses = [first(features, LABELS, head) for features in data[:3]]
    second = ISDALoss(C, A, T)
    assert second.load_state_dict(first.state_dict()).missing_keys == []
    losses += [second(features, LABELS, head) for features in data[3:]]
    assert torch.equal(torch.stack(losses), torch.stack(expected))
    covariance = {f"covariance.{name}" for name in ("count", "mean", "scatter")}
    assert set(first.state_dict()) == {"steps", *covariance}


def test_half_a_model_and_autocast_train_in_full_precision() -> None:
    features, head = batches(1)[0], nn.Linear(A, C)
    exact = ISDALoss(C, A, 2)(features, LABELS, head)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ISDALoss(C, A, 2)(features, LABELS, head), exact)
    loss = ISDALoss(C, A, 2)(features.bfloat16(), LABELS, head.bfloat16())
    assert loss.dtype == torch.float32
    loss.backward()
    assert head.weight.grad is not None and head.weight.grad.dtype == torch.bfloat16


def test_mixed_images_get_their_bound_and_stay_out_of_the_covariances() -> None:
    isda, head = ISDALoss(C, A, T, 0.8), nn.Linear(A, C)
    features = batches(1)[0]
    soft = F.one_hot(LABELS, C) * 0.7 + F.one_hot(LABELS.flip(0), C) * 0.3
    with pytest.warns(UserWarning, match=r"isda.update\(features, labels\)"):
        isda(features, soft, head)
    with warnings.catch_warnings(action="error"):  # once
        isda(features, soft, head)
    assert isda.steps == 2 and not isda.covariance.count.any()
    isda.update(features, LABELS)
    before = isda.covariance.scatter.clone()
    ours = isda(features, soft, head)
    expected = isda_cross_entropy(head(features), soft, head.weight, isda.covariance, 0.8 * 2 / T)
    torch.testing.assert_close(ours, expected)
    assert torch.equal(isda.covariance.scatter, before)


WRONG_HEADS = [
    (nn.Conv2d(A, C, 3), "1 x 1 kernel.*got Conv2d"),
    (nn.Conv2d(A, C, 1, stride=2), "stride 1.*got Conv2d"),
    (nn.Conv2d(A, C, 1, padding=1), "no padding: .*got Conv2d"),
    (nn.Sequential(nn.Linear(A, C)), "got Sequential$"),
    (torch.ones(N, C), r"not the logits that it makes; got a tensor of shape \(\d+, \d+\)$"),
    (nn.Linear(A, C + 1), r"weight of \(4, 5\), .* got \(5, 5\)"),
]


@pytest.mark.parametrize(("head", "words"), WRONG_HEADS, ids=lambda value: type(value).__name__)
def test_heads_that_do_not_fit_are_refused(head, words: str) -> None:
    isda = ISDALoss(C, A, T)
    for module in (isda, isda.eval()):
        with pytest.raises(ValueError, match=f"(?s){words}"):
            module(torch.randn(N, A), LABELS, head)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        SemanticConsistency(isda)(torch.randn(N, A), head)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ISDALoss(C, A, 0), "total_steps is 1 or more .* got 0 and 0.5"),
        (lambda: ISDALoss(C, A, T, -1.0), "lambda_0 0 or more; got 6 and -1.0"),
        (lambda: ISDALoss(C, A, T, reduction="avg"), "got 'avg'"),
        (lambda: ISDALoss(C, A, T, label_smoothing=2.0), "from 0 to 1; got 2.0"),
        (lambda: ISDALoss(C, A, T, class_weight=WEIGHTS[:2]), r"\(4,\), one a class; got \(2,\)"),
        (lambda: SemanticConsistency(ISDALoss(C, A, T), "tight"), "got 'tight'"),
        (lambda: ISDALoss(C, A, T)(torch.ones(N, 3), LABELS, nn.Linear(A, C)), r"got \(12, 3\)"),
        (lambda: ISDALoss(C, A, T)(torch.ones(N, A), -LABELS, nn.Linear(A, C)), "got -1"),
        (
            lambda: ISDALoss(C, A, T).to("meta")(torch.ones(N, A), LABELS, nn.Linear(A, C)),
            r"features are on cpu and the covariance is on meta: .*\.to\(device\)",
        ),
    ],
)
def test_errors_say_what_was_given(build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()


def test_they_are_public_and_say_what_they_are() -> None:
    assert ssl_isda.ISDALoss is ISDALoss and ssl_isda.SemanticConsistency is SemanticConsistency
    isda = ISDALoss(C, A, T)
    assert "\n" not in repr(isda.covariance)
    assert "total_steps=6" in repr(isda) and "form='full'" in repr(isda)
    assert "bound='upper_bound'" in repr(SemanticConsistency(isda))
    weight, bias = linear_map(nn.Conv2d(A, C, 1, bias=False))
    assert weight.shape == (C, A) and torch.equal(bias, torch.zeros(C))
