"""What the loop needs to know of a run's settings."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_isda.base.precision import Precision


@dataclass(frozen=True)
class TrainerConfig:
    """How long the loop runs, at what rate and precision, and what it keeps on the way."""

    num_steps: int
    steps_per_epoch: int
    images_per_step: int
    learning_rate: float = 0.1
    seed: int = 0
    precision: Precision = "fp32"
    checkpoint_minutes: float = 10.0
    checkpoint_epochs: int | None = None
    num_snapshots: int = 0
    compiled: bool = False
    """The networks are: what they give then holds to the end of the step, or of the evaluated batch."""

    @property
    def snapshot_steps(self) -> frozenset[int]:
        """The steps before which networks and covariances are kept; the last step is one of them."""
        last, n = self.num_steps - 1, self.num_snapshots
        return frozenset(round(k * last / n) for k in range(1, n + 1))
