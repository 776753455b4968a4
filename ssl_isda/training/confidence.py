"""How far a pseudo-label is trusted: the part in which many methods differ and nothing else."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


class Confidence(nn.Module):
    """A weight for each pseudo-label. State, if there is any, lives in buffers."""

    def weights(self, probabilities: Tensor, indices: Tensor) -> Tensor:
        """(n,), from 0 to 1, without a gradient.

        Parameters
        ----------
        probabilities : (n, c), of predictions that are held constant
        indices : (n,), the images' positions in the training set
        """
        raise NotImplementedError


@final
class FixedThreshold(Confidence):
    """1 where the largest probability is at least ``threshold``, else 0."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def weights(self, probabilities: Tensor, indices: Tensor) -> Tensor:
        return (probabilities.amax(1) >= self.threshold).to(probabilities.dtype)
