"""Random weights of branches: as the papers say, and the same again from the same key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.models.pyramidnet import PyramidNet
from ssl_isda.models.shaking import ShakeDrop, ShakeShake
from ssl_isda.training.batchnorm import separate_pass
from ssl_isda.training.trainer import Trainer
from tests.narrow_networks import RANDOM, build
from tests.several_processes import build as build_trainer

IMAGES = 4000


def weights(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    """The factor of each image on the way forth, then on the way back to each input: all are ones."""
    back = torch.autograd.grad(y.sum(), inputs)
    assert all((each == each[:, :1, :1, :1]).all() for each in (y, *back))
    return [each[:, 0, 0, 0].detach() for each in (y, *back)]


def ones() -> Tensor:
    return torch.ones(IMAGES, 2, 1, 3, dtype=torch.float64, requires_grad=True)


def test_shake_shake_weighs_each_image_forth_and_back_independently() -> None:
    """alpha and 1 - alpha of the branches forth, beta and 1 - beta back."""
    torch.manual_seed(0)
    u, v = ones(), torch.zeros_like(ones(), requires_grad=True)
    alpha, beta, rest = weights(ShakeShake()(u, v), u, v)
    for drawn in (alpha, beta):
        assert 0 <= drawn.min() < 0.01 and 0.99 < drawn.max() <= 1
        assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.corrcoef(torch.stack([alpha, beta]))[0, 1].abs() < 0.05
    torch.testing.assert_close(rest, 1 - beta)
    total, *_ = weights(ShakeShake()(u, ones()), u)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_shake_drop_is_the_branch_itself_or_disturbs_it_each_image_otherwise() -> None:
    """One gate for a pass; alpha ~ U(-1, 1) forth, beta ~ U(0, 1) back."""
    torch.manual_seed(0)
    kept = 0
    for _ in range(200):
        x = ones()
        forth, back = weights(ShakeDrop(0.25)(x), x)
        if bool((forth == 1).any()):
            kept += 1
            assert (forth == 1).all() and (back == 1).all()
            continue
        assert -1 <= forth.min() < -0.99 and 0.99 < forth.max() <= 1
        assert 0 <= back.min() < 0.01 and 0.99 < back.max() <= 1
        assert torch.corrcoef(torch.stack([forth, back]))[0, 1].abs() < 0.1
    assert 130 < kept < 170


def test_evaluation_takes_the_expectation() -> None:
    u, v = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    assert torch.equal(ShakeShake().eval()(u, v), (u + v) / 2)
    torch.testing.assert_close(ShakeDrop(0.3).eval()(u), 0.7 * u)


def test_shake_drop_grows_linearly_to_its_last_block() -> None:
    drops = [m.probability for m in PyramidNet(20, 9, 3).modules() if isinstance(m, ShakeDrop)]
    assert drops == pytest.approx([k / 12 for k in range(1, 7)])


@pytest.mark.parametrize("name", RANDOM)
def test_a_pass_draws_anew_unless_its_step_and_purpose_are_the_same(name: str) -> None:
    """VAT's passes share their draws, the Π-model's have each their own; evaluation draws nothing."""
    torch.manual_seed(0)
    always = {"drop_probability": 1.0} if name.startswith("pyramid") else {}
    network, images = build(name, **always), torch.randn(8, 3, 16, 16)

    def logits(step: int, purpose: str) -> Tensor:
        return separate_pass(network, images, Step(step, 9, 3), purpose).logits.detach()

    first = logits(3, "unlabeled pass")
    torch.rand(5)  # what else is drawn in between changes nothing
    assert torch.equal(first, logits(3, "unlabeled pass"))
    others = [logits(4, "unlabeled pass"), logits(3, "second view")]
    assert not any(torch.equal(first, other) for other in others)
    network.eval()
    assert torch.equal(logits(3, "a"), logits(4, "b"))


class Killed(Exception):
    """Stands for kill -9."""


class Batches:
    """Those of a trainer, until one of them kills it."""

    def __init__(self, batches: Any, last: int) -> None:
        self.batches, self.last = batches, last

    def batch(self, step: Step) -> Any:
        if step.index == self.last:
            raise Killed
        return self.batches.batch(step)


def trainer_of(name: str, method: str, folder: Path) -> Trainer:
    trainer = build_trainer(method, "isda", torch.float32, folder, name)
    trainer.config = dataclasses.replace(trainer.config, num_steps=5, checkpoint_epochs=1)
    return trainer


RESUMED = [
    ("shake_shake_26_2x32d", "mean_teacher"),
    ("shake_shake_26_2x32d", "vat"),
    ("pyramidnet272", "mean_teacher"),
    ("pyramidnet272", "vat"),
    ("wrn_16_8", "vat"),
    ("densenet_bc_100_12", "pi_model"),
    ("se_resnet110", "mean_teacher"),
    ("resnext29_8x64d", "supervised"),
    ("wrn_37_2", "supervised"),
    ("timm", "mean_teacher"),
    ("torchvision", "supervised"),
]


@pytest.mark.fault(2)
@pytest.mark.parametrize(("name", "method"), RESUMED, ids="-".join)
def test_fault_2_a_killed_run_ends_bit_identical(name: str, method: str, tmp_path: Path) -> None:
    """A network of each family, with dropout where it has some."""
    folders = [tmp_path / word for word in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    whole = trainer_of(name, method, folders[0])
    whole.run()
    killed = trainer_of(name, method, folders[1])
    killed.data = Batches(killed.data, last=4)
    with pytest.raises(Killed):
        killed.run()
    torch.manual_seed(99)
    resumed = trainer_of(name, method, folders[1])
    assert resumed.resume() and resumed.next_step == 3
    resumed.run()
    states = [each.state() for each in (whole, resumed)]
    assert states[0]["next_step"] == states[1]["next_step"] == 5
    for part in ("student", "objective"):
        assert all(torch.equal(v, states[1][part][k]) for k, v in states[0][part].items())


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about its compiler
def test_a_network_that_draws_is_one_graph_for_the_compiler() -> None:
    torch.manual_seed(0)
    network, images = build("pyramidnet272"), torch.randn(4, 3, 16, 16)
    traced = torch.compile(network, backend="eager", fullgraph=True)
    found = []
    for each in (network, traced):
        torch.manual_seed(1)
        found.append(each(images).logits)
    assert torch.equal(*found)
    gradients = [torch.autograd.grad(logits.sum(), list(network.parameters())) for logits in found]
    assert all(map(torch.equal, *gradients))
