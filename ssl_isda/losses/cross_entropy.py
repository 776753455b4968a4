"""Cross-entropy, the supervised loss of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.step import Step
from ssl_isda.losses.contract import LOSSES, SupervisedLoss
from ssl_isda.tasks.contract import Rows


@dataclass(frozen=True)
class Config:
    """No options."""


@LOSSES.register("cross_entropy")
@final
class CrossEntropy(SupervisedLoss):
    """-log softmax(logits)[label], mean over rows. Of logits augmented by ISDA it is Prop. 1."""

    def __init__(
        self, config: Config | None = None, *, num_classes: int = 0, num_features: int = 0
    ) -> None:
        super().__init__()

    def forward(self, rows: Rows, head: nn.Linear | nn.Conv2d, step: Step) -> Tensor:
        return F.cross_entropy(rows.logits, rows.labels)
