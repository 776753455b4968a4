"""ZCA whitening: pixels made uncorrelated, of unit variance, and as close as can be to the image.

With X the training images as rows, on [0, 1], Xc = X - mean and U diag(S) U^T = Xc^T Xc / n,

    W = U diag(1 / sqrt(S + 1e-5)) U^T,    whitened(x) = (x - mean) W

as in temporal ensembling (Laine and Aila, ICLR 2017, arXiv 1610.02242). The fit is in float64: the
eigenvalues of CIFAR-10 span seven decades, and float32 changes W by 7 %.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import counted
from ssl_isda.data.array_cache import Arrays, cached_arrays
from ssl_isda.data.images.memory import room_for_numbers
from ssl_isda.data.source import InMemory

EPSILON = 1e-5
FORMULA = f"x/255 - mean; U diag(1/sqrt(S + {EPSILON:g})) U^T; float64"
CHUNK_IMAGES = 2_000
MAX_FEATURES = 3 * 64 * 64
"""Values per image beyond which the eigendecomposition would take hours and many gigabytes."""


@dataclass(frozen=True)
class Whitening:
    """``mean`` (A,) and symmetric ``matrix`` (A, A), float64, with A = channels * height * width."""

    mean: Tensor
    matrix: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """(N, C, H, W) uint8 to whitened float32, a few thousand images at a time.

        Multiplying in float32 moves values of up to 24 by at most 3e-5 (CIFAR-10). It is left to
        numpy, because torch's float32 products obey a global switch that allows bfloat16. On a GPU they
        are computed in float64.
        """
        if images.device.type != "cpu":
            there, table = self._on(images.device)
            return ((_unit_range(images) - there) @ table).float().view(images.shape)
        matrix = self.matrix.float().numpy()
        whitened = torch.empty(images.shape, dtype=torch.float32)
        parts = list(zip(images.split(CHUNK_IMAGES), whitened.split(CHUNK_IMAGES), strict=True))
        shown = counted(parts, len(images), "image", lambda pair: len(pair[0]))
        for part, result in shown if len(parts) > 1 else parts:
            centred = (_unit_range(part) - self.mean).float().numpy()
            result.copy_(torch.from_numpy(centred @ matrix).view(part.shape))
        return whitened

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and matrix there, in float64; sent once."""
        if device not in self._sent:
            self._sent[device] = self.mean.to(device), self.matrix.to(device, torch.float64)
        return self._sent[device]

    @cached_property
    def _sent(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}


def fit_whitening(images: Tensor) -> Whitening:
    """The whitening of (N, C, H, W) uint8 training images."""
    mean, covariance = _mean_and_covariance(images)
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    scales = (eigenvalues.clamp(min=0) + EPSILON).rsqrt()
    return Whitening(mean, (eigenvectors * scales) @ eigenvectors.T)


def cached_whitened(
    train: InMemory, test: InMemory, cache_dir: Path
) -> tuple[Whitening, Tensor, Tensor]:
    """The whitening of the training images; both parts whitened, float32, all kept in ``cache_dir``.

    The product takes some fifteen seconds of a core for CIFAR-10, at every start of every run; reading
    its 740 MB takes three. The matrix is kept besides, for a disk that has no room for the images.

    Raises
    ------
    UsageError
        The images are larger than 64 x 64 pixels in three channels.
    """
    _refuse_large(train.images)
    digest = hashlib.sha256(test.images.numpy().data).hexdigest()
    key = _key(f"{train.fingerprint}/{digest}/float32")
    whitening = cached_whitening(train.images, train.fingerprint, cache_dir)

    def compute() -> Arrays:
        parts = {"train": train.images, "test": test.images}
        with room_for_numbers(len(train) + len(test), train.shape, "zca"):
            return {name: whitening.apply(images).numpy() for name, images in parts.items()}

    kept = cached_arrays(Path(cache_dir) / f"zca-images-{key[:16]}", key, compute)
    return whitening, torch.from_numpy(kept["train"]), torch.from_numpy(kept["test"])


def cached_whitening(images: Tensor, checksum: str, cache_dir: Path) -> Whitening:
    """The whitening of the training images with this ``checksum``, kept in ``cache_dir``."""
    key = _key(checksum)
    path = Path(cache_dir) / f"zca-{key[:16]}"
    kept = cached_arrays(path, key, lambda: _fit_loudly(images))
    return Whitening(torch.from_numpy(kept["mean"]), torch.from_numpy(kept["matrix"]))


def _refuse_large(images: Tensor) -> None:
    num_features = images[0].numel()
    if num_features > MAX_FEATURES:
        raise UsageError(
            f"zca is for images of at most {MAX_FEATURES} values, these have {num_features}; choose "
            "a smaller image size or another preprocessing"
        )


def _key(images: str) -> str:
    """What the kept arrays of ``images`` depend on."""
    return hashlib.sha256(f"{images}/{FORMULA}".encode()).hexdigest()


def _unit_range(images: Tensor) -> Tensor:
    return images.flatten(1).double() / 255


def _mean_and_covariance(images: Tensor) -> tuple[Tensor, Tensor]:
    """(A,) and (A, A), the latter divided by N, in two passes."""
    chunks = images.split(CHUNK_IMAGES)
    mean = torch.stack([_unit_range(chunk).sum(0) for chunk in chunks]).sum(0) / len(images)
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for chunk in counted(chunks, len(images), "image", len):
        centred = _unit_range(chunk) - mean
        scatter.addmm_(centred.T, centred)
    return mean, scatter / len(images)


def _fit_loudly(images: Tensor) -> Arrays:
    num_features = images[0].numel()
    print(
        f"fitting ZCA whitening to {len(images)} images of {num_features} values; "
        "for 50,000 colour images of 32 x 32 pixels this takes up to a minute",
        file=sys.stderr,
        flush=True,
    )
    whitening = fit_whitening(images)
    return {"mean": whitening.mean.numpy(), "matrix": whitening.matrix.numpy()}
