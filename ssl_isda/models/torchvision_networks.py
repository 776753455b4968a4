"""``--model torchvision --name NAME``: any classifier of torchvision.

TorchVision maintainers and contributors, TorchVision, 2016, doi:10.5281/zenodo.7092984.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from torch import Tensor, hub, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS
from ssl_isda.models.drop_path import with_own_drop_path
from ssl_isda.models.library import (
    LibraryNetwork,
    TrainedOn,
    attempted,
    for_channels,
    known_name,
    layers_in_order,
    not_at_hand,
)

SIZES = {"vit": "image_size", "maxvit": "input_size"}
"""Option of the families that are made for one size of images."""
OF_OLD_DENSENETS = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")
"""Names of the weights that torchvision has of DenseNet, which its layers had in an older version."""
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Config:
    """A network of torchvision."""

    name: str | None = None
    """The library's name of the network, such as resnet18; timm's and torchvision's may have a dot and
    the name of weights behind it."""
    pretrained: bool = False
    """Start from the library's weights: those in the cache of its hub, to which they are downloaded."""
    drop_path: Annotated[float, Interval(ge=0, lt=1)] | None = None
    """Probability with which stochastic depth leaves out the last branch, earlier ones less; unset: the
    library's."""

    def trained_on(self) -> TrainedOn:
        """As ``LibraryConfig`` says."""
        how = _weights(self.name).transforms()
        return TrainedOn(
            how.crop_size[0], tuple(how.mean), tuple(how.std), str(how.interpolation.value)
        )

    def weights_file(self) -> Path:
        """As ``LibraryConfig`` says."""
        return _from_hub(str(self.name), _weights(self.name).url)


@final
class TorchvisionNetwork(LibraryNetwork):
    """torchvision's network without its last linear layer, or SqueezeNet's last convolution, and a
    linear head. Dropout that stands before the last layer stays.

    Vision transformers and MaxViT are built for the size of the data.

    Parameters
    ----------
    build : what makes a network of torchvision's classes that has no name there
    """

    source = (
        "TorchVision maintainers and contributors, TorchVision, 2016, doi:10.5281/zenodo.7092984"
    )

    def __init__(
        self,
        name: str,
        num_classes: int,
        shape: tuple[int, ...],
        drop_path: float | None = None,
        build: Callable[[], nn.Module] | None = None,
    ) -> None:
        network = attempted(name, shape, lambda: _built(name, shape, build))
        with_own_drop_path(name, network, drop_path)
        headless = _without_last_layer(network)
        super().__init__(name, network, num_classes, shape)
        self.library_heads = (headless,)
        self._name = name

    def before_head(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)
        return features

    def converted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self._name.startswith("densenet"):
            return {OF_OLD_DENSENETS.sub(r"\1\2", name): value for name, value in state.items()}
        if self._name.startswith("vit_"):
            return _resized(self.backbone, state)
        auxiliary = self._name in WITH_AUXILIARY_HEADS
        return {
            name: value
            for name, value in state.items()
            if not (auxiliary and name.lower().startswith("aux"))
        }

    def library_stages(self) -> list[list[nn.Parameter]]:
        return list(layers_in_order(self.backbone))


@MODELS.register("torchvision")
def torchvision(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> TorchvisionNetwork:
    """The network that ``--name`` names, with random weights.

    Raises
    ------
    ValueError
        torchvision has no such network, or the network does not take these images.
    """
    name = known_name("torchvision", config.name, _names)
    return TorchvisionNetwork(name.partition(".")[0], num_classes, shape, config.drop_path)


def _resized(network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A vision transformer's weights, whose position embeddings are brought to its size of images."""
    from torchvision.models.vision_transformer import interpolate_embeddings

    sizes: Any = (network.image_size, network.patch_size)
    head = {name: value for name, value in state.items() if name.startswith("heads.")}
    rest = OrderedDict((name, value) for name, value in state.items() if name not in head)
    return {**interpolate_embeddings(*sizes, rest), **head}


def _weights(name: str | None) -> Any:
    """The member of torchvision's enumeration of weights that ``--name`` means."""
    from torchvision.models import get_model_weights

    base, _, tag = known_name("torchvision", name, _names).partition(".")
    known: Any = get_model_weights(base)
    return next((each for each in known if each.name.lower() == tag), known.DEFAULT)


def _from_hub(name: str, url: str) -> Path:
    file = Path(hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if file.is_file():
        return file
    checksum = file.stem.rpartition("-")[2]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        hub.download_url_to_file(url, str(file), hash_prefix=checksum, progress=False)
    except Exception as error:  # networks fail in many ways
        raise ValueError(not_at_hand(name, error)) from error
    return file


def _names() -> set[str]:
    from torchvision import models

    names = models.list_models(module=models)
    weights = {name: models.get_model_weights(name) for name in names}
    tagged = (f"{name}.{each.name.lower()}" for name in names for each in weights[name])
    return {*names, *tagged}


def _built(name: str, shape: tuple[int, ...], build: Callable[[], nn.Module] | None) -> nn.Module:
    """torchvision's network of that name, or what ``build`` gives, for so many channels."""
    network = build() if build else _of_the_library(name, shape)
    first = next(each for each in network.modules() if isinstance(each, nn.Conv2d))
    if shape[0] != first.in_channels:
        first.in_channels = shape[0]
        first.weight = nn.Parameter(for_channels(first.weight.detach(), shape[0]))
    return network


def _of_the_library(name: str, shape: tuple[int, ...]) -> nn.Module:
    from torchvision.models import get_model

    options: dict[str, Any] = {}
    size = SIZES.get(name.partition("_")[0])
    if size:
        if shape[1] != shape[2]:
            raise ValueError("it needs square ones")
        options[size] = shape[1] if size == "image_size" else shape[1:]
    if name in WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False, "init_weights": True}
        options["transform_input"] = shape[0] == 3  # as its weights were trained
    network: nn.Module = get_model(name, weights=None, **options)
    return network


def _without_last_layer(network: nn.Module) -> str:
    """Take away the layer that makes the logits; its name."""
    linear = [str(name) for name, m in network.named_modules() if isinstance(m, nn.Linear)]
    if linear:
        network.set_submodule(linear[-1], nn.Identity())
        return linear[-1]
    # SqueezeNet: dropout, a convolution to the logits, ReLU, means.
    dropout, _, _, means = network.get_submodule("classifier").children()
    network.classifier = nn.Sequential(dropout, nn.Identity(), nn.Identity(), means)
    return "classifier.1"
