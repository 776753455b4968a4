"""What holds for every method, with ISDA and without, on every data set's shapes."""

from __future__ import annotations

import copy
import dataclasses
import importlib

import pytest
import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.precision import autocast
from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.models import CNN13, MLP
from ssl_isda.models.contract import Network
from ssl_isda.models.linear import Linear
from ssl_isda.training.method import METHODS, Method
from ssl_isda.training.objective import Objective
from tests.methods import tiny

importlib.import_module("ssl_isda.methods")
FIRST = ("mean_teacher", "pi_model", "pseudo_label", "supervised", "temporal_ensembling", "vat")
"""The others see fewer shapes."""
SHAPES = {
    "cifar10": (10, 3, 32, 32),
    "cifar100": (100, 3, 32, 32),
    "svhn": (10, 3, 32, 32),
    "digits": (10, 1, 16, 16),
    "folder": (4, 3, 48, 48),
    "vectors": (5, 24),
}

CELLS = [(name, each) for name in sorted(METHODS) for each in SHAPES]
CELLS.remove(("remixmatch", "vectors"))  # it turns images
CELLS = [cell for cell in CELLS if cell[0] in FIRST or cell[1] not in ("cifar10", "svhn")]


def objective_for(name: str, isda: bool, dataset: str) -> tuple[Network, Objective]:
    num_classes, *shape = SHAPES[dataset]
    torch.manual_seed(0)
    student: Network = (
        MLP(num_classes, *shape, hidden=8, features=6, dropout=0.3)
        if dataset == "vectors"
        else CNN13(num_classes, width=0.06, in_channels=shape[0])
    )
    config = METHODS.config(name)()
    if hasattr(config, "threshold"):  # so that labels of an untrained network count
        config = dataclasses.replace(config, threshold=0.0)
    if hasattr(config, "smallest_threshold"):  # a loss
        config = dataclasses.replace(config, smallest_threshold=10.0)
    method = METHODS[name](config, student=student, num_images=20, num_classes=num_classes)
    isda_config = IsdaConfig() if isda else None
    return student, Objective(method, isda_config, num_classes, student.head.in_features)


def synthetic_batch(t: int, method: Method, dataset: str) -> Batch:
    num_classes, *shape = SHAPES[dataset]
    g = torch.Generator().manual_seed(t)
    images = torch.randn(4, *shape, generator=g)
    views, labeled_views = (
        tuple(torch.randn(n, *shape, generator=g) for _ in each)
        for n, each in ((5, method.views), (4, method.labeled_views))
    )
    labels = torch.randint(0, num_classes, (4,), generator=g)
    return Batch(images, labels, views, torch.randperm(20, generator=g)[:5], labeled_views)


def steps_taken(student, objective, dataset: str, first: int, last: int, precision="fp32"):
    """Plain SGD; the terms of each step."""
    every = []
    for t in range(first, last):
        step = Step(t, num_steps=8, steps_per_epoch=2, seed=1)
        with autocast(torch.device("cpu"), precision):
            batch = synthetic_batch(t, objective.regularizer, dataset)
            terms = objective(student, batch, step)
        tiny.descend(student, terms.total, rate=0.01)
        objective.regularizer.after_step(student, step)
        every.append(terms)
    return every


@pytest.mark.parametrize(("name", "dataset"), CELLS)
@pytest.mark.parametrize("isda", [False, True])
def test_losses_are_finite_and_every_weighted_term_moves_the_student(name, isda, dataset) -> None:
    student, objective = objective_for(name, isda, dataset)
    steps_taken(student, objective, dataset, 0, 3)
    step = Step(4, num_steps=8, steps_per_epoch=2, seed=1)
    batch = synthetic_batch(4, objective.regularizer, dataset)
    terms = objective(student, batch, step)
    expected = {"supervised"} if name == "supervised" else {"supervised", "consistency"}
    expected |= {"semantic"} if isda and METHODS[name].views and METHODS[name].semantic else set()
    assert terms.losses.keys() == terms.weights.keys() == expected
    assert torch.isfinite(terms.total)
    for term, loss in terms.losses.items():
        assert terms.weights[term] > 0
        body = [p for n, p in student.named_parameters() if not n.startswith("head")]
        gradients = torch.autograd.grad(loss, body, retain_graph=True)
        assert all(torch.isfinite(g).all() for g in gradients)
        assert all(g.abs().sum() > 0 for g in gradients[:1]), f"{term} does not move the student"


@pytest.mark.parametrize("isda", [False, True])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_state_dict_is_the_whole_state(name: str, isda: bool) -> None:
    """Saved in the middle of an epoch and loaded into fresh objects, training goes on to the bit."""
    student, objective = objective_for(name, isda, "digits")
    steps_taken(student, objective, "digits", 0, 3)
    saved = copy.deepcopy((student.state_dict(), objective.state_dict()))
    expected = steps_taken(student, objective, "digits", 3, 8)

    student, objective = objective_for(name, isda, "digits")
    student.load_state_dict(saved[0])
    objective.load_state_dict(saved[1])
    again = steps_taken(student, objective, "digits", 3, 8)
    assert [t.total.item() for t in again] == [t.total.item() for t in expected]


def of_features(network: tiny.TinyClassifier, batch: Batch) -> Batch:
    """The features of the batch's images in their place."""
    with torch.no_grad():
        views, labeled_views = (
            tuple(map(network.features, each)) for each in (batch.views, batch.labeled_views)
        )
        return Batch(
            network.features(batch.images), batch.labels, views, batch.indices, labeled_views
        )


@pytest.mark.parametrize("name", sorted(METHODS))
def test_features_can_stand_in_for_images_unless_the_method_says_why_not(name: str) -> None:
    """A network of one linear layer gives their losses, where a method asks for views alone."""
    network, head = tiny.student(), Linear(tiny.C, tiny.A).double()
    head.head.load_state_dict(network.head.state_dict())
    step, losses = tiny.step(5), []
    for student in (network, head):
        method = tiny.build(name, student, **tiny.LIVELY.get(name, {}))
        batch = tiny.batch(5, len(method.views), labeled_views=len(method.labeled_views))
        given = of_features(network, batch) if student is head else batch
        try:
            losses.append(
                Objective(method, None, tiny.C, tiny.A)(student, given, step).total.item()
            )
        except UsageError:
            losses.append(float("nan"))
    assert (losses[0] == pytest.approx(losses[1], rel=1e-9)) != bool(METHODS[name].needs_images)


@pytest.mark.parametrize("isda", [False, True])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_trains_under_bf16_autocast(name: str, isda: bool) -> None:
    student, objective = objective_for(name, isda, "digits")
    (first, *_) = student.parameters()
    for terms in steps_taken(student, objective, "digits", 0, 4, "bf16"):
        assert terms.total.dtype == torch.float32 and torch.isfinite(terms.total)
    with autocast(torch.device("cpu"), "bf16"):
        batch = synthetic_batch(4, objective.regularizer, "digits")
        terms = objective(student, batch, Step(4, num_steps=8, steps_per_epoch=2, seed=1))
    for loss in terms.losses.values():  # a pass without a graph must not leave its weights behind
        (gradient,) = torch.autograd.grad(loss, first, retain_graph=True)
        assert gradient.norm() > 0


@pytest.mark.parametrize("name", ["pi_model", "vat"])  # one pass for both streams, and two
@pytest.mark.parametrize("covariance", ["full", "learned"])
def test_sampled_features_train_under_bf16_autocast(name: str, covariance: str) -> None:
    student, objective = objective_for(name, True, "digits")
    isda = IsdaConfig(
        covariance=covariance,
        uncertainty_weight=0.1 if covariance == "learned" else None,
        augmentation="explicit",
        augmentation_samples=3,
    )
    objective = Objective(objective.regularizer, isda, 10, student.head.in_features)
    batch = synthetic_batch(4, objective.regularizer, "digits")
    with autocast(torch.device("cpu"), "bf16"):
        terms = objective(student, batch, Step(4, num_steps=8, steps_per_epoch=2, seed=1))
    body = [p for n, p in student.named_parameters() if not n.startswith("head")]
    for term in ("supervised", "semantic"):
        assert terms.losses[term].dtype == torch.float32 and torch.isfinite(terms.losses[term])
        (gradient, *_) = torch.autograd.grad(terms.losses[term], body, retain_graph=True)
        assert gradient.norm() > 0, f"{term} does not move the student"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_outer_randomness_is_neither_used_nor_touched(name: str) -> None:
    def losses(outer_seed: int) -> list[float]:
        student, objective = objective_for(name, True, "digits")
        torch.manual_seed(outer_seed)
        before = torch.get_rng_state()
        taken = steps_taken(student, objective, "digits", 0, 3)
        assert torch.equal(torch.get_rng_state(), before)
        return [t.total.item() for t in taken]

    assert losses(1) == losses(2)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_lambda_and_eta_zero_is_the_method_alone(name: str) -> None:
    with_isda, alone = (
        tiny.train(name, 6, isda=config)[2]
        for config in (IsdaConfig(lambda_0=0.0, eta_1=0.0), None)
    )
    assert with_isda == pytest.approx(alone, rel=1e-14)  # soft targets are summed otherwise


def losses_with(isda: IsdaConfig | None) -> dict[str, torch.Tensor]:
    """Of a step of the Pi-model, after others that showed the covariances each class more than once."""
    student, objective = objective_for("pi_model", isda is not None, "digits")
    if isda:
        objective = Objective(objective.method, isda, 10, student.head.in_features)
    step = Step(7, num_steps=8, steps_per_epoch=2, seed=1)
    return [
        objective(student, synthetic_batch(t, objective.method, "digits"), step).losses
        for t in range(8)
    ][-1]


@pytest.mark.parametrize("images", ["both", "labeled", "unlabeled"])
def test_isda_is_about_the_images_that_are_asked_for(images: str) -> None:
    plain, full = losses_with(None), losses_with(IsdaConfig())
    some = losses_with(IsdaConfig(isda_images=images))
    assert some["supervised"] == (plain if images == "unlabeled" else full)["supervised"]
    assert full["supervised"] != plain["supervised"]
    assert some.get("semantic") == (None if images == "labeled" else full["semantic"])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_isda_of_unlabeled_images_alone_is_refused_where_they_have_no_term_of_it(name: str) -> None:
    isda = IsdaConfig(isda_images="unlabeled", lambda_schedule="constant")
    if name in ("ict", "mixmatch", "supervised"):
        with pytest.raises(UsageError, match="--isda-images unlabeled: the method has no term"):
            tiny.train(name, 1, isda=isda)
    else:
        assert tiny.train(name, 4, isda=isda)[2] != tiny.train(name, 4)[2]


def test_a_matched_strength_enters_both_terms() -> None:
    form = {"covariance": "rotated"}
    unmatched, matched = (
        losses_with(IsdaConfig(**form, matched_strength=m)) for m in (False, True)
    )
    assert all(matched[term] != unmatched[term] for term in ("supervised", "semantic"))
