"""What holds for every network, and the sizes that papers give."""

from __future__ import annotations

import pytest
import torch

from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.models.resnet import Block

SHAPES = [(3, 32, 32), (1, 16, 16)]
PARAMETERS = {
    "cnn13": {10: 3_121_802, 100: 3_133_412},
    "resnet20": {10: 269_722},
    "resnet32": {10: 464_154},
}


def build(name: str, shape: tuple[int, ...] = (3, 32, 32), **options: int) -> Network:
    torch.manual_seed(0)
    return MODELS[name](MODELS.config(name)(**options), num_classes=4, shape=shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_linear_in_the_features_and_every_parameter_trains(name, shape) -> None:
    network = build(name, shape).double()
    logits, features = network(torch.randn(5, *shape, dtype=torch.float64))
    assert logits.shape == (5, 4) and features.shape == (5, network.head.in_features)
    assert logits.dtype == features.dtype == torch.float64
    expected = features @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    assert all(p.grad.norm() > 0 for p in network.parameters())
    in_stages = [id(p) for stage in network.stages() for p in stage]
    assert in_stages == [id(p) for p in network.parameters()]


@pytest.mark.parametrize("name", MODELS)
def test_state_and_precision(name: str) -> None:
    """A loaded state predicts the same; the head computes in fp32 whatever autocast does."""
    network, other = build(name), build(name)
    network(torch.randn(6, 3, 32, 32))  # running statistics move
    other.load_state_dict(network.state_dict())
    images = torch.randn(6, 3, 32, 32)
    assert torch.equal(network.eval()(images).logits, other.eval()(images).logits)
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = network(images)
    assert logits.dtype == features.dtype == torch.float32
    torch.testing.assert_close(logits, features @ network.head.weight.T + network.head.bias)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"linear"}))
@pytest.mark.parametrize("features", [5, 96])
def test_the_features_option_sets_the_last_layer_alone(name: str, features: int) -> None:
    network, plain = build(name, features=features), build(name)
    assert network(torch.randn(2, 3, 32, 32)).features.shape == (2, features)
    state = network.state_dict()
    changed = [k for k, v in plain.state_dict().items() if v.shape != state[k].shape]
    assert changed[-1] == "head.weight" and len(changed) <= 6  # one layer, its BatchNorm, the head


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_vectors_are_inputs_too(name: str) -> None:
    assert build(name, (7,))(torch.randn(3, 7)).logits.shape == (3, 4)


def test_a_residual_block_adds_to_a_shortcut_without_parameters() -> None:
    """Every second pixel, and zeros for new channels."""
    block, maps = Block(2, 3, 5, stride=2), torch.rand(1, 2, 4, 4)
    torch.nn.init.zeros_(block.bn2.weight)
    expected = torch.cat([maps[:, :, ::2, ::2], torch.zeros(1, 3, 2, 2)], dim=1)
    assert torch.equal(block(maps), expected)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_number_of_parameters_is_the_papers(name: str) -> None:
    for num_classes, expected in PARAMETERS[name].items():
        network = MODELS[name](MODELS.config(name)(), num_classes=num_classes, shape=(3, 32, 32))
        assert sum(parameter.numel() for parameter in network.parameters()) == expected
