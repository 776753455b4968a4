"""Propositions 1 and 2 against loops in float64 that read like the equations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.propositions import (
    centered_semantic_consistency,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_semantic_consistency,
    second_order_consistency,
    semantic_consistency,
    variance_table,
)
from ssl_isda.losses.consistency import entropy, softmax_kl, softmax_mse

FORMS = ["full", "diagonal", "shared", "identity"]
SEMANTIC_FORMS = [
    semantic_consistency,
    centered_semantic_consistency,
    second_order_consistency,
]


def problem(n=9, c=5, a=6, form="full", seed=0, dtype=torch.float64):
    """Features, labels, a head, and a covariance that has seen all classes but the last."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(n, a, generator=g, dtype=dtype)
    labels = torch.randint(0, c, (n,), generator=g)
    head = torch.nn.Linear(a, c, dtype=dtype)
    with torch.no_grad():
        head.weight.copy_(torch.randn(c, a, generator=g, dtype=dtype))
        head.bias.copy_(torch.randn(c, generator=g, dtype=dtype))
    covariance = ClassCovariance(c, a, form).to(dtype)
    seen = torch.randn(60, a, generator=g, dtype=dtype) @ torch.randn(
        a, a, generator=g, dtype=dtype
    )
    covariance.update(seen, torch.arange(60) % max(1, c - 1))
    return features, labels, head, covariance


def proposition_1(
    z: Tensor, y: Tensor, w: Tensor, covariance: ClassCovariance, lam: float
) -> Tensor:
    """Eq. 8, sample by sample, class by class."""
    losses = []
    for i in range(len(z)):
        target, sigma = int(y[i]), covariance.matrix(int(y[i]))
        terms = []
        for j in range(len(w)):
            v = w[j] - w[target]
            terms.append(torch.exp(z[i, j] + lam / 2 * (v @ sigma @ v)))
        losses.append(-torch.log(torch.exp(z[i, target]) / torch.stack(terms).sum()))
    return torch.stack(losses).mean()


def proposition_2(z: Tensor, w: Tensor, covariance: ClassCovariance, lam: float) -> Tensor:
    """Eq. 15, sample by sample, class by class; p is a constant."""
    losses = []
    for i in range(len(z)):
        p = torch.softmax(z[i], 0).detach()
        sigma = covariance.matrix(int(p.argmax()))
        for k in range(len(w)):
            denominator = 0
            for j in range(len(w)):
                v = w[j] - w[k]
                denominator = denominator + torch.exp(z[i, j] + lam / 2 * (v @ sigma @ v))
            losses.append(-p[k] * torch.log(torch.exp(z[i, k]) / denominator))
    return torch.stack(losses).sum() / len(z)


def gradients(loss: Tensor, features: Tensor, head: torch.nn.Linear) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [features, head.weight, head.bias]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 2.0])
def test_both_propositions_equal_their_loops_in_value_and_gradient(
    form: str, strength: float
) -> None:
    features, labels, head, covariance = problem(form=form)
    features.requires_grad_()
    pairs = [
        (
            lambda z: isda_cross_entropy(z, labels, head.weight, covariance, strength),
            lambda z: proposition_1(z, labels, head.weight, covariance, strength),
        ),
        (
            lambda z: semantic_consistency(z, head.weight, covariance, strength),
            lambda z: proposition_2(z, head.weight, covariance, strength),
        ),
    ]
    for fast, obvious in pairs:
        ours, reference = fast(head(features)), obvious(head(features))
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=0)
        for got, expected in zip(
            gradients(ours, features, head), gradients(reference, features, head), strict=True
        ):
            torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-13)


def test_they_stay_equal_over_many_steps_of_training_with_state() -> None:
    features, labels, head, covariance = problem(n=16, c=4, a=5)
    covariance = ClassCovariance(4, 5).double()
    twin = torch.nn.Linear(5, 4, dtype=torch.float64)
    twin.load_state_dict(head.state_dict())
    body, twin_body = torch.eye(5, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    body.requires_grad_()
    twin_body.requires_grad_()
    seen: list[Tensor] = []
    seen_labels: list[Tensor] = []
    for t in range(30):
        x, lam = features + 0.1 * t, t / 30
        a, b = x @ body, x @ twin_body
        covariance.update(a.detach(), labels)
        seen.append(b.detach())
        seen_labels.append(labels)
        reference = _Pooled(torch.cat(seen), torch.cat(seen_labels))
        ours = isda_cross_entropy(head(a), labels, head.weight, covariance, lam)
        ours = ours + semantic_consistency(head(a), head.weight, covariance, lam)
        obvious = proposition_1(twin(b), labels, twin.weight, reference, lam)
        obvious = obvious + proposition_2(twin(b), twin.weight, reference, lam)
        torch.testing.assert_close(ours, obvious, rtol=1e-10, atol=0)
        for loss, parameters in (
            (ours, [body, *head.parameters()]),
            (obvious, [twin_body, *twin.parameters()]),
        ):
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p.data -= 0.1 * g


class _Pooled:
    """Sigma_c recomputed from everything seen."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features, self.labels = features, labels

    def matrix(self, c: int) -> Tensor:
        return self.features[self.labels == c].T.cov(correction=0)


def test_strength_zero_is_cross_entropy_to_the_bit() -> None:
    features, labels, head, covariance = problem(dtype=torch.float32)
    logits = head(features)
    ours = isda_cross_entropy(logits, labels, head.weight, covariance, 0.0)
    assert torch.equal(ours, F.cross_entropy(logits, labels))


def test_strength_zero_gives_no_gradient_in_proposition_2() -> None:
    features, _, head, covariance = problem()
    features.requires_grad_()
    loss = semantic_consistency(head(features), head.weight, covariance, 0.0)
    torch.testing.assert_close(loss, entropy(head(features)), rtol=1e-12, atol=0)
    for g in gradients(loss, features, head):
        assert g.abs().max() < 1e-15
    alive = semantic_consistency(head(features), head.weight, covariance, 0.5)
    assert all(g.abs().max() > 1e-4 for g in gradients(alive, features, head))


def test_gradient_reaches_the_head_through_the_table() -> None:
    features, labels, head, covariance = problem()
    logits = head(features).detach()
    for loss in (
        isda_cross_entropy(logits, labels, head.weight, covariance, 0.5),
        semantic_consistency(logits, head.weight, covariance, 0.5),
    ):
        (g,) = torch.autograd.grad(loss, [head.weight])
        assert g.abs().max() > 1e-3


def test_gradients_pass_gradcheck() -> None:
    features, labels, head, covariance = problem(n=4, c=3, a=4)
    logits = head(features).detach().requires_grad_()
    weight = head.weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z, w: isda_cross_entropy(z, labels, w, covariance, 0.7), (logits, weight)
    )
    classes = torch.tensor([0, 2])
    assert torch.autograd.gradcheck(lambda w: variance_table(w, covariance, classes), (weight,))


def test_table_is_symmetric_with_a_zero_diagonal_and_not_negative() -> None:
    _, _, head, covariance = problem(c=10, a=32, dtype=torch.float32)
    table = variance_table(head.weight, covariance, torch.arange(10))
    assert torch.equal(table, table.mT)
    assert torch.equal(table.diagonal(dim1=1, dim2=2), torch.zeros(10, 10))
    assert table.min() >= 0 and table.max() > 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strength", [0.05, 0.5, 2.0])
def test_bounds_stand_at_or_above_their_expectations(form: str, strength: float) -> None:
    features, labels, head, covariance = problem(n=8, form=form)
    with torch.no_grad():
        head.weight *= 0.3
    logits = head(features)
    args = (head.weight, head.bias, covariance, strength)
    g = torch.Generator().manual_seed(1)
    draws = [
        (
            sampled_isda_cross_entropy(features, labels, *args, num_samples=4000, generator=g),
            sampled_semantic_consistency(features, *args, num_samples=4000, generator=g),
        )
        for _ in range(10)
    ]
    for k, bound in enumerate(
        (
            isda_cross_entropy(logits, labels, head.weight, covariance, strength),
            semantic_consistency(logits, head.weight, covariance, strength),
        )
    ):
        means = torch.stack([d[k] for d in draws])
        error = means.std() / math.sqrt(len(means))
        assert bound > means.mean() - 3 * error
        assert error < 0.05 * bound, "the check would be blind"


def test_bound_of_proposition_2_is_twice_the_expected_kl_to_first_order() -> None:
    """bound - H(p) -> lambda V and E KL -> lambda V / 2, V = sum_j p_j G_jj - p^T G p."""
    features, _, head, covariance = problem(n=6)
    with torch.no_grad():
        head.weight *= 0.3
    logits = head(features)
    p = logits.softmax(1)
    w = head.weight
    expected = []
    for i in range(len(p)):
        gram = w @ covariance.matrix(int(p[i].argmax())) @ w.T
        expected.append(p[i] @ gram.diagonal() - p[i] @ gram @ p[i])
    v = torch.stack(expected).mean()
    lam = 1e-5
    excess = semantic_consistency(logits, w, covariance, lam) - entropy(logits)
    torch.testing.assert_close(excess / lam, v, rtol=1e-3, atol=0)

    lam = 0.01
    g = torch.Generator().manual_seed(0)
    kl = sampled_semantic_consistency(
        features, w, head.bias, covariance, lam, num_samples=200_000, generator=g
    ) - entropy(logits)
    excess = semantic_consistency(logits, w, covariance, lam) - entropy(logits)
    assert 1.8 < (excess / kl).item() < 2.3


# ---- the closer forms of the semantic term


def centered_bound(z: Tensor, w: Tensor, covariance: ClassCovariance, lam: float) -> Tensor:
    """Sample by sample, class by class; p is a constant."""
    losses = []
    for i in range(len(z)):
        p = torch.softmax(z[i], 0).detach()
        sigma = covariance.matrix(int(p.argmax()))
        terms = []
        for j in range(len(w)):
            v = w[j] - sum(p[k] * w[k] for k in range(len(w)))
            terms.append(torch.exp(z[i, j] + lam / 2 * (v @ sigma @ v)))
        losses.append(torch.log(torch.stack(terms).sum()) - p @ z[i])
    return torch.stack(losses).mean()


def second_order(z: Tensor, w: Tensor, covariance: ClassCovariance, lam: float) -> Tensor:
    """(lambda/2) (sum_j pi_j G_jj - pi^T G pi), sample by sample; pi is differentiated."""
    losses = []
    for row in z:
        pi = torch.softmax(row, 0)
        gram = w @ covariance.matrix(int(pi.argmax())) @ w.T
        own = sum(pi[j] * gram[j, j] for j in range(len(w)))
        losses.append(lam / 2 * (own - pi @ gram @ pi))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 2.0])
def test_closer_forms_equal_their_loops_in_value_and_gradient(form: str, strength: float) -> None:
    features, _, head, covariance = problem(form=form)
    features.requires_grad_()
    for fast, obvious in (
        (centered_semantic_consistency, centered_bound),
        (second_order_consistency, second_order),
    ):
        ours = fast(head(features), head.weight, covariance, strength)
        reference = obvious(head(features), head.weight, covariance, strength)
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-15)
        for got, expected in zip(
            gradients(ours, features, head), gradients(reference, features, head), strict=True
        ):
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-13)


class Expected:
    """E KL(softmax(z) || softmax(z~)) by Monte Carlo in float64, with common antithetic draws.

    Of KL = (1/2) delta^T (diag p - p p^T) delta + rest only the rest is drawn; the expectation of
    the first part is the trace of its matrix times lambda G.
    """

    def __init__(self) -> None:
        self.features, _, self.head, self.covariance = problem(n=6, c=4, a=3)
        with torch.no_grad():
            self.head.weight *= 0.5
        self.logits = self.head(self.features).detach()
        self.p = self.logits.softmax(1)
        g = torch.Generator().manual_seed(0)
        noise = self.covariance.draw(self.p.argmax(1), 100_000, g)
        self.noise = torch.cat([noise, -noise])

    def kl(self, lam: float) -> float:
        p, w = self.p, self.head.weight.detach()
        delta = math.sqrt(lam) * self.noise @ w.T
        kl = (self.logits + delta).logsumexp(2) - self.logits.logsumexp(1) - (p * delta).sum(2)
        mean = (p * delta).sum(2)
        rest = kl - ((p * delta.square()).sum(2) - mean.square()) / 2
        quadratic = second_order(self.logits, w, self.covariance, lam)
        return (quadratic + rest.mean()).item()

    def error(self, form, lam: float) -> float:
        """Of ``form``, less H(p) if it is a bound."""
        constant = 0.0 if form is second_order_consistency else entropy(self.logits).item()
        value = form(self.logits, self.head.weight, self.covariance, lam).item()
        return value - constant - self.kl(lam)


@pytest.fixture(scope="module")
def expected() -> Expected:
    return Expected()


@pytest.mark.parametrize(
    ("form", "ratio", "order"),
    [
        (semantic_consistency, 2.0, 1),
        (centered_semantic_consistency, 1.0, 2),
        (second_order_consistency, 1.0, 2),
    ],
)
def test_error_of_the_semantic_term_against_monte_carlo(expected, form, ratio, order) -> None:
    """As lambda falls, the term tends to ``ratio`` times E KL, and its error falls as lambda^order."""
    kl = expected.kl(1e-3)
    assert (expected.error(form, 1e-3) + kl) / kl == pytest.approx(ratio, rel=2e-3)
    errors = [abs(expected.error(form, lam)) for lam in (0.005, 0.01)]
    assert math.log2(errors[1] / errors[0]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("strength", [0.01, 0.1, 0.5, 2.0, 20.0])
def test_the_centered_bound_lies_between_the_expectation_and_proposition_2(
    expected, strength: float
) -> None:
    centered = expected.error(centered_semantic_consistency, strength)
    assert 0 < centered < 0.7 * expected.error(semantic_consistency, strength)


def test_the_centered_bound_is_below_proposition_2_for_any_prediction_and_covariance() -> None:
    for seed in range(200):
        features, _, head, covariance = problem(n=5, c=4, a=3, seed=seed)
        logits, w = head(features), head.weight
        for strength in (0.01, 1.0, 100.0):
            low = centered_semantic_consistency(logits, w, covariance, strength)
            assert low <= semantic_consistency(logits, w, covariance, strength) + 1e-12


@pytest.mark.parametrize(
    ("form", "factor"),
    [
        (semantic_consistency, 2.0),
        (centered_semantic_consistency, 1.0),
        (second_order_consistency, 1.0),
    ],
)
def test_gradients_of_the_semantic_term_against_monte_carlo(expected, form, factor) -> None:
    """To the logits all three are right as lambda falls, to W through G Prop. 2's is twice too large."""
    lam = 1e-3
    logits = expected.logits.clone().requires_grad_()
    weight = expected.head.weight.detach().clone().requires_grad_()
    draws = logits + math.sqrt(lam) * F.linear(expected.noise, weight)
    true = -(expected.p * draws.log_softmax(2)).sum(2).mean()
    to_logits, to_weight = torch.autograd.grad(true, [logits, weight])
    ours = form(logits, weight, expected.covariance, lam)
    for got, right in zip(
        torch.autograd.grad(ours, [logits, weight]), (to_logits, factor * to_weight), strict=True
    ):
        assert (got - right).norm() < 0.02 * right.norm()


def test_strength_zero_gives_no_gradient_in_the_closer_forms() -> None:
    features, _, head, covariance = problem()
    features.requires_grad_()
    centered = centered_semantic_consistency(head(features), head.weight, covariance, 0.0)
    torch.testing.assert_close(centered, entropy(head(features)), rtol=1e-12, atol=0)
    flat = second_order_consistency(head(features), head.weight, covariance, 0.0)
    assert flat == 0
    for loss in (centered, flat):
        assert all(g.abs().max() < 1e-15 for g in gradients(loss, features, head))
    for form in (centered_semantic_consistency, second_order_consistency):
        alive = form(head(features), head.weight, covariance, 0.5)
        assert all(g.abs().max() > 1e-4 for g in gradients(alive, features, head))


def test_the_centered_bound_of_a_certain_prediction_is_proposition_1() -> None:
    _, labels, head, covariance = problem()
    logits = 40.0 * F.one_hot(labels, 5).double()
    strength = 400 / variance_table(head.weight, covariance, torch.arange(5)).max().item()
    bound = isda_cross_entropy(logits, labels, head.weight, covariance, strength)
    assert bound > 0.01
    centered = centered_semantic_consistency(logits, head.weight, covariance, strength)
    torch.testing.assert_close(centered, bound, rtol=1e-9, atol=0)


def test_proposition_2_with_a_certain_prediction_is_proposition_1() -> None:
    _, labels, head, covariance = problem()
    logits = 40.0 * F.one_hot(labels, 5).double()
    largest = variance_table(head.weight, covariance, torch.arange(5)).max().item()
    strength = 400 / largest  # so that the augmentation matters against a margin of 40
    bound = isda_cross_entropy(logits, labels, head.weight, covariance, strength)
    assert bound > 0.01
    torch.testing.assert_close(
        semantic_consistency(logits, head.weight, covariance, strength), bound, rtol=1e-9, atol=0
    )


@pytest.mark.fault(42)
def test_fault_42_a_class_without_statistics_gives_a_finite_loss() -> None:
    features, _, head, _ = problem()
    empty = ClassCovariance(5, 6).double()
    labels = torch.full((9,), 4)
    for loss in (
        isda_cross_entropy(head(features), labels, head.weight, empty, 0.5),
        *(form(head(features), head.weight, empty, 0.5) for form in SEMANTIC_FORMS),
    ):
        assert torch.isfinite(loss)


def test_half_precision_inputs_are_computed_in_fp32() -> None:
    features, labels, head, covariance = problem(dtype=torch.float32)
    logits = head(features).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = isda_cross_entropy(logits, labels, head.weight, covariance, 0.5)
    exact = isda_cross_entropy(logits.float(), labels, head.weight, covariance, 0.5)
    assert loss.dtype == torch.float32 and torch.equal(loss, exact)


def test_no_tensor_of_forbidden_size_is_formed() -> None:
    """Nothing of N x C x A, N x A x A or C x C x C x A numbers, forward or backward."""
    n, c, a = 64, 12, 40
    features, labels, head, estimated = problem(n, c, a, dtype=torch.float32)
    for covariance in (estimated, LearnedCovariance(c, a)):
        sizes = _SizesSeen()
        with sizes:
            logits = head(features)
            loss = isda_cross_entropy(logits, labels, head.weight, covariance, 0.5)
            for form in SEMANTIC_FORMS:
                loss = loss + form(logits, head.weight, covariance, 0.5)
            loss = loss + covariance.draw(labels, 2, torch.Generator()).sum()
            covariance.update(features, labels)
            loss.backward()
        with sizes:
            estimated._update_every_class(features, labels)
        assert max(sizes.seen) <= c * a * a, "the covariances themselves are the largest thing"
        assert not sizes.seen & {n * c * a, n * a * a, c * c * c * a}


class _SizesSeen(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else [out]:
            if isinstance(t, Tensor):
                self.seen.add(t.numel())
        return out


def test_consistency_losses_equal_their_definitions() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 3, generator=g, dtype=torch.float64) for _ in range(2))
    p, q = x.softmax(1), y.softmax(1)
    mse = sum((p[i, k] - q[i, k]) ** 2 for i in range(4) for k in range(3)) / 12
    kl = sum(p[i, k] * (p[i, k] / q[i, k]).log() for i in range(4) for k in range(3)) / 4
    torch.testing.assert_close(softmax_mse(x, q), mse, rtol=1e-12, atol=0)
    torch.testing.assert_close(softmax_kl(x, y), kl, rtol=1e-12, atol=0)
    torch.testing.assert_close(entropy(x), -(p * p.log()).sum() / 4, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("weight", "logits", "words"),
    [
        (torch.ones(5, 7), torch.ones(2, 5), r"\(5, 6\) for this covariance; got \(5, 7\)"),
        (torch.ones(5, 6), torch.ones(2, 4), r"logits are \(n, 5\); got \(2, 4\)"),
    ],
)
def test_errors_say_what_was_given(weight: Tensor, logits: Tensor, words: str) -> None:
    from ssl_isda.isda.variances import flat_weight

    with pytest.raises(ValueError, match=words):
        flat_weight(logits, weight, ClassCovariance(5, 6))


def test_arguments_may_all_be_named() -> None:
    features, labels, head, covariance = problem()
    logits = head(features)
    named = isda_cross_entropy(
        logits=logits, labels=labels, weight=head.weight, covariance=covariance, strength=0.5
    )
    assert named == isda_cross_entropy(logits, labels, head.weight, covariance, 0.5)
