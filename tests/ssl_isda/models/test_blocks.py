"""One block of each family against its formula, written out plainly, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.models import (
    densenet,
    leaky_wide_resnet,
    pyramidnet,
    resnet,
    resnext,
    shake_shake,
    wide_resnet,
)
from ssl_isda.models.se_resnet import SqueezeExcitation

State = Mapping[str, Tensor]


def conv(x: Tensor, weight: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """Each kernel at each place: the sum over the channels of its group and its pixels."""
    n, _, h, w = x.shape
    c, inputs, size, _ = weight.shape
    padded = nn.functional.pad(x, (size // 2,) * 4)
    y = x.new_zeros(n, c, -(-h // stride), -(-w // stride))
    for k in range(c):
        first = k // (c // groups) * inputs
        for i in range(size):
            for j in range(size):
                seen = padded[:, first : first + inputs, i : i + h : stride, j : j + w : stride]
                y[:, k] += (seen * weight[k, :, i, j].view(-1, 1, 1)).sum(1)
    return y


def bn(x: Tensor, s: State, name: str) -> Tensor:
    """In evaluation: the running statistics."""
    mean, variance, weight, bias = (
        s[f"{name}.{key}"].view(-1, 1, 1)
        for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def every_second(x: Tensor) -> Tensor:
    return x[:, :, ::2, ::2]


def with_zeros(x: Tensor, channels: int) -> Tensor:
    return torch.cat([x, x.new_zeros(len(x), channels - x.shape[1], *x.shape[2:])], 1)


def residual(x: Tensor, s: State) -> Tensor:
    y = relu(bn(conv(x, s["conv1.weight"], 2), s, "bn1"))
    return bn(conv(y, s["conv2.weight"]), s, "bn2")


def resnet_block(x: Tensor, s: State) -> Tensor:
    shortcut = bn(conv(x, s["shortcut.0.weight"], 2), s, "shortcut.1")
    return relu(shortcut + residual(x, s))


def resnet_block_with_zeros(x: Tensor, s: State) -> Tensor:
    return relu(with_zeros(every_second(x), 6) + residual(x, s))


def se_block(x: Tensor, s: State) -> Tensor:
    y = residual(x, s)
    hidden = relu(y.sum((2, 3)) / (y.shape[2] * y.shape[3]) @ s["gate.squeeze.weight"].T)
    scale = 1 / (1 + (-hidden @ s["gate.excite.weight"].T).exp())
    shortcut = bn(conv(x, s["shortcut.0.weight"], 2), s, "shortcut.1")
    return relu(shortcut + y * scale[:, :, None, None])


def wide_block(x: Tensor, s: State) -> Tensor:
    a = relu(bn(x, s, "bn1"))
    y = conv(relu(bn(conv(a, s["conv1.weight"], 2), s, "bn2")), s["conv2.weight"])
    return conv(a, s["shortcut.weight"], 2) + y


def wide_block_that_keeps_the_size(x: Tensor, s: State) -> Tensor:
    a = relu(bn(x, s, "bn1"))
    return x + conv(relu(bn(conv(a, s["conv1.weight"]), s, "bn2")), s["conv2.weight"])


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


def leaky_branch(x: Tensor, s: State) -> tuple[Tensor, Tensor]:
    a = leaky(bn(x, s, "bn1"))
    return a, conv(leaky(bn(conv(a, s["conv1.weight"], 2), s, "bn2")), s["conv2.weight"])


def leaky_block(x: Tensor, s: State) -> Tensor:
    return conv(x, s["shortcut.weight"], 2) + leaky_branch(x, s)[1]


def first_leaky_block(x: Tensor, s: State) -> Tensor:
    a, y = leaky_branch(x, s)
    return conv(a, s["shortcut.weight"], 2) + y


def resnext_block(x: Tensor, s: State) -> Tensor:
    y = relu(bn(conv(x, s["conv1.weight"]), s, "bn1"))
    y = relu(bn(conv(y, s["conv2.weight"], 2, groups=3), s, "bn2"))
    shortcut = bn(conv(x, s["shortcut.0.weight"], 2), s, "shortcut.1")
    return relu(shortcut + bn(conv(y, s["conv3.weight"]), s, "bn3"))


def dense_layer(x: Tensor, s: State) -> Tensor:
    y = conv(relu(bn(x, s, "bn1")), s["conv1.weight"])
    return torch.cat([x, conv(relu(bn(y, s, "bn2")), s["conv2.weight"])], 1)


def transition(x: Tensor, s: State) -> Tensor:
    y = conv(relu(bn(x, s, "bn")), s["conv.weight"])
    y = (y[:, :, :-1] + y[:, :, 1:])[:, :, ::2]
    return (y[..., :-1] + y[..., 1:])[..., ::2] / 4


def shake_block(x: Tensor, s: State) -> Tensor:
    def branch(name: str) -> Tensor:
        y = relu(bn(conv(relu(x), s[f"{name}.1.weight"], 2), s, f"{name}.2"))
        return bn(conv(y, s[f"{name}.4.weight"]), s, f"{name}.5")

    moved = torch.zeros_like(x)
    moved[:, :, :-1, :-1] = x[:, :, 1:, 1:]
    halves = [(x, "shortcut.conv1.weight"), (moved, "shortcut.conv2.weight")]
    both = torch.cat([conv(every_second(relu(r)), s[name]) for r, name in halves], 1)
    return bn(both, s, "shortcut.bn") + (branch("branch1") + branch("branch2")) / 2


def pyramid_block(x: Tensor, s: State) -> Tensor:
    y = conv(bn(x, s, "branch.0"), s["branch.1.weight"])
    y = conv(relu(bn(y, s, "branch.2")), s["branch.4.weight"], 2)
    y = bn(conv(relu(bn(y, s, "branch.5")), s["branch.7.weight"]), s, "branch.8")
    means = (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
    return with_zeros(means, 6) + 0.75 * y


def new_leaky_block(is_first: bool) -> nn.Module:
    block = leaky_wide_resnet.Block(4, 5, 6, 2, norm=nn.BatchNorm2d)
    block.is_first = is_first
    return block


BLOCKS: dict[Callable[[Tensor, State], Tensor], nn.Module] = {
    resnet_block: resnet.Block(4, 5, 6, 2),
    resnet_block_with_zeros: resnet.Block(4, 5, 6, 2, shortcut="zeros"),
    se_block: resnet.Block(4, 5, 6, 2, gate=lambda channels: SqueezeExcitation(channels, 3)),
    wide_block: wide_resnet.Block(4, 5, 6, 2),
    wide_block_that_keeps_the_size: wide_resnet.Block(4, 5, 4, 1),
    leaky_block: new_leaky_block(is_first=False),
    first_leaky_block: new_leaky_block(is_first=True),
    resnext_block: resnext.Block(4, 8, 6, 2, cardinality=3),
    dense_layer: densenet.Layer(4, 3),
    transition: densenet.Transition(4),
    shake_block: shake_shake.Block(4, 5, 6, 2),
    pyramid_block: pyramidnet.Block(4, 5, 6, 2, drop_probability=0.25),
}


@pytest.mark.parametrize("formula", BLOCKS, ids=lambda formula: formula.__name__)
def test_a_block_computes_its_formula(formula: Callable[[Tensor, State], Tensor]) -> None:
    block, draws = BLOCKS[formula].double().eval(), torch.Generator().manual_seed(0)
    for key, value in block.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=draws))
            value.abs_() if key.endswith("var") else None
    maps = torch.randn(2, 4, 6, 8, generator=draws, dtype=torch.float64)
    given = maps.clone()
    torch.testing.assert_close(block(maps), formula(given, block.state_dict()))
    assert torch.equal(maps, given)


def test_odd_sizes_are_rounded_up_by_all_but_densenets_pooling() -> None:
    maps = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    for formula, block in BLOCKS.items():
        expected = {"transition": (2, 3), "dense_layer": (5, 7)}.get(formula.__name__, (3, 4))
        if "keeps" not in formula.__name__:
            assert block.double().eval()(maps).shape[2:] == expected
