"""The networks are those of ISDA's Tables 2 and 3 by parameters, multiply-adds and features."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from torch import nn

from ssl_isda.commands.analyze.cost import Case, Cost
from ssl_isda.commands.analyze.cost_page import TABLE_3
from ssl_isda.commands.models import listed as _listed
from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.models.leaky_wide_resnet import Block
from ssl_isda.models.resnet import ResNet
from tests.narrow_networks import build

PARAMETERS = {
    "cnn13": (3_121_802, 3_133_412, 128),
    "resnet20": (272_474, 278_324, 64),
    "resnet32": (466_906, 472_756, 64),
    "resnet110": (1_730_714, 1_736_564, 64),
    "se_resnet110": (1_742_810, 1_748_660, 64),
    "wrn_16_8": (10_961_370, 11_007_540, 512),
    "wrn_28_10": (36_479_194, 36_536_884, 640),
    "resnext29_8x64d": (34_426_698, 34_518_948, 1024),
    "densenet_bc_100_12": (769_162, 800_032, 342),
    "densenet_bc_190_40": (25_624_430, 25_821_620, 2190),
    "pyramidnet272": (26_210_842, 26_288_692, 864),
    "shake_shake_26_2x32d": (2_923_178, 2_934_788, 128),
    "shake_shake_26_2x112d": (35_640_458, 35_680_868, 448),
}
"""For 10 and for 100 classes, and the number of features."""
UNUSED = {"shake_shake_26_2x32d": 65_856, "shake_shake_26_2x112d": 794_976}
"""The code of ISDA builds a shortcut for every block of Shake-Shake, and never uses those of blocks that
keep the size: the paper counts them, and we do without."""
TABLE_2 = {
    "resnet32": "0.5M",
    "resnet110": "1.7M",
    "se_resnet110": "1.7M",
    "wrn_16_8": "11.0M",
    "wrn_28_10": "36.5M",
    "resnext29_8x64d": "34.4M",
    "densenet_bc_100_12": "0.8M",
    "densenet_bc_190_40": "25.6M",
    "shake_shake_26_2x32d": "3.0M",
    "shake_shake_26_2x112d": "36.4M",
}
"""As printed."""
PRODUCTS_ALONE = ("resnext29_8x64d", "shake_shake_26_2x32d", "shake_shake_26_2x112d")
"""Of the other networks the paper also counts each value that goes into a ReLU or into a mean."""


listed = functools.cache(_listed)


def whole(name: str, num_classes: int) -> Network:
    """The network as it is, without memory for its weights."""
    with torch.device("meta"):
        return MODELS[name](MODELS.config(name)(), num_classes=num_classes, shape=(3, 32, 32))


def _each_value(shape: tuple[int, ...], *rest: Any, **options: Any) -> int:
    return 2 * math.prod(shape)


def operations_of_the_paper(name: str) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    counted = () if name in PRODUCTS_ALONE else (aten.relu, aten.relu_, aten.mean, aten.avg_pool2d)
    network, images = whole(name, 10).eval(), torch.empty(1, 3, 32, 32, device="meta")
    counter = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(counted, _each_value))
    with counter, torch.no_grad():
        network.head(network.features(images))
    return int(counter.get_total_flops()) / 2


OF_THE_METHODS = {
    "wrn_28_2": (1_467_610, 1_479_220, 128),
    "wrn_28_8": (23_354_842, 23_401_012, 512),
    "wrn_37_2": (5_929_434, 5_952_564, 256),
}
"""The networks of FixMatch's family, which the paper's tables do not have."""


@pytest.mark.parametrize("name", [*PARAMETERS, *OF_THE_METHODS])
def test_the_number_of_parameters_is_the_papers(name: str) -> None:
    found = listed(name)
    with_90_more_classes = found.parameters + 90 * (found.features + 1)
    expected = (PARAMETERS | OF_THE_METHODS)[name]
    assert (found.parameters, with_90_more_classes, found.features) == expected
    assert found.source is not None and "arXiv:" in found.source
    with_unused = expected[0] + UNUSED.get(name, 0)
    assert f"{with_unused / 1e6:.1f}M" == TABLE_2.get(name, f"{with_unused / 1e6:.1f}M")


def test_the_papers_own_shortcuts_without_parameters() -> None:
    found = [sum(p.numel() for p in ResNet(d, 10, shortcut="zeros").parameters()) for d in (20, 32)]
    assert found == [269_722, 464_154]


@pytest.mark.parametrize("name", TABLE_3)
def test_multiply_adds_are_those_of_table_3_to_the_last_printed_digit(name: str) -> None:
    """From 1000 million on the table prints 10 million as its last digit."""
    found = operations_of_the_paper(name)
    digits = 2 if found < 1e9 else -1
    assert round(found / 1e6, digits) == float(TABLE_3[name].operations)
    assert listed(name).multiply_adds == pytest.approx(
        float(TABLE_3[name].operations) * 1e6, rel=0.016
    )


@pytest.mark.parametrize("name", TABLE_3)
def test_the_papers_formula_is_close_to_what_table_3_prints(name: str) -> None:
    """What ISDA adds is (C + 1) A^2; the printed figures are up to 8 % above it."""
    for num_classes, printed in ((10, TABLE_3[name].of_10[0]), (100, TABLE_3[name].of_100[0])):
        case = Case(name, 1.0, "supervised", num_classes)
        formula = Cost(case, PARAMETERS[name][2], 1.0, 0.0, (1.0,)).formula / 1e6
        assert 0.92 * (float(printed) - 0.005) < formula < float(printed) + 0.005


@pytest.mark.parametrize("name", sorted({*PARAMETERS, *OF_THE_METHODS} - {"cnn13"}))
def test_initial_weights_are_hes(name: str) -> None:
    """Of variance 2 / (pixels of the kernel x outputs), or x inputs in Shake-Shake; the head has
    PyTorch's own, save in the methods' networks."""
    torch.manual_seed(0)
    network = build(name, num_classes=100, width=1.0 if name.startswith(("res", "se")) else 0.5)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    changing = [m for m in convolutions if m.in_channels != m.out_channels]
    layer = max(changing, key=lambda m: m.weight.numel())
    channels = layer.in_channels if name.startswith("shake") else layer.out_channels
    variance = 2 / (math.prod(layer.kernel_size) * channels)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.1)
    bound = network.head.in_features**-0.5
    if name not in OF_THE_METHODS:
        assert 0.9 * bound < network.head.weight.abs().max() <= bound


@pytest.mark.parametrize("name", OF_THE_METHODS)
def test_batchnorm_and_the_initial_head_are_those_of_the_methods(name: str) -> None:
    """Glorot's normal weights have variance 2 / (inputs + outputs)."""
    torch.manual_seed(0)
    network = build(name, num_classes=100, width=0.5)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(each.eps, each.momentum) for each in norms} == {(0.001, 0.001)}
    variance = 2 / (network.head.in_features + 100)
    assert network.head.weight.var().item() == pytest.approx(variance, rel=0.1)
    assert not network.head.bias.any()
    first = [m.is_first for m in network.modules() if isinstance(m, Block)]
    assert first == [True, *[False] * (len(network.body) - 1)]


# ---- Table 1: networks for ImageNet

FOR_IMAGENET = {
    "resnet50": (25_557_032, 2048),
    "resnet101": (44_549_160, 2048),
    "resnet152": (60_192_808, 2048),
    "densenet121": (7_978_856, 1024),
    "densenet265": (33_337_704, 2688),
    "resnext50_32x4d": (25_028_904, 2048),
    "resnext101_32x8d": (88_791_336, 2048),
}
"""Parameters with 1,000 classes, and features."""


@pytest.mark.parametrize("name", FOR_IMAGENET)
def test_networks_of_table_1_have_the_papers_parameters(name: str) -> None:
    model, options = (name, {}) if name in MODELS else ("torchvision", {"name": name})
    with torch.device("meta"):
        network = MODELS[model](
            MODELS.config(model)(**options), num_classes=1000, shape=(3, 224, 224)
        )
    count = sum(parameter.numel() for parameter in network.parameters())
    assert (count, network.head.in_features) == FOR_IMAGENET[name]
