"""Networks of timm and torchvision: the library's own numbers, with a head of our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.models import MODELS
from ssl_isda.models.contract import Network
from ssl_isda.models.drop_path import DropPath
from ssl_isda.training.weights import Weights

ORIGIN = Path("w.pt")


def ours(library: str, num_classes: int = 5, side: int = 32, channels: int = 3, **options: Any):
    config = MODELS.config(library)(**options)
    return MODELS[library](config, num_classes=num_classes, shape=(channels, side, side))


def theirs(library: str, name: str, num_classes: int = 5) -> nn.Module:
    """The library's whole network, with numbers of its own in all that it holds."""
    if library == "timm":
        from timm import create_model

        network: nn.Module = create_model(name, num_classes=num_classes)
    else:
        from torchvision.models import get_model

        extra = {"init_weights": False} if name == "googlenet" else {}
        network = get_model(name, weights=None, num_classes=num_classes, **extra)
    draws = torch.Generator().manual_seed(1)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=draws) / 10 + 0.05)
    return network.eval()


def loaded(network: Network, state: Mapping[str, Tensor]) -> str:
    classes = [str(k) for k in range(len(network.head.weight))]
    return Weights(ORIGIN, state).load_into(network, classes)


SAME_LOGITS = [
    ("torchvision", "shufflenet_v2_x0_5"),
    ("torchvision", "mobilenet_v3_small"),
    ("torchvision", "googlenet"),
    ("timm", "mobilenetv2_035"),
    ("timm", "test_convnext"),
]


@pytest.mark.parametrize(
    ("library", "name"), SAME_LOGITS, ids=["-".join(each) for each in SAME_LOGITS]
)
def test_the_librarys_weights_give_the_librarys_logits(library: str, name: str) -> None:
    """So features are what its own last layer sees, and every weight has come to its place."""
    network, whole = ours(library, name=name), theirs(library, name)
    assert loaded(network, whole.state_dict()) == f"starting from the weights of {ORIGIN}"
    images = torch.rand(3, 3, 32, 32)
    as_trained = images.clone()
    if name == "googlenet":  # the layer before its first was made for numbers of another kind
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        as_trained = (images * std.view(-1, 1, 1) + mean.view(-1, 1, 1) - 0.5) / 0.5
    torch.testing.assert_close(network.eval()(images).logits, whole(as_trained))


def test_a_head_of_other_classes_is_left_out_and_gray_images_are_as_in_color() -> None:
    gray = ours("torchvision", num_classes=3, channels=1, name="shufflenet_v2_x0_5")
    color = ours("torchvision", num_classes=3, name="shufflenet_v2_x0_5")
    state = theirs("torchvision", "shufflenet_v2_x0_5").state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    for network in (gray, color):
        assert loaded(network, old).endswith("; the head is new: it has 5 classes there, 3 here")
    images = torch.rand(2, 1, 32, 32)
    found = gray.eval().features(images), color.eval().features(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("library", "name"), [("timm", "mobilenetv2_035"), ("torchvision", "shufflenet_v2_x0_5")]
)
def test_images_may_have_any_number_of_channels(library: str, name: str) -> None:
    """Six channels that repeat RGB are seen as RGB is."""
    many, color = ours(library, channels=6, name=name), ours(library, name=name)
    for network in (many, color):
        loaded(network, theirs(library, name).state_dict())
    images = torch.rand(2, 3, 32, 32)
    found = many.eval().features(images.repeat(1, 2, 1, 1)), color.eval().features(images)
    torch.testing.assert_close(*found)


def test_a_transformers_position_embeddings_are_brought_to_the_size_of_the_images() -> None:
    state = theirs("timm", "test_vit").state_dict()  # for images of 160 pixels
    network = ours("timm", side=64, name="test_vit")
    loaded(network, state)
    assert network(torch.rand(2, 3, 64, 64)).logits.shape == (2, 5)
    assert dict(network.state_dict())["backbone.pos_embed"].shape[1] == 1 + 4 * 4


def test_weights_that_do_not_fit_are_refused_by_their_keys() -> None:
    network = ours("torchvision", name="shufflenet_v2_x0_5")
    with pytest.raises(
        UsageError, match=r"it lacks backbone\.conv1\.0\.weight, .* and \d+ more, and has"
    ):
        loaded(network, theirs("timm", "mobilenetv2_035").state_dict())
    state = theirs("torchvision", "shufflenet_v2_x0_5").state_dict()
    state["conv5.0.weight"] = state["conv5.0.weight"][:9]
    with pytest.raises(
        UsageError, match=r"backbone\.conv5\.0\.weight is \(9, 192, 1, 1\) there, \(1024"
    ):
        loaded(network, state)


def test_drop_path_is_the_librarys_scaled_and_leaves_out_whole_branches() -> None:
    found = [
        m.probability
        for m in ours("timm", side=32, name="test_vit", drop_path=0.3).modules()
        if isinstance(m, DropPath)
    ]
    assert found == sorted(found) and found[-1] == pytest.approx(0.3) and found[0] < 0.1
    torch.manual_seed(0)
    maps = torch.ones(4000, 2, 3)
    kept = DropPath(0.25)(maps)
    assert kept.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(kept.amax((1, 2)), kept.amin((1, 2)))
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(maps), maps)


@pytest.mark.parametrize(("library", "name"), [("timm", "test_vit"), ("torchvision", "googlenet")])
def test_stages_have_each_parameter_once_and_the_head_last(library: str, name: str) -> None:
    network = ours(library, side=32, name=name)
    stages = network.stages()
    found = [id(each) for stage in stages for each in stage]
    assert len(stages) > 5 and sorted(found) == sorted(id(each) for each in network.parameters())
    assert {id(each) for each in stages[-1]} == {id(each) for each in network.head.parameters()}


def test_what_weights_were_trained_with_is_known_without_building_a_network() -> None:
    of_vit = MODELS.config("timm")(name="vit_tiny_patch16_224").trained_on()
    assert of_vit == (224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    of_resnet = MODELS.config("torchvision")(name="resnet50.imagenet1k_v1").trained_on()
    assert of_resnet.side == 224 and of_resnet.interpolation == "bilinear"
    assert of_resnet.mean == (0.485, 0.456, 0.406)
