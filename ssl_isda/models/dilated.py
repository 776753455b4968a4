"""What PSPNet and DeepLab-v3 share: a ResNet whose last two stages do not shrink, and the auxiliary head.

The ResNet is torchvision's (He et al., Deep Residual Learning for Image Recognition, CVPR 2016,
arXiv:1512.03385; stride in the 3 x 3 convolution), with holes of 2 and 4 in its third and fourth stage in
place of their strides, so that its maps have an eighth of the image's size, rounded up. Both heads end in
512 features, of which a 1 x 1 convolution makes logits; they have BatchNorm and leaky ReLU 0.01, as the
published code has, and Dropout2d 0.1 before the last convolution.

The auxiliary head sees the third stage's 1,024 channels (3 x 3 convolution with bias to 512 features) and
is used in training alone.

It differs from the published code: its ResNet begins with three 3 x 3 convolutions, this one with the
usual 7 x 7.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.models.contract import Network
from ssl_isda.models.convolution import scaled

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks of each stage, by depth."""
SLOPE, DROPOUT = 0.01, 0.1


class DilatedResNet(nn.Module):
    """(n, channels, h, w) to the maps of the third and the fourth stage, both (n, ..., h/8, w/8).

    Parameters
    ----------
    width : factor on the channels of all four stages; of a network, of its branches too
    """

    def __init__(self, depth: int, width: float = 1.0, in_channels: int = 3) -> None:
        super().__init__()
        resnet = _resnet(depth, width)
        if in_channels != 3:
            resnet.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
            nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.conv1, self.bn1, self.relu = resnet.conv1, resnet.bn1, resnet.relu
        self.maxpool = resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4
        self.out_channels = tuple(_channels(stage) for stage in (self.layer3, self.layer4))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        third = self.layer3(self.layer2(self.layer1(found)))
        return third, self.layer4(third)


def _resnet(depth: int, width: float) -> Any:
    """torchvision's class, whose stages have ``width`` times as many channels."""
    from torchvision.models.resnet import Bottleneck, ResNet

    class OfWidth(ResNet):  # type: ignore[misc, unused-ignore]
        def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
            made: nn.Sequential = super()._make_layer(
                block, max(1, round(planes * width)), *args, **kwargs
            )
            return made

    holes = [False, True, True]
    return OfWidth(Bottleneck, [*LAYERS[depth]], replace_stride_with_dilation=holes)


def _channels(stage: Any) -> int:
    return int(stage[-1].conv3.out_channels)


class DilatedNetwork(Network):
    """A dilated ResNet, a head that a subclass makes, and the auxiliary head."""

    smallest_side = 8
    smallest_batch = 2
    body: nn.Module
    """From the fourth stage's maps to the features."""

    def __init__(
        self,
        depth: int,
        num_classes: int,
        width: float = 1.0,
        features: int = 512,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.backbone = DilatedResNet(depth, width, in_channels)
        inner = scaled(512, width)
        self.body = self.body_of(self.backbone.out_channels[1], inner, features)
        self.head = nn.Conv2d(features, num_classes, 1)
        self.auxiliary_body = nn.Sequential(
            *layer(self.backbone.out_channels[0], inner, 3, bias=True), nn.Dropout2d(DROPOUT)
        )
        self.auxiliary_head = nn.Conv2d(inner, num_classes, 1)

    def body_of(self, inputs: int, inner: int, features: int) -> nn.Module:
        """The published head, up to its features, with branches of ``inner`` channels, 512 at width 1."""
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        third, fourth = self.backbone(images)
        if self.training:
            self.auxiliary_features = self.auxiliary_body(third)
        found: Tensor = self.body(fourth)
        return found


def layer(
    inputs: int, outputs: int, size: int = 1, dilation: int = 1, *, bias: bool = False
) -> list[nn.Module]:
    """A convolution that keeps the size, BatchNorm and leaky ReLU."""
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(inputs, outputs, size, 1, padding, dilation, bias=bias)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE, mode="fan_out")
    return [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]


def enlarged(maps: Tensor, like: Tensor) -> Tensor:
    """To the size of other maps, corners on corners."""
    found: Tensor = torch.nn.functional.interpolate(
        maps, like.shape[2:], mode="bilinear", align_corners=True
    )
    return found
