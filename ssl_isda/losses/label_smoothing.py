"""Cross-entropy with smoothed labels.

Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
arXiv:1512.00567, Sec. 7.

    L = 1/n sum_i H(q_i, softmax(z_i)),     q_i[j] = (1 - s) [j = y_i] + s / C

As the paper on ISDA describes it the other classes alone share s: q_i[j] = s / (C - 1) for j != y_i. That
is ``--smoothing-over others``. The two are the same where the first has C / (C - 1) times the s of the
second. It does not state s; 0.1 is that of Szegedy et al.

With ISDA it is the upper bound of the expected loss, with d_i what Prop. 1 adds to the logits, 0 for y_i:

    L = 1/n sum_i sum_j q_i[j] (log sum_k exp(z_ik + d_ik) - z_ij)
      = 1/n sum_i H(q_i, softmax(z_i + d_i)) + sum_j q_i[j] d_ij

The first sum alone would reward a head whose logits vary. Of pixels between cells, whose true logit gets
something of its neighbours' d, that logit is the augmented one, as it is in plain cross-entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """The paper's setting for ImageNet."""

    smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    """s: the share of the label that is spread."""
    smoothing_over: Literal["all", "others"] = "all"
    """Over all classes, or over all but the true one."""


@LOSSES.register("label_smoothing")
@final
class LabelSmoothing(SupervisedLoss):
    """Mean over rows; with ``smoothing`` 0 plain cross-entropy.

    Raises
    ------
    UsageError
        The other classes would get more of the label than the true one.
    """

    def __init__(
        self, config: Config | None = None, *, num_classes: int, num_features: int = 0
    ) -> None:
        super().__init__()
        self.share = share_of_all(config or Config(), num_classes)

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        loss = F.cross_entropy(rows.logits, rows.labels, label_smoothing=self.share)
        return loss if rows.added is None else loss + self.share * rows.added.mean()


def share_of_all(config: Config, num_classes: int) -> float:
    """The share that is spread over all classes, when the others together are to have ``smoothing``."""
    share = config.smoothing
    if config.smoothing_over == "all":
        return share
    others = num_classes - 1
    if share * num_classes > others:
        raise UsageError(
            f"--smoothing {share:g} --smoothing-over others leaves the true of {num_classes} classes "
            f"less than each other one: at most {others}/{num_classes}, or --smoothing-over all"
        )
    return share * num_classes / others if others else 0.0
