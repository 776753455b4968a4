"""The order of images: two endless streams, each step of which can be asked for on its own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ssl_isda.base import randomness


class LabeledUnlabeledSampler(Sampler[list[int]]):
    """Batches of labeled indices followed by unlabeled ones, for ``DataLoader(batch_sampler=...)``.

    The labeled stream runs through the labeled images again and again, each pass in a fresh order;
    a batch may span passes. An epoch is one pass through the unlabeled pool, also in a fresh order;
    its incomplete last batch is dropped. If the pool is smaller than a batch, a batch is the pool.

    Parameters
    ----------
    labeled_indices, pool : (M,) and (U,), int64, neither empty
    seed : with the step, the whole source of randomness; resuming needs no state
    partial : each pass through either stream ends with a smaller batch, if the images leave one

    Raises
    ------
    ValueError
        No labeled image, an empty pool, or a batch size below 1.
    """

    def __init__(
        self,
        labeled_indices: Tensor,
        pool: Tensor,
        *,
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        seed: int,
        partial: bool = False,
    ) -> None:
        if min(len(labeled_indices), len(pool), labeled_batch_size, unlabeled_batch_size) < 1:
            raise ValueError(
                "labeled indices, pool and both batch sizes must not be empty, got "
                f"{len(labeled_indices)}, {len(pool)}, {labeled_batch_size}, {unlabeled_batch_size}"
            )
        self.labeled_batch_size = labeled_batch_size
        self.unlabeled_batch_size = min(unlabeled_batch_size, len(pool))
        self.partial = partial
        self.steps_per_epoch = (
            -(-len(pool) // self.unlabeled_batch_size)
            if partial
            else len(pool) // self.unlabeled_batch_size
        )
        self._labeled = _Shuffles(labeled_indices, seed, "labeled order")
        self._pool = _Shuffles(pool, seed, "unlabeled order")
        self._epoch = 0

    @property
    def batch_sizes(self) -> dict[str, set[int]]:
        """Of labeled and of unlabeled images: how many a step may have."""
        sizes = {"labeled": self.labeled_batch_size, "unlabeled": self.unlabeled_batch_size}
        streams = {"labeled": len(self._labeled), "unlabeled": len(self._pool)}
        left = {name: streams[name] % size if self.partial else 0 for name, size in sizes.items()}
        return {name: {size, left[name] or size} for name, size in sizes.items()}

    def labeled(self, step_index: int) -> Tensor:
        """(labeled_batch_size,) int64: the labeled images of a step; fewer where a pass ends partial."""
        size = self.labeled_batch_size
        if self.partial:
            number, step_of_pass = divmod(step_index, -(-len(self._labeled) // size))
            return self._labeled.shuffled(number)[step_of_pass * size : (step_of_pass + 1) * size]
        return self._labeled.stretch(step_index * size, (step_index + 1) * size)

    def unlabeled(self, step_index: int) -> Tensor:
        """(unlabeled_batch_size,) int64: the unlabeled images of a step, all different; fewer where a
        pass ends partial."""
        epoch, step_of_epoch = divmod(step_index, self.steps_per_epoch)
        first = step_of_epoch * self.unlabeled_batch_size
        return self._pool.shuffled(epoch)[first : first + self.unlabeled_batch_size]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iteration yields."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        first = self._epoch * self.steps_per_epoch
        for step_index in range(first, first + self.steps_per_epoch):
            yield [*self.labeled(step_index).tolist(), *self.unlabeled(step_index).tolist()]

    def __len__(self) -> int:
        return self.steps_per_epoch


class _Shuffles:
    """Pass after pass through ``indices``, each in the order of a generator keyed by its number."""

    def __init__(self, indices: Tensor, seed: int, purpose: str) -> None:
        self._indices = indices
        self._seed = seed
        self._purpose = purpose
        self._kept: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._indices)

    def shuffled(self, number: int) -> Tensor:
        """The indices in the order of pass ``number``; the last pass asked for is kept."""
        if self._kept is None or self._kept[0] != number:
            generator = randomness.generator(self._seed, number, self._purpose)
            order = torch.randperm(len(self._indices), generator=generator)
            self._kept = (number, self._indices[order])
        return self._kept[1]

    def stretch(self, start: int, stop: int) -> Tensor:
        """Positions ``start`` to ``stop`` of all passes laid end to end."""
        length = len(self._indices)
        pieces = []
        while start < stop:
            number, offset = divmod(start, length)
            piece = self.shuffled(number)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return torch.cat(pieces)
