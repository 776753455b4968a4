"""BigGAN-deep of ImageNet, for those who have its published weights: ``--generator biggan``.

Brock, Donahue & Simonyan, Large scale GAN training for high fidelity natural image synthesis, ICLR 2019,
arXiv:1809.11096. The network is that of the package pytorch-pretrained-biggan, whose folders hold
``config.json`` and ``pytorch_model.bin``; nothing is downloaded.

Truncation is 1, as in the code that was published for ISDA's pictures of ImageNet. Differs from that
code: evaluation mode, and images are made smaller with smoothing, so that no pixels are left out.

Shape key: n images, d numbers of z, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.generators.contract import GENERATORS
from ssl_isda.generators.imagenet_numbers import imagenet_numbers

TRUNCATION = 1.0
FILES = ("config.json", "pytorch_model.bin")
PACKAGE = "pytorch-pretrained-biggan"


class BigGan(nn.Module):
    """z (n, d) and classes (n,) of a run to images (n, 3, H, W) of the run's size, from -1 to 1.

    Parameters
    ----------
    network : the package's ``BigGAN``
    numbers : for each class of the run its number among the network's own
    size : (H, W), to which images are brought by bilinear interpolation
    """

    knows_classes = True
    numbers: Tensor

    def __init__(self, network: Any, numbers: Sequence[int], size: Sequence[int]) -> None:
        super().__init__()
        self.network, self.size = network, tuple(size)
        self.num_noise: int = network.config.z_dim
        self.num_classes: int = network.config.num_classes
        self.register_buffer("numbers", torch.tensor(numbers))

    def forward(self, z: Tensor, classes: Tensor) -> Tensor:
        one_hot = F.one_hot(self.numbers[classes], self.num_classes).to(z.dtype)
        images = self.network(z, one_hot, TRUNCATION)
        fitting = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        return fitting.clamp(-1, 1)


@GENERATORS.register("biggan")
def biggan(
    weights: Path | None,
    classes: tuple[int, ...],
    class_names: tuple[str, ...],
    shape: tuple[int, ...],
) -> nn.Module:
    """The published generator for a run.

    Raises
    ------
    UsageError
        Its package or its weights are missing or damaged, or a class has no number.
    """
    if weights is None:
        raise UsageError(
            f"biggan needs --generator-weights, the folder of its {' and '.join(FILES)}, "
            "and visualize is the command for it"
        )
    network = _network(weights)
    known = network.config.num_classes
    numbers = _given(classes, class_names, known) if classes else imagenet_numbers(class_names)
    return BigGan(network, numbers, shape[1:])


def _given(classes: tuple[int, ...], class_names: tuple[str, ...], known: int) -> tuple[int, ...]:
    wrong = [number for number in classes if not 0 <= number < known]
    if wrong:
        raise UsageError(f"--generator-classes must be from 0 to {known - 1}, got {wrong[0]}")
    if len(classes) != len(class_names):
        raise UsageError(
            f"--generator-classes needs one number for each of the run's {len(class_names)} classes, in "
            f"their order, got {len(classes)}"
        )
    return classes


def _network(weights: Path) -> Any:
    """With its weights, whole."""
    for name in FILES:
        if not (weights / name).is_file():
            raise UsageError(f"--generator-weights {printed(weights)} has no {name}")
    try:
        from pytorch_pretrained_biggan import BigGAN, BigGANConfig
    except ImportError as error:
        raise UsageError(
            f"--generator biggan needs a package that is missing here: pip install {PACKAGE}"
        ) from error
    config, state = (weights / name for name in FILES)
    try:
        network = BigGAN(BigGANConfig.from_json_file(config))
        found = torch.load(state, map_location="cpu", weights_only=True)
        missing = network.load_state_dict(found, strict=False).missing_keys
    except Exception as error:  # unchecked bytes: the reader may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UsageError(
            f"--generator-weights {printed(weights)} cannot be used: {reason}"
        ) from error
    if missing:
        raise UsageError(
            f"--generator-weights {printed(weights)}: {FILES[1]} lacks {len(missing)} arrays of the "
            f"network in {FILES[0]}, {missing[0]} among them"
        )
    return network
