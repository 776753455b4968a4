"""Second derivatives, torch.func and torch.compile: right, or an error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from ssl_isda.isda import variances
from ssl_isda.isda.covariance import ClassCovariance
from ssl_isda.isda.learned import LearnedCovariance
from ssl_isda.isda.propositions import (
    augmented_logits,
    centered_semantic_consistency,
    isda_cross_entropy,
    sampled_isda_cross_entropy,
    sampled_semantic_consistency,
    second_order_consistency,
    semantic_consistency,
    soft_isda_cross_entropies,
    variance_table,
)
from ssl_isda.isda.variances import variance_to_target
from tests.ssl_isda.isda.test_propositions import FORMS

N, C, A = 3, 3, 2
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

Loss = Callable[..., Tensor]


class Given:
    """Inputs, and a covariance of some form in which one class was never seen."""

    def __init__(self, form: str) -> None:
        g = torch.Generator().manual_seed(0)
        f64 = {"generator": g, "dtype": torch.float64}
        self.logits, self.features = torch.randn(N, C, **f64), torch.randn(N, A, **f64)
        self.weight, self.bias = torch.randn(C, A, **f64), torch.randn(C, **f64)
        self.soft = torch.rand(N, C, **f64).softmax(1)
        self.labels = torch.tensor([0, 2, -100])
        self.covariance: ClassCovariance | LearnedCovariance
        if form == "learned":
            self.covariance = LearnedCovariance(C, A).double()
            self.covariance.root.data += 0.3 * torch.randn(C, A, A, **f64)
        else:
            self.covariance = ClassCovariance(C, A, form).double()
            self.covariance.update(torch.randn(30, A, **f64), torch.arange(30) % (C - 1))

    def losses(self) -> dict[str, Loss]:
        """Of logits and weight; what they hold constant is so here too."""
        sigma, y, p = self.covariance, self.labels, self.logits.softmax(1)
        options = {"class_weight": torch.tensor([0.5, 2.0, 1.0]), "label_smoothing": 0.2}
        return {
            "prop. 1": lambda z, w: isda_cross_entropy(z, y, w, sigma, 0.7),
            "options": lambda z, w: isda_cross_entropy(z, y, w, sigma, 0.7, **options),
            "mixture": lambda z, w: isda_cross_entropy(z, self.soft, w, sigma, 0.7),
            "augmented": lambda z, w: augmented_logits(z, y, w, sigma, 0.7).square(),
            "table": lambda z, w: variance_table(w, sigma, torch.tensor([0, 2])) * z.sum(),
            "prop. 2": lambda z, w: soft_isda_cross_entropies(z, p, w, sigma, 0.7),
            "second order": lambda z, w: second_order_consistency(z, w, sigma, 0.7),
            "own p": lambda z, w: semantic_consistency(self.logits, w, sigma, 0.7) * z.sum(),
            "centered": lambda z, w: (
                centered_semantic_consistency(self.logits, w, sigma, 0.7) * z.sum()
            ),
        }

    def inputs(self) -> tuple[Tensor, Tensor]:
        return self.logits.clone().requires_grad_(), self.weight.clone().requires_grad_()


@pytest.mark.fault(47)
@pytest.mark.parametrize("form", [*FORMS, "learned"])
def test_fault_47_second_derivatives_are_those_of_the_losses(form: str) -> None:
    given = Given(form)
    for name, loss in given.losses().items():
        assert gradcheck(loss, given.inputs(), check_batched_grad=True), name
        assert gradgradcheck(loss, given.inputs()), name


def test_diagonals_without_differences_of_weights_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A class's own variance is 0 to the bit, and an update before the backward pass changes nothing."""
    given, classes = Given("diagonal"), torch.arange(C)

    def found(most: int) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr(variances, "MOST_DIFFERENCES", most)
        weight = given.weight.clone().requires_grad_()
        return weight, variance_to_target(weight, given.covariance, classes)

    (first, expected), (second, variance) = found(10**9), found(0)
    torch.testing.assert_close(variance, expected, rtol=1e-12, atol=1e-12)
    assert not variance.diagonal().any() and expected[0, 1] > 0
    given.covariance.update(given.features, given.labels)
    for value in (expected, variance):
        value.square().sum().backward()
    torch.testing.assert_close(second.grad, first.grad, rtol=1e-12, atol=1e-12)
    for loss in (given.losses()["prop. 1"], given.losses()["options"]):
        assert gradcheck(loss, given.inputs()) and gradgradcheck(loss, given.inputs())


@pytest.mark.parametrize("form", ["full", "learned"])
def test_second_derivatives_of_the_sampled_losses(form: str) -> None:
    given = Given(form)

    def supervised(a: Tensor, w: Tensor, b: Tensor) -> Tensor:
        draws = {"num_samples": 2, "generator": torch.Generator().manual_seed(0)}
        return sampled_isda_cross_entropy(a, given.labels, w, b, given.covariance, 0.7, **draws)

    def semantic(w: Tensor) -> Tensor:  # of a zero feature, whose p does not depend on w
        draws = {"num_samples": 2, "generator": torch.Generator().manual_seed(0)}
        zero = torch.zeros_like(given.features)
        return sampled_semantic_consistency(zero, w, given.bias, given.covariance, 0.7, **draws)

    leaves = [x.clone().requires_grad_() for x in (given.features, given.weight, given.bias)]
    assert gradgradcheck(supervised, leaves) and gradcheck(supervised, leaves)
    assert gradgradcheck(semantic, leaves[1]) and gradcheck(semantic, leaves[1])


def test_the_learned_covariance_has_second_derivatives_too() -> None:
    given = Given("learned")
    root = given.covariance.root.detach().clone().requires_grad_()

    def loss(root: Tensor) -> Tensor:
        del given.covariance.root
        given.covariance.root = root
        each = given.losses()
        return each["prop. 1"](given.logits, given.weight) + each["mixture"](
            given.logits, given.weight
        )

    del given.covariance._parameters["root"]
    given.covariance.root = root
    assert gradcheck(loss, root) and gradgradcheck(loss, root)


def test_targets_have_derivatives_too_where_a_class_has_no_share() -> None:
    given = Given("full")
    target = torch.tensor([[1.0, 0.0, 0.0], [0.3, 0.0, 0.7], [0.5, 0.0, 0.5]]).double()

    def loss(y: Tensor) -> Tensor:
        return isda_cross_entropy(given.logits, y, given.weight, given.covariance, 0.7)

    assert gradcheck(loss, target.requires_grad_()) and gradgradcheck(loss, target)


def test_a_prediction_held_constant_is_so_in_derivatives_of_every_order() -> None:
    given = Given("full")
    hessians = []
    for loss in (
        lambda z: semantic_consistency(z, given.weight, given.covariance, 0.7),
        lambda z: given.losses()["prop. 2"](z, given.weight).mean(),
    ):
        hessians.append(torch.autograd.functional.hessian(loss, given.logits))
    torch.testing.assert_close(*hessians)
    assert hessians[0].abs().max() > 0.01


def test_an_update_between_loss_and_second_derivative_is_an_error() -> None:
    """The first derivative is exact all the same: it is that of the loss."""
    given = Given("full")
    for name in ("prop. 1", "mixture"):
        z, w = given.inputs()
        loss = given.losses()[name](z, w)
        (before,) = torch.autograd.grad(loss, w, retain_graph=True)
        (twice,) = torch.autograd.grad(loss, w, create_graph=True)
        given.covariance.update(given.features, torch.tensor([0, 1, 2]))
        (after,) = torch.autograd.grad(loss, w, retain_graph=True)
        assert torch.equal(before, after)
        with pytest.raises(RuntimeError, match="update before the loss, and take both"):
            torch.autograd.grad(loss, w, create_graph=True)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(twice.sum(), w)


@pytest.mark.fault(47)
@pytest.mark.parametrize("form", ["full", "diagonal", "shared", "learned"])
def test_fault_47_torch_func_differentiates_and_batches(form: str) -> None:
    """Gradients, those of each row, those of several heads at once, and second derivatives."""
    given = Given(form)
    for name in ("prop. 1", "options", "mixture", "second order"):
        loss, (z, w) = given.losses()[name], given.inputs()
        expected = torch.autograd.grad(loss(z, w), (z, w))
        found = torch.func.grad(loss, argnums=(0, 1))(given.logits, given.weight)
        torch.testing.assert_close(found, expected)
        heads = torch.stack([given.weight, 2 * given.weight])
        each = torch.func.vmap(lambda w, loss=loss: torch.func.grad(loss, 1)(given.logits, w))
        torch.testing.assert_close(each(heads)[0], expected[1])
        hessians = [
            hessian(lambda w, loss=loss: loss(given.logits, w), given.weight)
            for hessian in (
                lambda f, w: torch.func.jacrev(torch.func.jacrev(f))(w),
                torch.autograd.functional.hessian,
            )
        ]
        torch.testing.assert_close(*hessians)


@pytest.mark.parametrize("target", ["labels", "soft"])
def test_gradients_of_each_row(target: str) -> None:
    given = Given("full")

    def of_row(z: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return isda_cross_entropy(z[None], y[None], w, given.covariance, 0.7)

    each = torch.func.vmap(torch.func.grad(of_row, argnums=2), in_dims=(0, 0, None))
    found = each(given.logits, getattr(given, target), given.weight)
    for i, gradient in enumerate(found):
        w = given.weight.clone().requires_grad_()
        loss = of_row(given.logits[i], getattr(given, target)[i], w)
        torch.testing.assert_close(gradient, torch.autograd.grad(loss, w)[0])
    labels = torch.tensor([0, 1, 7])
    losses = torch.func.vmap(of_row, in_dims=(0, 0, None))(given.logits, labels, given.weight)
    assert losses.isnan().tolist() == [False, False, True]


def test_torch_func_cannot_update() -> None:
    given = Given("full")

    def loss(features: Tensor) -> Tensor:
        given.covariance.update(features, given.labels)
        return features.sum()

    with pytest.raises(RuntimeError, match="call it before the transform"):
        torch.func.grad(loss)(given.features)


COMPILED = """
import copy
import torch
from ssl_isda import ISDALoss, SemanticConsistency

torch.set_num_threads(1)
torch.manual_seed(0)
C, A, N = 4, 3, 6
head = torch.nn.Linear(A, C)
cases = {
    "full": torch.tensor([0, 1, 2, 0, -100, 3]),
    "shared": torch.rand(N, C).softmax(1),
}
for form, labels in cases.items():
    isda = ISDALoss(C, A, 3, lambda_0=4.0, form=form)
    isda.covariance.update(torch.randn(40, A), torch.arange(40) % C)
    semantic = SemanticConsistency(isda)

    def step(features, labels, unlabeled, isda, semantic):
        return isda(features, labels, head) + semantic(unlabeled, head)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        twin = copy.deepcopy(isda)
        x, u = (torch.randn(N, A, requires_grad=True) for _ in range(2))
        losses = (
            compiled(x, labels, u, isda, semantic),
            step(x, labels, u, twin, SemanticConsistency(twin)),
        )
        torch.testing.assert_close(*losses)
        inputs = [x, u, *head.parameters()]
        for pair in zip(*(torch.autograd.grad(loss, inputs) for loss in losses)):
            torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-6)
        for pair in zip(isda.state_dict().values(), twin.state_dict().values()):
            torch.testing.assert_close(*pair)

    if form == "full":
        kept = compiled, isda, semantic

compiled, isda, semantic = kept
before = copy.deepcopy(isda)
u, none = torch.zeros(N, A, requires_grad=True), torch.full((N,), -100)
ignored = compiled(x, none, u, isda, semantic) - semantic(u, head)
assert ignored.abs() < 1e-6
for name, buffer in before.covariance.state_dict().items():
    assert torch.equal(isda.covariance.get_buffer(name), buffer)
x = torch.randn(N, A)
x[1] = torch.inf
x.requires_grad_()
compiled(x, torch.tensor([0, 1, 2, 9, 1, 3]), u, isda, semantic)
new = isda.covariance.count - before.covariance.count
assert new.tolist() == [1, 1, 1, 1] and isda.covariance.scatter.isfinite().all()
try:
    isda.covariance.tell_labels_outside()
except ValueError as error:
    assert str(error) == "labels are 0 to 3, or ignore_index; an earlier batch had 9"
    print("told")
"""


@pytest.mark.fault(47)
@pytest.mark.slow
def test_fault_47_they_compile_without_a_break(tmp_path: Path) -> None:
    """In a process of its own, where no checker of shapes stands between. Values, gradients and
    statistics are those of the loop that is not compiled."""
    child = subprocess.run(
        [sys.executable, "-c", COMPILED],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    assert child.stdout == "told\n"
