"""CNN-13: Table 10 of ISDA, and the images that it takes."""

import pytest
import torch
from torch import nn

from ssl_isda.models import CNN13


def test_the_layers_are_those_of_table_10() -> None:
    layers = [m for m in CNN13(10).modules() if isinstance(m, nn.Conv2d)]
    shapes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.padding[0]) for m in layers]
    wide = [(3, 128, 3, 1), (128, 128, 3, 1), (128, 128, 3, 1)]
    wider = [(128, 256, 3, 1), (256, 256, 3, 1), (256, 256, 3, 1)]
    assert shapes == [*wide, *wider, (256, 512, 3, 0), (512, 256, 1, 0), (256, 128, 1, 0)]
    assert all(m.bias is None for m in layers)
    names = [type(m).__name__ for m in CNN13(10).body]
    pools = [k for k, name in enumerate(names) if name == "MaxPool2d"]
    assert [names[k + 1] for k in pools] == ["Dropout", "Dropout"] and names.count("Dropout") == 2
    assert [m.p for m in CNN13(10).body if isinstance(m, nn.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (16, 40), (33, 16)])
def test_any_image_from_16_pixels(size: tuple[int, int]) -> None:
    logits, features = CNN13(4, width=0.05, in_channels=1)(torch.randn(2, 1, *size))
    assert features.shape == (2, 6) and logits.shape == (2, 4)


@pytest.mark.parametrize("size", [(15, 32), (32, 15)])
def test_a_smaller_image_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="16 x 16 pixels or more; got"):
        CNN13(4, width=0.05)(torch.randn(2, 3, *size))


@pytest.mark.parametrize("width", [0, -1])
def test_a_width_of_nothing_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        CNN13(10, width=width)
    assert CNN13(10, width=1e-9)(torch.randn(2, 3, 16, 16))[0].shape == (2, 10)
