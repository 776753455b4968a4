"""The contract that a semi-supervised method fulfils: L_regularization of Eq. 19 and its state."""

from __future__ import annotations

from torch import Tensor, nn

from ssl_isda.base.registry import Registry
from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch

UNLABELED_PASS = "unlabeled pass"
"""Keys the dropout masks of the student's pass over first views, where it is a pass of its own:
``step.global_draws(UNLABELED_PASS, device)`` around another pass draws the same masks again."""


class Regularizer(nn.Module):
    """A consistency term on unlabeled images, with whatever state it needs.

    It is an ordinary ``nn.Module``: state lives in buffers and submodules, so ``state_dict`` is whole
    and ``.to()`` works. It never touches optimizer, device, precision or logging. A subclass takes
    ``(config, *, student, num_images, num_classes)``, sets the attributes below and defines
    ``forward``; the other methods have defaults.

    On several processes each sees its part of the batch (``ssl_isda.parallel.distributed``): what is
    drawn per image goes through ``part`` and ``whole``, state kept by image through ``gathered``.
    """

    num_views: int = 1
    """Augmented views of each unlabeled image in a batch; 0 means that none is loaded at all."""
    shares_flip: bool = False
    """Whether all views of an image are flipped alike (only the translations differ)."""
    input_noise: float = 0.0
    """Standard deviation of Gaussian noise on every training input, in units of prepared pixels."""
    joins_streams: bool = True
    """What BatchNorm sees. True: labeled images and first views pass the network as ONE batch, which
    alone updates the running statistics. False: the labeled images pass alone and update them, the
    first views pass alone with their own batch statistics and update nothing."""

    uses_logits_gradient: bool = True
    """Whether ``forward`` differentiates the logits it is given. If not, and nothing else does, a
    separate pass over the first views keeps no graph."""

    def weight(self, step: Step) -> float:
        """eta_2(t), the weight of the term at this step."""
        return 1.0

    def forward(self, student: nn.Module, batch: Batch, logits: Tensor, step: Step) -> Tensor:
        """The unweighted term, a scalar.

        Parameters
        ----------
        student : the network in training; ``student(images)`` gives (logits, features)
        batch : its ``views`` and ``indices`` are what the term is about
        logits : (U, C), the student's logits for ``batch.views[0]``, with their graph if
            ``uses_logits_gradient``, fp32
        step : the source of schedules and of every random draw
        """
        raise NotImplementedError

    def after_step(self, student: nn.Module, step: Step) -> None:
        """Bring the state up to date, once the optimizer has taken ``step``."""

    def evaluated(self, student: nn.Module) -> nn.Module:
        """The network that is tested: the student, unless the method keeps a better one."""
        return student


METHODS: Registry[type[Regularizer]] = Registry("method")
"""Every method by name; ``@METHODS.register("vat")`` stands above its class."""
