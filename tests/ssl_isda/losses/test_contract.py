"""What holds for every supervised loss, alone and of logits that ISDA has augmented."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.propositions import isda_cross_entropy
from ssl_isda.isda.terms import IsdaTerms, class_covariance
from ssl_isda.losses import LOSSES
from ssl_isda.losses.contract import SupervisedLoss
from ssl_isda.losses.large_margin import psi
from ssl_isda.tasks.contract import Rows
from ssl_isda.training.objective import Objective
from tests.methods import tiny

C, A, N, STEP = 3, 5, 8, Step(4, 10, 2)
WITHOUT_DRAWS = {"disturb_label": {"disturbed_share": 0.0}, "distributionnet": {"draw_weight": 0.0}}


def build(name: str, **options: Any) -> SupervisedLoss:
    torch.manual_seed(1)
    return LOSSES[name](LOSSES.config(name)(**options), num_classes=C, num_features=A)


def example() -> tuple[Rows, IsdaTerms]:
    torch.manual_seed(0)
    head = torch.nn.Linear(A, C)
    features, labels = torch.randn(N, A, requires_grad=True), torch.arange(N) % C
    config = IsdaConfig(lambda_0=2.0)
    covariance = class_covariance(config, C, A)
    covariance.update(torch.randn(60, A) @ torch.randn(A, A), torch.arange(60) % C)
    return Rows(head(features), features, labels), IsdaTerms(config, covariance, head, STEP)


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_a_mean_over_rows_that_trains_head_and_features_with_isda_and_without(name) -> None:
    rows, isda = example()
    loss = build(name, **WITHOUT_DRAWS.get(name, {}))
    values = []
    for given in (rows, isda.augmented(rows)):
        value = loss(given, isda.head, STEP)
        twice = Rows(*(part if part is None else torch.cat([part, part]) for part in given))
        torch.testing.assert_close(loss(twice, isda.head, STEP), value)
        gradients = torch.autograd.grad(value, [rows.features, isda.head.weight], retain_graph=True)
        assert value.shape == () and all(g.norm() > 0 for g in gradients)
        values.append(value.item())
    assert values[1] > values[0] > 0  # ISDA asks for more


# ---- the obvious way, one row after the other, in float64


def nll(logits: Tensor, label: int) -> Tensor:
    p = logits.exp() / logits.exp().sum()
    return -p[label].log()


def cross_entropy(rows: Rows, **_: Any) -> Tensor:
    return mean(nll(z, y) for z, _, y in each(rows))


def label_smoothing(rows: Rows, smoothing: float, smoothing_over: str, **_: Any) -> Tensor:
    def one(z: Tensor, label: int) -> Tensor:
        others = C if smoothing_over == "all" else C - 1
        q = [smoothing / others * (smoothing_over == "all" or j != label) for j in range(C)]
        q[label] += 1 - smoothing
        return sum(q[j] * nll(z, j) for j in range(C))

    return mean(one(z, y) for z, _, y in each(rows))


def focal(rows: Rows, focal_alpha: float, focal_gamma: float, **_: Any) -> Tensor:
    terms = [nll(z, y) for z, _, y in each(rows)]
    return mean(focal_alpha * (1 - (-term).exp()) ** focal_gamma * term for term in terms)


def lq(rows: Rows, lq_power: float, **_: Any) -> Tensor:
    return mean((1 - (-nll(z, y)).exp() ** lq_power) / lq_power for z, _, y in each(rows))


def disturb_label(rows: Rows, disturbed_share: float, **_: Any) -> Tensor:
    generator = STEP.generator("disturbed labels")
    coins, drawn = (
        torch.rand(N, generator=generator),
        torch.randint(C, (N,), generator=generator),
    )
    labels = [
        int(new) if coin < disturbed_share else y
        for coin, new, (_, _, y) in zip(coins, drawn, each(rows), strict=True)
    ]
    return mean(nll(z, y) for (z, _, _), y in zip(each(rows), labels, strict=True))


def large_margin(rows: Rows, head: nn.Linear, margin: int, **options: Any) -> Tensor:
    growth = (1 + options["annealing_rate"] * 0.4) ** options["annealing_power"]  # step 4 of 10
    annealing = max(options["annealing_floor"], options["annealing_base"] / growth)

    def one(z: Tensor, a: Tensor, label: int) -> Tensor:
        w, z = head.weight[label], z - head.bias
        length = w.norm() * a.norm()
        theta = torch.acos(w @ a / length)
        k = int(theta * margin / math.pi)
        marked = length * ((-1) ** k * torch.cos(margin * theta) - 2 * k)
        changed = (annealing * w @ a + marked) / (1 + annealing)
        return nll(torch.stack([changed if j == label else z[j] for j in range(C)]), label)

    return mean(one(*row) for row in each(rows))


def center(rows: Rows, loss: Any, center_weight: float, **_: Any) -> Tensor:
    distances = (((a - loss.centres[y].detach()) ** 2).sum() for _, a, y in each(rows))
    return cross_entropy(rows) + center_weight / 2 * mean(distances)


def distributionnet(rows: Rows, head: nn.Linear, loss: Any, **options: Any) -> Tensor:
    generator = STEP.generator("features of a distribution")
    noise = torch.randn(N, A, generator=generator, dtype=torch.float64)
    spread = [(1 + loss.deviation(a).exp()).log() for _, a, _ in each(rows)]
    drawn = (
        nll(head(a + s * e), y) for (_, a, y), s, e in zip(each(rows), spread, noise, strict=True)
    )
    entropies = (s.log().sum() + A * (1 + math.log(2 * math.pi)) / 2 for s in spread)
    largest = math.log(options["spread"]) + (1 + math.log(2 * math.pi)) / 2
    lack = (largest - mean(entropies) / A).clamp(min=0)
    return (
        cross_entropy(rows) + options["draw_weight"] * mean(drawn) + options["spread_weight"] * lack
    )


def each(rows: Rows) -> list[tuple[Tensor, Tensor, int]]:
    return list(zip(rows.logits, rows.features, rows.labels.tolist(), strict=True))


def mean(terms: Any) -> Tensor:
    return torch.stack(list(terms)).mean()


REFERENCES: dict[str, tuple[Callable[..., Tensor], list[dict[str, Any]]]] = {
    "cross_entropy": (cross_entropy, [{}]),
    "label_smoothing": (
        label_smoothing,
        [{}, {"smoothing": 0.5}, {"smoothing": 0.3, "smoothing_over": "others"}],
    ),
    "focal": (focal, [{}, {"focal_alpha": 1.0, "focal_gamma": 2.0}, {"focal_gamma": 0.0}]),
    "lq": (lq, [{}, {"lq_power": 1.0}, {"lq_power": 1e-3}]),
    "disturb_label": (disturb_label, [{}, {"disturbed_share": 0.6}]),
    "large_margin": (
        large_margin,
        [
            {},
            *({"margin": m, "annealing_base": 3.0, "annealing_power": 1.0} for m in (1, 2, 3, 4)),
            {"margin": 4, "annealing_base": 0.0},
            {"margin": 3, "annealing_floor": 5.0},
        ],
    ),
    "center": (center, [{}, {"center_weight": 0.5}]),
    "distributionnet": (
        distributionnet,
        [{}, {"draw_weight": 1.0, "spread_weight": 0.5}, {"spread_weight": 0.5, "spread": 0.01}],
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_its_equation(name: str) -> None:
    """Value and gradients, alone and of the logits of Prop. 1."""
    reference, settings = REFERENCES[name]
    rows, isda = example()
    added = (isda.augmented(rows).logits - rows.logits).detach().double()
    features, head = rows.features.detach().double().requires_grad_(), isda.head.double()
    for options in settings:
        loss = build(name, **options).double()
        config = vars(LOSSES.config(name)(**options))
        trained = [features, head.weight, *loss.parameters()][: 2 if name == "center" else None]
        for extra in (0.0, added):
            given = Rows(head(features) + extra, features, rows.labels)
            values = loss(given, head, STEP), reference(given, head=head, loss=loss, **config)
            torch.testing.assert_close(*values)
            ours, theirs = (
                torch.autograd.grad(value, trained, retain_graph=True) for value in values
            )
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", LOSSES)
def test_it_changes_the_training(name: str) -> None:
    """With ISDA and without; a loss that is not asked for changes nothing."""
    for isda in (None, IsdaConfig()):
        plain, changed = trained("cross_entropy", isda), trained(name, isda)
        differs = [
            not torch.equal(p, q)
            for p, q in zip(plain.parameters(), changed.parameters(), strict=True)
        ]
        assert all(differs[:3]) is (name != "cross_entropy")


def trained(name: str, isda: IsdaConfig | None) -> nn.Module:
    """A network after four steps of SGD, with the parameters that the loss has of its own."""
    network = tiny.student()
    options = {"disturbed_share": 0.5} if name == "disturb_label" else {}
    loss = build(name, **options).double()
    network = loss.prepared(network)
    objective = Objective(tiny.build("supervised", network), isda, C, A, loss=loss).double()
    parameters = [p for p in [*network.parameters(), *loss.parameters()] if p.requires_grad]
    before = [p.detach().clone() for p in parameters]
    for t in range(4):
        total = objective(network, tiny.batch(t, 0), tiny.step(t)).total
        for p, g in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            p.data -= 0.1 * g
    assert not any(map(torch.equal, parameters, before)), "every parameter is trained"
    return network


@pytest.mark.parametrize("name", LOSSES)
def test_its_own_parameters_are_in_its_groups_and_in_checkpoints(name: str) -> None:
    loss = build(name)
    grouped = [id(p) for group in loss.groups() for p in group.parameters]
    assert sorted(grouped) == sorted(map(id, loss.parameters()))
    assert loss.state_dict().keys() == {key for key, _ in loss.named_parameters()}


# ---- one by one


def test_cross_entropy_of_augmented_logits_is_prop_1_to_the_bit() -> None:
    rows, isda = example()
    ours = build("cross_entropy")(isda.augmented(rows), isda.head, STEP)
    expected = isda_cross_entropy(
        rows.logits, rows.labels, isda.head.weight, isda.covariance, isda.strength
    )
    assert torch.equal(ours, expected)
    gradients = (
        torch.autograd.grad(x, isda.head.weight, retain_graph=True)[0] for x in (ours, expected)
    )
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("over", "share"), [("all", 0.3), ("others", 0.3 * C / (C - 1))])
def test_smoothed_labels_of_augmented_logits_are_the_bound_of_prop_1(over, share: float) -> None:
    """So more strength asks for more; the smoothed cross-entropy of those logits would ask for less."""
    rows, isda = example()
    head, covariance = isda.head.double(), isda.covariance.double()
    features = rows.features.detach().double().requires_grad_()
    given = Rows(head(features), features, rows.labels)
    loss = build("label_smoothing", smoothing=0.3, smoothing_over=over)
    values = []
    for strength in (0.0, 0.5, 2.0, 8.0):
        config = IsdaConfig(lambda_0=strength, lambda_schedule="constant")
        ours = loss(IsdaTerms(config, covariance, head, STEP).augmented(given), head, STEP)
        shared = (head.weight, covariance, strength)
        expected = isda_cross_entropy(given.logits, rows.labels, *shared, label_smoothing=share)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)
        trained = [features, head.weight]
        gradients = (torch.autograd.grad(x, trained, retain_graph=True) for x in (ours, expected))
        torch.testing.assert_close(*gradients)
        values.append(ours.item())
    assert values == sorted(values)


def test_of_draws_the_smoothed_cross_entropy_is_taken() -> None:
    rows, isda = example()
    isda = replace(isda, config=IsdaConfig(augmentation="explicit", augmentation_samples=2))
    drawn = isda.augmented(rows)
    ours = build("label_smoothing", smoothing=0.3)(drawn, isda.head, STEP)
    assert torch.equal(ours, F.cross_entropy(drawn.logits, drawn.labels, label_smoothing=0.3))


def test_more_smoothing_than_leaves_the_true_class_its_part_is_refused() -> None:
    LOSSES["label_smoothing"](
        LOSSES.config("label_smoothing")(smoothing=0.75, smoothing_over="others"), num_classes=4
    )
    with pytest.raises(UsageError, match="true of 3 classes less than each other one: at most 2/3"):
        build("label_smoothing", smoothing=0.75, smoothing_over="others")


def test_limits_are_cross_entropy() -> None:
    rows, isda = example()
    plain = F.cross_entropy(rows.logits, rows.labels)
    exact = [build("label_smoothing", smoothing=0.0), build("disturb_label", disturbed_share=0.0)]
    near = [build("focal", focal_alpha=1.0, focal_gamma=0.0), build("lq", lq_power=1e-6)]
    near.append(build("center", center_weight=0.0))
    assert all(torch.equal(loss(rows, isda.head, STEP), plain) for loss in exact)
    for loss in near:
        torch.testing.assert_close(loss(rows, isda.head, STEP), plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_sure_and_hopeless_rows_and_features_of_zero_are_finite(name: str) -> None:
    head = nn.Linear(A, C)
    logits = torch.tensor([[200.0, 0, 0], [-200.0, 0, 0], [0, 0, 0]], requires_grad=True)
    features = torch.zeros(3, A, requires_grad=True)
    options = {"focal_gamma": 0.5} if name == "focal" else {}
    value = build(name, **options)(
        Rows(logits + head(features), features, torch.zeros(3, dtype=torch.int64)), head, STEP
    )
    for gradient in torch.autograd.grad(value, [logits, features, head.weight]):
        assert gradient.isfinite().all()
    assert value.isfinite()


def test_disturbed_labels_are_label_smoothing_in_the_mean() -> None:
    """Over many steps; each step and each seed has draws of its own."""
    rows, loss = example()[0], build("disturb_label", disturbed_share=0.3)
    labels = torch.stack([loss.disturbed(rows.labels, Step(t, 4000, 9)) for t in range(4000)])
    smooth = 0.7 * F.one_hot(rows.labels, C) + 0.3 / C
    assert (F.one_hot(labels, C).double().mean(0) - smooth).abs().max() < 0.03
    other = torch.stack([loss.disturbed(rows.labels, Step(t, 4000, 9, seed=1)) for t in range(9)])
    assert len(labels[:9].unique(dim=0)) > 5 and not torch.equal(labels[:9], other)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_the_margin_falls_with_the_angle_without_a_jump(margin: int) -> None:
    theta = torch.linspace(0, math.pi, 5000, dtype=torch.float64)
    values = psi(theta.cos(), margin)
    steps = values.diff()
    assert steps.max() <= 1e-9 and steps.min() > -0.01
    assert values[0] == 1 and values[-1] == pytest.approx(1 - 2 * margin)


def test_large_margin_needs_no_bias() -> None:
    """It is zero in the run and stays; in a loop of one's own it gets no gradient."""
    network = trained("large_margin", None)
    assert (network.head.bias == 0).all() and not network.head.bias.requires_grad
    rows, isda = example()
    value = build("large_margin")(rows, isda.head, STEP)
    assert torch.autograd.grad(value, isda.head.bias)[0].abs().max() < 1e-7


def test_centres_go_to_the_means_at_a_rate_of_their_own() -> None:
    """Their gradient does not know the weight, and weight decay leaves them alone."""
    rows, isda = example()
    gradients = []
    for weight in (0.003, 3.0):
        loss = build("center", center_weight=weight)
        value = loss(rows, isda.head, STEP)
        gradients.append(torch.autograd.grad(value, loss.centres, retain_graph=True)[0])
    assert torch.equal(*gradients)
    mine = rows.labels == 1
    expected = 2 / N * (loss.centres[1] - rows.features[mine]).sum(0)
    torch.testing.assert_close(gradients[0][1], expected)
    (group,) = loss.groups()
    assert (group.rate_scale, group.weight_decay) == (5.0, 0.0)


def test_deviations_are_kept_large_and_no_larger() -> None:
    rows, isda = example()
    for spread, is_trained in ((0.01, False), (50.0, True)):
        loss = build("distributionnet", draw_weight=0.0, spread_weight=1.0, spread=spread)
        gradient = torch.autograd.grad(
            loss(rows, isda.head, STEP), loss.deviation.bias, retain_graph=True
        )[0]
        assert bool((gradient < 0).all()) is is_trained
