"""``--model timm --name NAME``: any classifier of timm.

Wightman, PyTorch Image Models, 2019, doi:10.5281/zenodo.4414861.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from torch import Tensor, nn

from ssl_isda.base.options import Interval
from ssl_isda.models.contract import MODELS
from ssl_isda.models.drop_path import with_own_drop_path
from ssl_isda.models.library import (
    LibraryNetwork,
    TrainedOn,
    attempted,
    known_name,
    layers_in_order,
    not_at_hand,
)


@dataclass(frozen=True)
class Config:
    """A network of timm."""

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
        about = _about(self.name)
        filter_of_images = about.interpolation or "bilinear"
        return TrainedOn(about.input_size[-1], about.mean, about.std, filter_of_images)

    def weights_file(self) -> Path:
        """As ``LibraryConfig`` says."""
        return _from_hub(str(self.name), _about(self.name))


@final
class TimmNetwork(LibraryNetwork):
    """timm's network up to ``forward_head(..., pre_logits=True)``, and a linear head.

    Networks that are made for one size of images, such as a ViT, are built for that of the data.
    """

    source = "Wightman, PyTorch Image Models, 2019, doi:10.5281/zenodo.4414861"

    def __init__(
        self,
        name: str,
        num_classes: int,
        shape: tuple[int, ...],
        drop_path: float | None = None,
    ) -> None:
        backbone = attempted(name, shape, lambda: _built(name, shape, drop_path))
        with_own_drop_path(name, backbone, drop_path)
        super().__init__(name, backbone, num_classes, shape)
        about: Any = backbone.pretrained_cfg
        heads: str | tuple[str, ...] = about["classifier"]
        self.library_heads = (heads,) if isinstance(heads, str) else tuple(heads)
        self._name = name

    def before_head(self, images: Tensor) -> Tensor:
        network: Any = self.backbone
        features: Tensor = network.forward_head(network.forward_features(images), pre_logits=True)
        return features

    def converted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        from timm.models import model_entrypoint

        module = sys.modules[model_entrypoint(self._name.partition(".")[0]).__module__]
        convert = getattr(module, "checkpoint_filter_fn", None)
        found: Mapping[str, Tensor] = convert(state, self.backbone) if convert else state
        return found

    def library_stages(self) -> list[list[nn.Parameter]]:
        from timm.models import group_parameters

        if not hasattr(self.backbone, "group_matcher"):
            return list(layers_in_order(self.backbone))
        matcher: Any = self.backbone.group_matcher
        named = dict(self.backbone.named_parameters())
        groups = group_parameters(self.backbone, matcher(coarse=False), return_values=False)
        return [[named[name] for name in names if name in named] for names in groups.values()]


@MODELS.register("timm")
def timm(config: Config, *, num_classes: int, shape: tuple[int, ...]) -> TimmNetwork:
    """The network that ``--name`` names, with random weights.

    Raises
    ------
    ValueError
        timm is not installed or has no such network, or the network does not take these images.
    """
    name = known_name("timm", config.name, _names)
    return TimmNetwork(name, num_classes, shape, config.drop_path)


def _about(name: str | None) -> Any:
    """What timm knows of the weights of a network."""
    known = known_name("timm", name, _names)
    from timm import get_pretrained_cfg

    return get_pretrained_cfg(known)


def _from_hub(name: str, about: Any) -> Path:
    """The first of the files that the hub may have of these weights."""
    if not about.hf_hub_id:
        raise ValueError(f"timm has no weights of {name} on the hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = about.hf_hub_id.partition("@")
    try:
        for file in (about.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
            with suppress(EntryNotFoundError):
                if file:
                    return Path(hf_hub_download(repository, file, revision=revision or None))
    except Exception as error:  # networks fail in many ways
        raise ValueError(not_at_hand(name, error)) from error
    raise ValueError(not_at_hand(name))


def _names() -> set[str]:
    try:
        from timm import list_models
    except ImportError as error:
        raise ValueError("needs a package: pip install 'ssl-isda[backbones]'") from error
    return {*list_models(), *list_models(pretrained=True)}


def _built(name: str, shape: tuple[int, ...], drop_path: float | None) -> nn.Module:
    options: dict[str, Any] = {"in_chans": shape[0], "img_size": shape[1:]}
    if drop_path:
        options["drop_path_rate"] = drop_path
    return _created(name, options)


def _created(name: str, options: dict[str, Any]) -> nn.Module:
    """With those of the options that the network has."""
    from timm import create_model

    try:
        network: nn.Module = create_model(name, num_classes=0, **options)
    except TypeError as error:
        foreign = next((each for each in options if f"'{each}'" in str(error)), None)
        if foreign is None:
            raise
        rest = {each: value for each, value in options.items() if each != foreign}
        return _created(name, rest)
    return network
