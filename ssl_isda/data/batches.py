"""Mini-batches: what the sampler chose, augmented, prepared and laid out for the network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.batch import Batch
from ssl_isda.data.preprocessing import PreparedImages
from ssl_isda.data.samplers import LabeledUnlabeledSampler
from ssl_isda.data.splits import Split
from ssl_isda.data.weak import draw_flips, draw_offsets, reflect_pad, translate_and_flip
from ssl_isda.parallel.distributed import part, whole


class TwoStreamBatches:
    """The labeled and the unlabeled stream of one training run; ``batch(step)`` is a pure function.

    On several processes each gets its part of a batch that is drawn for all of them.

    The images are moved to ``device`` and padded once. Nothing waits for a GPU: indices and draws
    are made on the CPU and sent ahead in one small tensor per stream and view.

    Parameters
    ----------
    prepared : the N training images
    labels : (N,) int64; those of images outside ``split.labeled`` are dropped here
    flip : whether images are mirrored at random
    max_translation : pixels, along each axis
    num_views, shares_flip, input_noise : the method's wishes, see ``Regularizer``
    """

    def __init__(
        self,
        prepared: PreparedImages,
        labels: Tensor,
        split: Split,
        *,
        labeled_batch_size: int,
        unlabeled_batch_size: int,
        seed: int,
        flip: bool,
        max_translation: int = 2,
        num_views: int = 1,
        shares_flip: bool = False,
        input_noise: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        on_device = prepared.to(self.device)
        padded = reflect_pad(on_device.images, max_translation)
        self._prepared = PreparedImages(padded, on_device.scale, on_device.shift)
        labeled = torch.tensor(split.labeled)
        self._labels = torch.full_like(labels, -1, device="cpu")
        self._labels[labeled] = labels.cpu()[labeled]
        self.sampler = LabeledUnlabeledSampler(
            labeled,
            split.unlabeled_pool(len(labels)),
            labeled_batch_size=labeled_batch_size,
            unlabeled_batch_size=unlabeled_batch_size,
            seed=seed,
        )
        self.flip = flip
        self.max_translation = max_translation
        self.num_views = num_views
        self.shares_flip = shares_flip
        self.input_noise = input_noise

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass through the unlabeled pool."""
        return self.sampler.steps_per_epoch

    def batch(self, step: Step) -> Batch:
        """The batch of ``step``, or this process's part, on the device, images in channels_last order."""
        labeled = self.sampler.labeled(step.index)
        unlabeled = self.sampler.unlabeled(step.index)
        if self.num_views == 0:
            unlabeled = unlabeled[:0]
        return Batch(
            images=self._view(step, labeled, "labeled", "labeled flip"),
            labels=self._send(self._labels[part(labeled)]),
            views=tuple(
                self._view(
                    step, unlabeled, f"view {k}", f"view {0 if self.shares_flip else k} flip"
                )
                for k in range(self.num_views)
            ),
            indices=self._send(part(unlabeled)),
        )

    def _view(self, step: Step, indices: Tensor, name: str, flip_purpose: str) -> Tensor:
        """(B, C, H, W): the images under a draw of their own, keyed by the step and the names."""
        translation = step.generator(f"{name} augmentation")
        draws = [indices[:, None], draw_offsets(len(indices), self.max_translation, translation)]
        if self.flip:
            draws.append(draw_flips(len(indices), step.generator(flip_purpose))[:, None])
        sent = self._send(part(torch.cat(draws, dim=1)))  # (B, 3 or 4): index, down, across, flip
        gathered = translate_and_flip(
            self._prepared.images,
            sent[:, 0],
            sent[:, 1:3],
            sent[:, 3].bool() if self.flip else None,
            self.max_translation,
        )
        return self._with_noise(self._prepared.finish(gathered), step, f"{name} noise")

    def _with_noise(self, images: Tensor, step: Step, purpose: str) -> Tensor:
        if self.input_noise == 0:
            return images
        generator = step.generator(purpose, self.device)
        # Drawn in ordinary order: torch fills channels_last tensors ten times more slowly.
        noise = torch.randn(whole(images.shape), generator=generator, device=self.device)
        return images.add(part(noise), alpha=self.input_noise)

    def _send(self, tensor: Tensor) -> Tensor:
        """To the device, from page-locked memory where that lets the copy run beside the CPU."""
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def evaluation_batches(
    prepared: PreparedImages, labels: Tensor, batch_size: int = 500
) -> Iterator[tuple[Tensor, Tensor]]:
    """All (images, labels) in order, as they are; on the images' device, the last batch shorter."""
    labels = labels.to(prepared.images.device)
    for images, targets in zip(
        prepared.images.split(batch_size), labels.split(batch_size), strict=True
    ):
        yield prepared.finish(images), targets
