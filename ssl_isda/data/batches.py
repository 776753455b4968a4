"""Mini-batches: what the sampler chose, augmented, prepared and laid out for the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.data.augmentations.resized_crop import crop_of
from ssl_isda.data.batch import Batch
from ssl_isda.data.generated import Generated
from ssl_isda.data.images.own_sizes import OwnSizes
from ssl_isda.data.preparation import PreparedImages
from ssl_isda.data.samplers import LabeledUnlabeledSampler
from ssl_isda.data.source import DataSource, in_order, send
from ssl_isda.data.splits import Split
from ssl_isda.data.vectors.augmentation import VectorAugmentation
from ssl_isda.data.vectors.prepared import PreparedVectors
from ssl_isda.data.views import AnyAugmentation, View
from ssl_isda.parallel.distributed import part, whole

EVALUATED = 500
"""Images of an evaluated batch."""
SMALL_PIXELS = 32 * 32


class TwoStreamBatches:
    """The labeled and the unlabeled stream of one training run; ``batch(step)`` is a pure function.

    On several processes each gets its part of a batch that is drawn for all of them.

    Nothing waits for a GPU: indices and draws are made on the CPU and sent ahead in one small tensor
    per stream and view.

    Parameters
    ----------
    prepared : the N training images
    labels : (N,) int64; those of images outside ``split.labeled`` are dropped here
    augmentation : of the labeled images, and of every view that names none
    views : of each unlabeled image, as the method declares them; labeled images get the noise of the
        first one
    labeled_views : further ones of each labeled image, as the method declares them
    named : the augmentations that ``views`` name
    partial : as for the sampler
    generated : images that stand behind the labeled ones in every batch, and are augmented alike
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
        partial: bool = False,
        augmentation: AnyAugmentation,
        views: tuple[View, ...] = (View(),),
        labeled_views: tuple[View, ...] = (),
        named: Mapping[str, AnyAugmentation] | None = None,
        device: torch.device | str = "cpu",
        generated: Generated | None = None,
    ) -> None:
        self._generated = generated
        self.device = torch.device(device)
        self._prepared = prepared.to(self.device)
        labeled = torch.tensor(split.labeled)
        self._labels = torch.full_like(labels, -1, device="cpu")
        self._labels[labeled] = labels.cpu()[labeled]
        self.sampler = LabeledUnlabeledSampler(
            labeled,
            split.unlabeled_pool(len(labels)),
            labeled_batch_size=labeled_batch_size,
            unlabeled_batch_size=unlabeled_batch_size,
            seed=seed,
            partial=partial,
        )
        self.views, self.labeled_views = views, labeled_views
        self._labeled_view = View(noise=views[0].noise if views else 0.0)
        self._augmentation, self._named = augmentation, named or {}

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass through the unlabeled pool."""
        return self.sampler.steps_per_epoch

    def batch(self, step: Step) -> Batch:
        """The batch of ``step``, or this process's part, on the device, images in channels_last order."""
        self._expect(step)
        labeled, unlabeled = self._indices(step.index)
        made = self._generated.at(step) if self._generated else None
        labels = part(self._labels[labeled])
        return Batch(
            images=self._of_labeled(self._labeled_view, step, labeled, "labeled", made),
            labels=send(torch.cat([labels, made[1]]) if made else labels, self.device),
            views=tuple(
                self._view(view, step, unlabeled, f"view {k}") for k, view in enumerate(self.views)
            ),
            indices=send(part(unlabeled), self.device),
            labeled_views=tuple(
                self._of_labeled(view, step, labeled, f"labeled view {k}", made)
                for k, view in enumerate(self.labeled_views)
            ),
        )

    def _indices(self, step_index: int) -> tuple[Tensor, Tensor]:
        """The labeled and the unlabeled images of a step, of all processes."""
        unlabeled = self.sampler.unlabeled(step_index)
        return self.sampler.labeled(step_index), unlabeled if self.views else unlabeled[:0]

    def _expect(self, step: Step) -> None:
        """Tell the source, if it is of use to it, what this step and the next ones ask for."""
        source = self._prepared.source
        steps = steps_ahead(source, step)
        if isinstance(source, OwnSizes):
            self._expect_windows([replace(step, index=index) for index in steps])
        elif steps:
            asked = [part(indices) for index in steps for indices in self._indices(index)]
            source.expect(torch.cat(asked))

    def _expect_windows(self, steps: Sequence[Step]) -> None:
        """The same of images of sizes of their own, of which most views see a window."""
        pixels = self._prepared.pixels
        assert isinstance(pixels, OwnSizes)
        asked = [(step, *of_step) for step in steps for of_step in self._asked(step.index)]
        pixels.most_expected = max(pixels.most_expected, len(asked))
        seen_whole = [torch.empty(0, dtype=torch.int64)]
        for step, view, indices, purpose in asked:
            augmentation = self._augmentation_of(view)
            found = crop_of(augmentation, _drawn(augmentation, view, indices, step, purpose))
            if found is None:
                seen_whole.append(part(indices))
            else:
                found[0].expect(pixels, part(indices), part(found[1]))
        pixels.expect(torch.cat(seen_whole))

    def _asked(self, step_index: int) -> list[tuple[View, Tensor, str]]:
        """Every view of a step, with its images and its purpose."""
        labeled, unlabeled = self._indices(step_index)
        asked = [(self._labeled_view, labeled, "labeled")]
        asked += [(view, unlabeled, f"view {k}") for k, view in enumerate(self.views)]
        return asked + [
            (view, labeled, f"labeled view {k}") for k, view in enumerate(self.labeled_views)
        ]

    def _of_labeled(
        self,
        view: View,
        step: Step,
        indices: Tensor,
        purpose: str,
        made: tuple[PreparedImages, Tensor] | None,
    ) -> Tensor:
        """A view of the labeled images and behind them of the generated ones, if there are any."""
        images = self._view(view, step, indices, purpose)
        if made is None:
            return images
        places = torch.arange(len(made[1]))
        return torch.cat([images, self._view(view, step, places, f"generated {purpose}", made[0])])

    def _view(
        self,
        view: View,
        step: Step,
        indices: Tensor,
        purpose: str,
        prepared: PreparedImages | None = None,
    ) -> Tensor:
        """(B, C, H, W): the images under a draw of their own, keyed by step and purpose.

        ``prepared`` are those that ``indices`` mean, if not the training images.
        """
        images = self._augmented(view, step, indices, purpose, prepared or self._prepared)
        if view.noise == 0:
            return images
        generator = step.generator(f"{purpose} noise", self.device)
        # Drawn in ordinary order: torch fills channels_last tensors ten times more slowly.
        noise = torch.randn(whole(images.shape), generator=generator, device=self.device)
        return images.add(part(noise), alpha=view.noise)

    def _augmented(
        self, view: View, step: Step, indices: Tensor, purpose: str, prepared: PreparedImages
    ) -> Tensor:
        augmentation = self._augmentation_of(view)
        if isinstance(augmentation, VectorAugmentation):
            assert isinstance(prepared, PreparedVectors)
            return augmentation.rows(prepared, indices, step, purpose)
        draws = _drawn(augmentation, view, indices, step, purpose)
        return augmentation.view(prepared, part(indices), part(draws))

    def _augmentation_of(self, view: View) -> AnyAugmentation:
        return self._augmentation if view.augmentation is None else self._named[view.augmentation]


def _drawn(
    augmentation: AnyAugmentation, view: View, indices: Tensor, step: Step, purpose: str
) -> Tensor:
    """All that is random about a view of images, of all processes."""
    assert not isinstance(augmentation, VectorAugmentation)
    flips_of = None if view.same_flip_as is None else f"view {view.same_flip_as}"
    return augmentation.draw(len(indices), step, purpose, flips_of)


def steps_ahead(source: DataSource, step: Step) -> range:
    """The steps whose images a source wants to be told of now; none where that is of no use."""
    last = min(step.index + source.lookahead + 1, step.num_steps)
    return range(step.index, last if source.lookahead else step.index)


def evaluated_at_once(shape: Sequence[int]) -> int:
    """Images of this shape in an evaluated batch, each pixel of which has a class."""
    return max(1, EVALUATED * SMALL_PIXELS // (shape[-2] * shape[-1]))


def evaluation_batches(
    prepared: PreparedImages,
    labels: Tensor | DataSource,
    batch_size: int | None = None,
    indices: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images, labels) of all images, or of those at ``indices``, in order, without augmentation.

    They come on the source's device, the last batch shorter. ``labels`` are those of all images, or the
    source of their masks, which come as (n, H, W) int64; a batch then has as many pixels as one of
    ``EVALUATED`` small images, or one image.
    """
    places = torch.arange(len(labels)) if indices is None else indices
    if isinstance(labels, Tensor):
        size = batch_size or EVALUATED
        targets: Iterable[Tensor] = labels[places].to(prepared.source.device).split(size)
    else:
        size = batch_size or evaluated_at_once(labels.shape)
        masks = in_order(labels.to(prepared.source.device), places, size)
        targets = (part[:, 0].long() for part in masks)
    for images, wanted in zip(in_order(prepared.source, places, size), targets, strict=True):
        yield prepared.finish(images), wanted
