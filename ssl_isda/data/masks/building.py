"""The batches of a run on masks, from its settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.data.augmentations.strong import Config as StrongConfig
from ssl_isda.data.masks.batches import MaskBatches
from ssl_isda.data.masks.crops import Config, Crops, crops
from ssl_isda.data.masks.mask_data import MaskData
from ssl_isda.data.masks.strong import strong_crops

POLICY = "crops"


def mask_batches(
    data: MaskData,
    config: Config,
    strong: StrongConfig,
    *,
    flip: bool,
    names: Collection[str],
    **rest: Any,
) -> MaskBatches:
    """The labeled windows are those of ``crops``; weak views are such without changes of colour, strong
    ones with FixMatch's.

    Parameters
    ----------
    names : the augmentations that the method's views name
    rest : as ``TwoStreamBatches`` takes them

    Raises
    ------
    UsageError
        A view is neither weak nor strong; the scales are the wrong way round.
    """
    if config.smallest_scale > config.largest_scale:
        raise UsageError(
            f"--smallest-scale {config.smallest_scale:g} is more than --largest-scale "
            f"{config.largest_scale:g}: exchange them"
        )
    made = {"weak": Crops(config, flip), "strong": strong_crops(config, strong, flip=flip)}
    unknown = [name for name in names if name not in made]
    if unknown:
        raise UsageError(
            f"views of pixels are weak or strong, and the method needs {unknown[0]}: take another method"
        )
    augmentation = crops(config, flip=flip)
    return MaskBatches(data.train_masks, augmentation=augmentation, named=made, **rest)
