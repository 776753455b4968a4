"""CNN-13: Table 10 of ISDA."""

import pytest
import torch
from torch import nn

from ssl_isda.models import CNN13, MODELS


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("num_classes", "expected"), [(10, 3_121_802), (100, 3_133_412)])
def test_exact_number_of_parameters(num_classes: int, expected: int) -> None:
    assert num_parameters(CNN13(num_classes)) == expected


def test_the_layers_are_those_of_table_10() -> None:
    layers = [m for m in CNN13(10).modules() if isinstance(m, nn.Conv2d)]
    shapes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.padding[0]) for m in layers]
    assert shapes == [
        (3, 128, 3, 1),
        (128, 128, 3, 1),
        (128, 128, 3, 1),
        (128, 256, 3, 1),
        (256, 256, 3, 1),
        (256, 256, 3, 1),
        (256, 512, 3, 0),
        (512, 256, 1, 0),
        (256, 128, 1, 0),
    ]
    assert all(m.bias is None for m in layers)


def test_it_is_found_by_its_name() -> None:
    assert MODELS["cnn13"] is CNN13


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (32, 32), (16, 40), (33, 16)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_any_image_from_16_pixels(size: tuple[int, int], in_channels: int) -> None:
    model = CNN13(4, width=0.05, in_channels=in_channels)
    logits, features = model(torch.randn(2, in_channels, *size))
    assert features.shape == (2, model.head.in_features) == (2, 6)
    assert logits.shape == (2, 4)


@pytest.mark.parametrize("size", [(15, 15), (15, 32), (32, 15)])
def test_a_smaller_image_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="16 x 16 pixels or more; got"):
        CNN13(4, width=0.05)(torch.randn(2, 3, *size))


@pytest.mark.parametrize("width", [0, -1])
def test_a_width_of_nothing_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        CNN13(10, width=width)


def test_the_narrowest_network_works() -> None:
    assert CNN13(10, width=1e-9)(torch.randn(2, 3, 16, 16))[0].shape == (2, 10)


def test_the_head_is_the_only_map_from_features_to_logits() -> None:
    model = CNN13(4, width=0.05).eval()
    images = torch.randn(2, 3, 16, 16)
    logits, features = model(images)
    assert torch.equal(features, model.features(images))
    torch.testing.assert_close(logits, features @ model.head.weight.T + model.head.bias)


def test_head_and_features_are_fp32_under_autocast() -> None:
    model = CNN13(4, width=0.05).eval()
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = model(torch.randn(2, 3, 16, 16))
        assert model.body(torch.randn(2, 3, 16, 16)).dtype == torch.bfloat16
    assert logits.dtype == features.dtype == torch.float32
    torch.testing.assert_close(logits, features @ model.head.weight.T + model.head.bias)


def test_float64_stays_float64() -> None:
    logits, features = CNN13(4, width=0.05).double()(torch.randn(2, 3, 16, 16).double())
    assert logits.dtype == features.dtype == torch.float64


def test_dropout_stands_after_both_poolings() -> None:
    names = [type(m).__name__ for m in CNN13(10).body]
    pools = [k for k, name in enumerate(names) if name == "MaxPool2d"]
    assert [names[k + 1] for k in pools] == ["Dropout", "Dropout"]
    assert names.count("Dropout") == 2
    assert [m.p for m in CNN13(10).body if isinstance(m, nn.Dropout)] == [0.5, 0.5]
