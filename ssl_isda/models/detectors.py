"""torchvision's Faster R-CNN and Mask R-CNN with a feature pyramid, on any backbone with four stages.

Ren et al., Faster R-CNN, NeurIPS 2015, arXiv:1506.01497; He et al., Mask R-CNN, ICCV 2017,
arXiv:1703.06870; Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017, arXiv:1612.03144.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

STAGES = {f"layer{place + 1}": str(place) for place in range(4)}
"""The backbone's stages, and torchvision's names of their maps."""
SIDE, SIDES = 64, [16, 8, 4, 2]
"""Of an image in pixels, and of the stages' maps that it must give."""
CHANNELS = 256
"""Of the pyramid's maps."""


def detector(
    kind: str, backbone: nn.Module, num_categories: int, *, frozen_stages: int, **options: Any
) -> nn.Module:
    """The detector ``faster_rcnn`` or ``mask_rcnn``, whose heads have random weights.

    Parameters
    ----------
    backbone : with children ``layer1`` to ``layer4``, and what images pass before them in front
    frozen_stages : that stay as they are, with all that is in front of them; of 0 nothing does
    options : torchvision's, such as ``min_size``, ``max_size``, ``image_mean`` and ``image_std``

    Raises
    ------
    ValueError
        The backbone has no such stages.
    """
    from torchvision.models.detection import FasterRCNN, MaskRCNN
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    kinds: dict[str, Any] = {"faster_rcnn": FasterRCNN, "mask_rcnn": MaskRCNN}
    with_pyramid = BackboneWithFPN(backbone, STAGES, _channels(backbone), CHANNELS)
    built: nn.Module = kinds[kind](with_pyramid, num_categories + 1, **options)
    trained = [*STAGES][frozen_stages:]
    for name, parameter in with_pyramid.body.named_parameters():
        parameter.requires_grad_(not frozen_stages or name.partition(".")[0] in trained)
    return built


def freeze_batchnorm(network: nn.Module) -> None:
    """Statistics, scales and shifts stay as they are, in training too.

    Raises
    ------
    ValueError
        There is a normalization that this cannot be done with.
    """
    from torchvision.ops.misc import FrozenBatchNorm2d

    for name, module in [*network.named_modules()]:
        if type(module) is nn.BatchNorm2d:
            fixed = FrozenBatchNorm2d(module.num_features, module.eps)
            fixed.load_state_dict(module.state_dict())
            network.set_submodule(name, fixed)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(f"its {type(module).__name__} cannot be frozen")


def _channels(backbone: nn.Module) -> Sequence[int]:
    """Of the stages' maps."""
    from torchvision.models._utils import IntermediateLayerGetter

    try:
        with torch.no_grad():
            passed = IntermediateLayerGetter(backbone, STAGES).eval()(torch.zeros(1, 3, SIDE, SIDE))
        maps = list(passed.values())
    except (ValueError, RuntimeError):
        maps = []
    if [each.shape[-1] for each in maps] != SIDES:
        raise ValueError(
            "it needs stages layer1 to layer4 that have a 4th, 8th, 16th and 32nd of an image's side, as "
            "a ResNet of torchvision or timm has"
        )
    return [each.shape[1] for each in maps]
