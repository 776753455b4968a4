"""Where a training run stands: the one object from which schedules and randomness are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from ssl_isda.base import randomness


@dataclass(frozen=True)
class Step:
    """Step ``index`` (0-based) of a run of ``num_steps`` steps, ``steps_per_epoch`` to an epoch."""

    index: int
    num_steps: int
    steps_per_epoch: int
    seed: int = 0

    @property
    def progress(self) -> float:
        """t / T in [0, 1): the share of the run that lies behind."""
        return self.index / self.num_steps

    @property
    def epoch(self) -> int:
        """The 0-based epoch that this step belongs to."""
        return self.index // self.steps_per_epoch

    @property
    def num_epochs(self) -> int:
        """Epochs in the whole run; the last one may be shorter."""
        return -(-self.num_steps // self.steps_per_epoch)

    @property
    def is_last_of_epoch(self) -> bool:
        """Whether an epoch, or the run, ends with this step."""
        return (self.index + 1) % self.steps_per_epoch == 0 or self.index + 1 == self.num_steps

    def generator(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator keyed by (seed, step, ``purpose``)."""
        return randomness.generator(self.seed, self.index, purpose, device)

    def global_draws(self, purpose: str, device: torch.device) -> AbstractContextManager[None]:
        """A block whose dropout masks are keyed by (seed, step, ``purpose``)."""
        return randomness.global_draws(self.seed, self.index, purpose, device)
