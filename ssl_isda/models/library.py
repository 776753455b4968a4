"""A classifier of another library, up to its last layer, with a linear head of our own."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from ssl_isda.base.words import shown
from ssl_isda.models.contract import Network

BACKBONE = "backbone."
"""How names of the library's part begin in a state dict of ours."""
CONTAINERS = (nn.Sequential, nn.ModuleList)
Result = TypeVar("Result")


class TrainedOn(NamedTuple):
    """The images that a network's weights were trained with.

    side : height and width in pixels
    mean, std : of each channel, where a pixel is 0 to 1
    interpolation : Pillow's filter by which images were brought to the size
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


@runtime_checkable
class LibraryConfig(Protocol):
    """What the options of a library's networks say without building one."""

    pretrained: bool

    def trained_on(self) -> TrainedOn:
        """The images of the weights that the library has for the network.

        Raises
        ------
        ValueError
            The library has no such network.
        """

    def weights_file(self) -> Path:
        """The file of these weights, which is downloaded unless it is in the library's cache.

        Raises
        ------
        ValueError
            The library has none, or they are neither in the cache nor to be had.
        """


class LibraryNetwork(Network):
    """``backbone`` up to what the library's own last layer sees, and a linear head on it.

    Parameters
    ----------
    name : the library's
    backbone : the library's network
    num_classes : of the new head
    shape : (channels, height, width) of the images; the number of features is found by passing one

    Raises
    ------
    ValueError
        The network does not take images of this shape.
    """

    library_heads: tuple[str, ...] = ()
    """The names of the layers, in the library's network, that make logits."""

    def __init__(
        self, name: str, backbone: nn.Module, num_classes: int, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        found = attempted(name, shape, lambda: self._passed(torch.zeros(1, *shape)))
        if found.ndim != 2:
            raise ValueError(f"{name} gives no row of features for each image")
        self.head = nn.Linear(found.shape[1], num_classes)

    @abstractmethod
    def before_head(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) to what the library's own last layer would see, (n, a)."""

    @abstractmethod
    def library_stages(self) -> list[list[nn.Parameter]]:
        """The backbone's parameters, from shallow to deep."""

    def converted(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The library's state dict as the library itself would read it for this network: names of older
        versions, position embeddings of another size of images."""
        return state

    def features(self, images: Tensor) -> Tensor:
        self.refuse_small(images)
        return self.before_head(images)

    def renamed(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Of the library's state dict: its last layer is the head here, the rest the backbone; the first
        convolution is brought to the number of channels, and what only a classifier has is left out.
        A state dict of this class is brought to the size of images and the channels alone."""
        own, found = self.state_dict(), {}
        inner = {n[len(BACKBONE) :]: v for n, v in state.items() if n.startswith(BACKBONE)}
        if inner:
            found = {n: v for n, v in state.items() if not n.startswith(BACKBONE)}
            found |= {f"{BACKBONE}{n}": v for n, v in self.converted(inner).items()}
        else:
            named = ((self._name_here(n, own), v) for n, v in self.converted(dict(state)).items())
            found = {name: value for name, value in named if name}
            counts = {n: v for n, v in own.items() if n.endswith("num_batches_tracked")}
            found = {**counts, **found}  # old files have none
        return {name: _fitting(name, value, own.get(name)) for name, value in found.items()}

    def _name_here(self, name: str, own: Mapping[str, Tensor]) -> str | None:
        """None of what belongs to a classifier that is not here."""
        head = next((each for each in self.library_heads if name.startswith(f"{each}.")), None)
        if head and len(self.library_heads) == 1:
            return f"head{name.removeprefix(head)}"
        part = {each.partition(".")[0] for each in self.library_heads}
        if head or (name.partition(".")[0] in part and f"{BACKBONE}{name}" not in own):
            return None
        return f"{BACKBONE}{name}"

    def stages(self) -> list[list[nn.Parameter]]:
        """As the library groups its layers, and the head."""
        stages = [*self.library_stages(), list(self.head.parameters())]
        return [stage for stage in stages if stage]

    def _passed(self, images: Tensor) -> Tensor:
        was_training = self.training
        with torch.no_grad():
            features = self.eval().before_head(images)
        self.train(was_training)
        return features


def attempted(name: str, shape: tuple[int, ...], work: Callable[[], Result]) -> Result:
    """What ``work`` gives, which builds or passes a library's network.

    Raises
    ------
    ValueError
        It fails in any way: images of this shape do not suit the network.
    """
    if len(shape) != 3:
        raise ValueError(f"{name} takes images, not vectors of {shape[0]} numbers")
    try:
        return work()
    except Exception as error:  # libraries fail in many ways
        size = " x ".join(map(str, shape))
        reason = " ".join(str(error).split())[:90]
        raise ValueError(f"{name} does not take images of {size} ({reason})") from error


def known_name(library: str, name: str | None, names: Callable[[], Collection[str]]) -> str:
    """``name``, which is one of ``names()``, for which the library is imported.

    Raises
    ------
    ValueError
        It is missing, or unknown: the message has its nearest neighbours.
    """
    if not name:
        raise ValueError(f"needs --name, the network of {library}, such as resnet18")
    known = names()
    if name in known:
        return name
    near = difflib.get_close_matches(name.casefold(), known, n=5, cutoff=0.5)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise ValueError(f"{library} has no network {shown(name)}{hint}")


def not_at_hand(name: str, error: Exception | None = None) -> str:
    """What to say of weights that are neither in the cache nor to be had."""
    reason = f" ({type(error).__name__})" if error else ""
    return (
        f"the weights of {name} are not in the hub's cache and cannot be downloaded{reason}: give a "
        "file of them with --weights"
    )


def layers_in_order(module: nn.Module) -> Iterator[list[nn.Parameter]]:
    """The parameters of ``module`` by blocks, from shallow to deep, where its parts are used in order."""
    own = list(module.parameters(recurse=False))
    if own:
        yield own
    for child in module.children():
        if type(child) in CONTAINERS or type(child).__name__ == "Encoder":
            yield from layers_in_order(child)
        else:
            yield list(child.parameters())


def for_channels(weight: Tensor, channels: int) -> Tensor:
    """The weight (o, 3, h, w) of a convolution of RGB for images of ``channels`` channels.

    One channel: the sum over RGB, so that a gray image gives what it gives as RGB. More: those of RGB in
    turn, times 3 / ``channels``, so that maps keep their size.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    if channels == 3:
        return weight
    return weight[:, [k % 3 for k in range(channels)]] * (3 / channels)


def _fitting(name: str, given: Tensor, own: Tensor | None) -> Tensor:
    """The weight of a convolution of RGB for as many channels as ``own`` has, that of a head as a matrix,
    anything else as it is."""
    if name == "head.weight":
        return given.flatten(1)
    if own is None or own.ndim != 4 or given.ndim != 4 or given.shape[1] != 3:
        return given
    alike = given.shape[0] == own.shape[0] and given.shape[2:] == own.shape[2:]
    return for_channels(given, own.shape[1]) if alike else given
