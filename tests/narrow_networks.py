"""Narrow, shallow forms of the networks, by which tests stay short."""

from __future__ import annotations

from typing import Any

from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network

_DEPTHS = {
    "densenet": 10,
    "pyramidnet": 11,
    "resnet": 8,
    "resnext": 11,
    "se_resnet": 8,
    "shake_shake": 8,
    "wrn_37": 13,
    "wrn": 10,
}
"""The shallowest of each family: one block a stage."""
RANDOM = ("densenet_bc_100_12", "pyramidnet272", "shake_shake_26_2x32d", "timm", "wrn_16_8")
"""One of each family that draws numbers in its passes, with the options below."""


_OF_LIBRARIES = {"timm": "mobilenetv2_035", "torchvision": "shufflenet_v2_x0_5"}
"""The smallest network of each library that takes images of any size."""


def narrow(name: str, **options: Any) -> dict[str, Any]:
    """``options``, and those that make the network small where it has them."""
    known = MODELS.config(name).__dataclass_fields__
    family = next((each for each in _DEPTHS if name.startswith(each)), "")
    small = {"depth": _DEPTHS.get(family), "width": 1 / 16, "cardinality": 2, "dropout": 0.3}
    small["blocks"] = (1, 1)
    small |= {"name": _OF_LIBRARIES.get(name), "drop_path": 0.3 if name == "timm" else None}
    return {key: value for key, value in small.items() if key in known} | options


def build(
    name: str, num_classes: int = 4, shape: tuple[int, ...] = (3, 16, 16), **options: Any
) -> Network:
    """The network with its narrow options."""
    config = MODELS.config(name)(**narrow(name, **options))
    return MODELS[name](config, num_classes=num_classes, shape=shape)
