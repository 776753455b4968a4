"""What holds for every network."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from ssl_isda.models import MLP, MODELS
from ssl_isda.models.contract import Network
from tests import narrow_networks

SHAPES = [(3, 32, 32), (1, 16, 16), (3, 64, 17)]
WITH_FEATURES = [name for name in MODELS if "features" in MODELS.config(name).__dataclass_fields__]
OF_IMAGES = [name for name in MODELS if name not in ("linear", "mlp")]


def in_rows(*values: torch.Tensor) -> list[torch.Tensor]:
    """One row an image, or a cell."""
    return [v if v.ndim == 2 else v.movedim(1, -1).flatten(0, 2) for v in values]


def build(name: str, shape: tuple[int, ...] = (3, 16, 16), **options: Any) -> Network:
    torch.manual_seed(0)
    return narrow_networks.build(name, 4, shape, **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_linear_in_the_features_and_every_parameter_trains(name, shape) -> None:
    """Shifts before a BatchNorm may have no effect, and then a gradient of zero."""
    network = build(name, shape).double()
    logits, features = network(torch.randn(5, *shape, dtype=torch.float64))
    width = network.head.weight.shape[1]
    assert logits.shape[:2] == (5, 4) and features.shape[:2] == (5, width)
    assert logits.shape[2:] == features.shape[2:] and logits.ndim == network.head.weight.ndim
    assert logits.dtype == features.dtype == torch.float64
    loss = logits.square().sum()
    rows, of_features = in_rows(logits, features)
    expected = of_features @ network.head.weight.flatten(1).T + network.head.bias
    torch.testing.assert_close(rows, expected)
    if network.auxiliary_features is not None:
        loss = loss + network.auxiliary_head(network.auxiliary_features).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())
    weights = [p for key, p in network.named_parameters() if key.endswith("weight")]
    assert all(p.grad.norm() > 1e-9 for p in weights)
    in_stages = [id(p) for stage in network.stages() for p in stage]
    assert in_stages == [id(p) for p in network.parameters()]


@pytest.mark.parametrize("name", MODELS)
def test_state_and_precision(name: str) -> None:
    """A loaded state predicts the same, again and again; the head computes in fp32 under autocast, and
    the order of the pixels in memory changes nothing."""
    network, other = build(name), build(name)
    network(torch.randn(6, 3, 16, 16))  # running statistics move
    other.load_state_dict(network.state_dict())
    images = torch.randn(6, 3, 16, 16)
    first, loaded, again = (each.eval()(images).logits for each in (network, other, network))
    assert torch.equal(first, loaded) and torch.equal(first, again)
    other.train().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits, features = other(images.contiguous(memory_format=torch.channels_last))
    assert logits.dtype == features.dtype == torch.float32
    rows, of_features = in_rows(logits, features)
    torch.testing.assert_close(rows, of_features @ other.head.weight.flatten(1).T + other.head.bias)


@pytest.mark.parametrize("name", WITH_FEATURES)
@pytest.mark.parametrize("features", [5, 96])
def test_the_features_option_sets_the_last_layer_alone(name: str, features: int) -> None:
    network, plain = build(name, features=features), build(name)
    assert network(torch.randn(2, 3, 16, 16)).features.shape[:2] == (2, features)
    state = network.state_dict()
    changed = {k for k, v in plain.state_dict().items() if v.shape != state[k].shape}
    layers = {key.rpartition(".")[0] for key in changed} - {"head"}
    assert "head.weight" in changed and len(layers) <= 7  # of the last block alone


@pytest.mark.parametrize("name", OF_IMAGES)
def test_images_that_are_too_small_are_refused(name: str) -> None:
    network = build(name)
    side = network.smallest_side
    network.eval()(torch.randn(1, 3, side, side))
    for images in (torch.randn(2, 3, side - 1, 64), torch.randn(2, 3, 64, side - 1)):
        with pytest.raises(
            ValueError, match=f"needs images of {side} x {side} pixels or more; got"
        ):
            network(images)
    with pytest.raises(ValueError, match=r"pixels or more; got \(7,\)"):
        network(torch.randn(2, 7))


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_vectors_are_inputs_too(name: str) -> None:
    assert build(name, (7,))(torch.randn(3, 7)).logits.shape == (3, 4)


@pytest.mark.parametrize("widths", [(), (12,), (12, 9, 5)])
@pytest.mark.parametrize("kind", ["batchnorm", "layernorm"])
def test_an_mlp_has_as_many_layers_as_it_is_given_widths(
    kind: str, widths: tuple[int, ...]
) -> None:
    options = {"hidden": 6, "features": 3, "widths": widths, "normalization": kind, "dropout": 0.0}
    network, rows = build("mlp", (7,), **options), torch.randn(5, 7)
    layers = [each for each in network.modules() if isinstance(each, torch.nn.Linear)]
    units = [7, *(widths or (6,)), 3, 4]
    assert [(each.in_features, each.out_features) for each in layers] == [*pairwise(units)]
    beside = network.train()(rows).features[:2]
    alone = network.train()(rows[:2]).features
    assert torch.allclose(alone, beside, atol=1e-6) == (kind == "layernorm"), "within each row"
    noisy = build("mlp", (7,), **(options | {"dropout": 0.5})).train()
    assert not torch.equal(noisy(rows).features, noisy(rows).features)
    with pytest.raises(ValueError, match=r"each layer has 1 unit or more; got \[0, 64\]"):
        MLP(4, 7, hidden=0)


@pytest.mark.parametrize("name", [n for n in MODELS if "depth" in narrow_networks.narrow(n)])
def test_a_depth_that_no_number_of_blocks_gives_is_refused(name: str) -> None:
    depth = narrow_networks.narrow(name)["depth"]
    for wrong in (1, depth + 1):
        with pytest.raises(ValueError, match=rf"so {depth}, .* and so on; got {wrong}"):
            build(name, depth=wrong)
