"""The forward and backward passes that each method cannot do without, and SGD, written out by hand.

Images are ready, losses are the plainest ones, nothing is drawn, averaged or recorded.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.precision import autocast
from ssl_isda.training.compilation import compile_networks
from tests.benchmarks.measurement import Settings
from tests.benchmarks.training import network as network_of

WEAK_AND_STRONG = ("dash", "fixmatch", "flexmatch", "freematch", "softmatch", "uda")
_IMAGES = {"adamatch": 3, "mixmatch": 2, "remixmatch": 5} | dict.fromkeys(WEAK_AND_STRONG, 2)
"""Images in the one batch of a method with more than two views, for each unlabeled one."""


@dataclass(frozen=True)
class Bare:
    """A network and one fixed batch of prepared images, in channels_last order."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    labeled: Tensor
    labels: Tensor
    unlabeled: Tensor
    joined: Tensor
    more: Tensor
    """The labeled images and all others of a method with more than two views."""
    settings: Settings

    def predict(self, images: Tensor, *, network: nn.Module | None = None) -> Tensor:
        with autocast(self.settings.device, self.settings.precision):
            return (network or self.network)(images)[0]

    def descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def build(
    method: str,
    *,
    isda: bool,
    num_classes: int,
    settings: Settings,
    channels_last: bool = True,
    model: str = "cnn13",
    ratio: int = 1,
) -> Callable[[], None]:
    """A call that does the bare passes of one step of ``method``, compiled where ours are, with ``ratio``
    unlabeled images for each labeled one."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    network = network_of(model, num_classes, settings).to(settings.device, memory_format=order)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True
    )
    n = settings.batch_size
    joined = torch.randn(2 * n, 3, 32, 32).to(settings.device, memory_format=order)
    labels = torch.randint(num_classes, (n,), device=settings.device)
    more = torch.randn(_IMAGES.get(method, 0) * ratio * n, 3, 32, 32)
    more = torch.cat([joined[:n], more.to(settings.device)]).to(memory_format=order)
    bare = Bare(network, optimizer, joined[:n], labels, joined[n:], joined, more, settings)
    teacher = copy.deepcopy(network).requires_grad_(False)
    passes = {
        "supervised": supervised,
        "temporal_ensembling": temporal_ensembling,
        "pi_model": pi_model,
        "pseudo_label": pseudo_label,
        "mean_teacher": functools.partial(mean_teacher, teacher=teacher),
        "vat": functools.partial(vat, clean_backward=isda),
        "adamatch": adamatch,
        "ict": functools.partial(mean_teacher, teacher=teacher),
        "mixmatch": functools.partial(after_guesses, guesses=2),
        "remixmatch": functools.partial(after_guesses, guesses=1),
        **dict.fromkeys(WEAK_AND_STRONG, one_batch),
    }[method]
    if not settings.compile:
        return functools.partial(passes, bare)
    compile_networks((network, teacher), settings.device)
    return functools.partial(_one_step, passes, bare)


def _one_step(passes: Callable[[Bare], None], bare: Bare) -> None:
    """CUDA graphs must be told where a step begins, as ``Trainer`` tells them."""
    torch.compiler.cudagraph_mark_step_begin()
    passes(bare)


def supervised(bare: Bare) -> None:
    """Forward and backward of the labeled images."""
    bare.descend(F.cross_entropy(bare.predict(bare.labeled), bare.labels))


def temporal_ensembling(bare: Bare) -> None:
    """Forward and backward of labeled and unlabeled images together."""
    labeled, unlabeled = bare.predict(bare.joined).tensor_split(2)
    target = torch.zeros_like(unlabeled)
    bare.descend(F.cross_entropy(labeled, bare.labels) + F.mse_loss(unlabeled.softmax(1), target))


def pi_model(bare: Bare) -> None:
    """The same, and forward and backward of the second view."""
    labeled, first = bare.predict(bare.joined).tensor_split(2)
    second = bare.predict(bare.unlabeled).softmax(1)
    bare.descend(F.cross_entropy(labeled, bare.labels) + F.mse_loss(first.softmax(1), second))


def pseudo_label(bare: Bare) -> None:
    """Forward and backward of labeled and of unlabeled images."""
    labeled, unlabeled = bare.predict(bare.labeled), bare.predict(bare.unlabeled)
    chosen = unlabeled.detach().argmax(1)
    bare.descend(F.cross_entropy(labeled, bare.labels) + F.cross_entropy(unlabeled, chosen))


def one_batch(bare: Bare) -> None:
    """Forward and backward of labeled images and both views together; the weak ones give labels."""
    n = len(bare.labels)
    logits = bare.predict(bare.more)
    weak, strong = logits[n:].chunk(2)
    supervised = F.cross_entropy(logits[:n], bare.labels)
    bare.descend(supervised + F.cross_entropy(strong, weak.detach().argmax(1)))


def adamatch(bare: Bare) -> None:
    """The same of four kinds of images, and both kinds of labeled ones once more."""
    n = len(bare.labels)
    logits, alone = bare.predict(bare.more), bare.predict(bare.more[: 2 * n])
    weak, strong = logits[2 * n :].chunk(2)
    supervised = F.cross_entropy(logits[: 2 * n] + alone, bare.labels.repeat(2))
    bare.descend(supervised + F.cross_entropy(strong, weak.detach().argmax(1)))


def after_guesses(bare: Bare, guesses: int) -> None:
    """Forward of unlabeled images, so many times; forward and backward of all mixtures together."""
    n = len(bare.labels)
    with torch.no_grad():
        q = [bare.predict(bare.unlabeled).softmax(1) for _ in range(guesses)]
    labeled, *others = bare.predict(bare.more).split(n)
    wanted = torch.cat([q[0]] * len(others))
    bare.descend(F.cross_entropy(labeled, bare.labels) + F.cross_entropy(torch.cat(others), wanted))


def mean_teacher(bare: Bare, teacher: nn.Module) -> None:
    """Student as in temporal ensembling; forward of the teacher."""
    labeled, unlabeled = bare.predict(bare.joined).tensor_split(2)
    with torch.no_grad():
        target = bare.predict(bare.unlabeled, network=teacher).softmax(1)
    bare.descend(F.cross_entropy(labeled, bare.labels) + F.mse_loss(unlabeled.softmax(1), target))


def vat(bare: Bare, *, clean_backward: bool) -> None:
    """Labeled forward and backward; clean forward; perturbed forward and backward to the input;
    adversarial forward and backward. Prop. 2 adds the clean backward.
    """
    labeled = bare.predict(bare.labeled)
    with torch.set_grad_enabled(clean_backward):
        clean = bare.predict(bare.unlabeled)
    offset = torch.full_like(bare.unlabeled, 0.05).requires_grad_()
    perturbed = bare.predict(bare.unlabeled + offset)
    (direction,) = torch.autograd.grad(_divergence(clean.detach(), perturbed), offset)
    adversarial = bare.predict(bare.unlabeled + direction)
    loss = F.cross_entropy(labeled, bare.labels) + _divergence(clean.detach(), adversarial)
    bare.descend(loss + clean.square().mean() if clean_backward else loss)


def _divergence(target: Tensor, logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, target.softmax(1))
