"""The contract that a semi-supervised method fulfils: L_regularization of Eq. 19 and its state.

A method's file imports this module, ``losses``, and where it uses them ``training.ema``, ``confidence``,
``alignment``, ``mixing`` and ``sharpening``; everything else that it is likely to need is handed on
from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.base.ramps import gaussian_ramp_up, linear_ramp_up
from ssl_isda.base.registry import Registry
from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.data.views import View
from ssl_isda.isda.labels import rows_of
from ssl_isda.models.contract import Network, Prediction
from ssl_isda.optim.contract import Group
from ssl_isda.parallel.distributed import gathered, part, whole
from ssl_isda.training.batchnorm import constant_pass, separate_pass

__all__ = [
    "METHODS",
    "Batch",
    "Group",
    "Interval",
    "Method",
    "Network",
    "Prediction",
    "Step",
    "Targets",
    "Term",
    "View",
    "constant_pass",
    "gathered",
    "gaussian_ramp_up",
    "linear_ramp_up",
    "part",
    "separate_pass",
    "whole",
]


class Targets(NamedTuple):
    """A term that is a cross-entropy, as its parts: mean over rows of weight * H(target, logits).

    The objective makes plain cross-entropy of it, or with ISDA the bound of Prop. 1 (classes) or
    Prop. 2 (probabilities), so that ISDA composes with every such method.

    logits : (n, c), the student's, with their graph
    target : (n,) int64 classes or (n, c) probabilities, a constant
    weight : (n,), a constant; 0 for a row that does not count

    Where each pixel has a class they are (n, c, h, w), (n, h, w) or (n, c, h, w), and (n, h, w).
    """

    logits: Tensor
    target: Tensor
    weight: Tensor

    @property
    def rows(self) -> Targets:
        """The same with one row a pixel."""
        if self.logits.ndim == 2:
            return self
        soft = self.target.ndim == self.logits.ndim
        target = rows_of(self.target) if soft else self.target.flatten()
        return Targets(rows_of(self.logits), target, self.weight.flatten())


Term = Tensor | Targets
"""A loss, a scalar; or the parts of a cross-entropy."""


class Method(nn.Module):
    """A term on unlabeled images, with whatever state it needs.

    It is an ordinary ``nn.Module``: state lives in buffers and submodules, so ``state_dict`` is whole
    and ``.to()`` works. It never touches optimizer, device, precision or logging. A subclass takes
    ``(config, *, student, num_images, num_classes)``, sets the attributes below and defines
    ``forward``; the other methods have defaults.

    On several processes each sees its part of the batch (``ssl_isda.parallel.distributed``): what is
    drawn per image goes through ``part`` and ``whole``, state kept by image through ``gathered``.
    """

    views: tuple[View, ...] = (View(),)
    """The augmented views of each unlabeled image in a batch; without any none is loaded at all.
    Labeled images get the noise of the first."""
    joined: int = 1
    """How many of the views pass the network with the labeled images as ONE batch, which alone updates
    BatchNorm's running statistics. 0: the labeled images pass alone and update them; the first views
    pass alone with their own batch statistics and update nothing (``separate_pass``)."""
    needs_gradient: bool = True
    """Whether ``forward`` differentiates the predictions it is given. If not, and nothing else does, a
    separate pass over the first views keeps no graph."""
    labeled_views: tuple[View, ...] = ()
    """Further views of each labeled image, which pass with the others of the one batch."""
    translation: float | None = None
    """Largest translation of all images, as a share of their shorter side; None: --max-translation."""
    semantic: bool = True
    """Whether ISDA adds its consistency of the first view; not where that shows mixed images."""
    dense: bool = False
    """Whether its term is also that of pixels: where predictions are (n, c, h, w), as the network gives
    them, and the views of an image show the same window. Classes are always along dimension 1."""
    needs_images: str = ""
    """What it does with images that their features cannot show, such as "mixes images", so that no frozen
    backbone may stand before it (--freeze); empty: views and predictions are all that it needs."""
    any_loss: bool = True
    """Whether --loss may be any; not where labels are mixed or the supervised term is the method's."""
    num_unlabeled: int | None = None
    """Images of the unlabeled stream, if they are known and not all training images."""

    def weight(self, step: Step) -> float:
        """eta_2(t), the weight of the term at this step."""
        return 1.0

    def mix(self, student: Network, batch: Batch, step: Step) -> Batch:
        """The batch to train on, before any pass: for methods that mix images and labels.

        Labels of mixed images are probabilities, (L, c): the shares of their classes. With ISDA the
        images then pass once more as they were, for the covariances alone. ``targets`` of the batch
        are for what its mixed views should be.
        """
        return batch

    def forward(
        self, student: Network, batch: Batch, views: Sequence[Prediction], step: Step
    ) -> Term | list[Term]:
        """The unweighted term: a scalar, the parts of a cross-entropy, or a list of such, their sum.

        Parameters
        ----------
        student : the network in training; ``student(images)`` gives logits and features
        batch : its ``views`` and ``indices`` are what the term is about
        views : the student's predictions of the joined views, or of the first view where none is
            joined; with their graph if ``needs_gradient``, in fp32
        step : the source of schedules and of every random draw
        """
        raise NotImplementedError

    def labeled(
        self, student: Network, batch: Batch, prediction: Prediction, step: Step
    ) -> Targets | None:
        """What replaces the supervised term, if the method has one of its own.

        ``prediction`` is of the labeled images, and of their further views behind them.
        """
        return None

    def after_step(self, student: Network, step: Step) -> None:
        """Bring the state up to date, once the optimizer has taken ``step``."""

    def evaluated(self, student: Network) -> nn.Module:
        """The network that is tested: the student, unless the method keeps a better one."""
        return student

    def groups(self) -> list[Group]:
        """Parameters of its own that the optimizer trains beside the student's."""
        return []

    def logged(self) -> Mapping[str, float]:
        """Numbers of its own at the end of an epoch, by the names of their metrics; from its state."""
        return {}


METHODS: Registry[type[Method]] = Registry("method")
"""Every method by name; ``@METHODS.register("vat")`` stands above its class."""
