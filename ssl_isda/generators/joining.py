"""A generator whose images join the labeled batches of a run, if it fits and has seen nothing hidden."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.data.generated import Generated, Make
from ssl_isda.data.images.image_data import ImageData
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.splits import Split, load_split
from ssl_isda.generators.making import made_at
from ssl_isda.generators.saved import Saved, read_generator, refuse_misfit


class BatchShare(NamedTuple):
    """Images in a labeled batch, and the share of them that is generated."""

    batch_size: int
    share: float

    @property
    def generated(self) -> int:
        """Generated images in a batch, rounded.

        Raises
        ------
        UsageError
            None would be generated, or none real.
        """
        count = round(self.share * self.batch_size)
        if not 0 < count < self.batch_size:
            raise UsageError(
                f"--generated-share {self.share:g} of --batch-size {self.batch_size} is {count} images; "
                "one at least must be generated, and one real"
            )
        return count


def joining(
    place: Path,
    size: BatchShare,
    data: ImageData,
    split: Split,
    preparation: Preparation,
    device: torch.device,
) -> Generated:
    """The generated images of each step of a run on ``data`` with the labels of ``split``.

    The generator is read when the first image is asked for: a run that is only evaluated needs none.
    Then the generator is refused if it does not fit or knows no classes, or has learned images whose
    labels the run holds back.
    """

    @functools.cache
    def made() -> Make:
        saved = read_generator(place, device)
        if saved.unfinished:
            raise UsageError(
                f"--generated {saved.name} is {saved.unfinished}: train it to its end first"
            )
        _refuse_other_classes(saved, data)
        refuse_misfit(saved, data.train.shape, len(data.class_names))
        _refuse_what_has_seen_more(place, data, split)
        return made_at(saved.generator, len(data.class_names))

    return Generated(lambda step, n: made()(step, n), size.generated, preparation)


def _refuse_other_classes(saved: Saved, data: ImageData) -> None:
    if not saved.generator.knows_classes or saved.class_names != tuple(data.class_names):
        names = ", ".join(data.class_names[:5])
        raise UsageError(
            f"--generated {saved.name}: its images are of no class of this run ({names}, ...): take "
            "cgan, acgan, infogan, or wgan --each-class, of the same data set"
        )


def _refuse_what_has_seen_more(place: Path, data: ImageData, split: Split) -> None:
    labels = data.train.labels
    assert labels is not None
    seen = load_split(
        place / "split.json",
        dataset=data.name,
        checksum=data.train.fingerprint,
        labels=labels,
        test=data.drawn_test,
    )
    hidden = len({*seen.labeled} - {*split.labeled})
    if hidden:
        raise UsageError(
            f"--generated {printed(place)} has learned {hidden} images whose labels this run holds back: "
            "train it with the same --labels and --seed, or with --split and this run's split.json"
        )
