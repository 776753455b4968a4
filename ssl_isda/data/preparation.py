"""What turns bytes into a network's input, kept in a run's folder so that it predicts without data."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import UNREADABLE_ARCHIVE, write_atomically
from ssl_isda.data.images.decoding import fitted
from ssl_isda.data.images.memory import room_for_numbers
from ssl_isda.data.source import DataSource, InMemory, Shape
from ssl_isda.data.vectors.standardization import standardized as standardized_rows
from ssl_isda.data.whitening import Whitening

FILE_NAME = "preparation.npz"
FORMAT_VERSION = 1
CHUNK_IMAGES = 5_000


@dataclass(frozen=True)
class PreparedImages:
    """Images and the pointwise step that is left for the batch: ``images.float() * scale + shift``.

    source : images as uint8, or as float32 where they are prepared already
    scale, shift : (C, 1, 1) float32, or None where the images are prepared already
    raw : the same images as uint8, where those of ``source`` are prepared already
    whole : what prepared them, for (n, C, H, W) uint8 on any device
    """

    source: DataSource
    scale: Tensor | None = None
    shift: Tensor | None = None
    raw: DataSource | None = None
    whole: Callable[[Tensor], Tensor] | None = None

    def to(self, device: torch.device | str) -> PreparedImages:
        """The same on another device; ``raw`` follows when its pixels are asked for."""
        scale = None if self.scale is None else self.scale.to(device)
        shift = None if self.shift is None else self.shift.to(device)
        return replace(self, source=self.source.to(device), scale=scale, shift=shift)

    @cached_property
    def pixels(self) -> DataSource:
        """The images as uint8, on the device of ``source``: what operations on pixels begin with."""
        return self.source if self.raw is None else self.raw.to(self.source.device)

    def prepare(self, pixels: Tensor) -> Tensor:
        """(n, C, H, W) uint8 as ``finish`` gives what is fetched: prepared, in channels_last order."""
        return self.finish(self.whole(pixels) if self.whole else pixels)

    def finish(self, batch: Tensor) -> Tensor:
        """Fetched (n, C, H, W) images as float32 in channels_last order, the last step applied."""
        return _finished(batch, self.scale, self.shift)


@dataclass(frozen=True)
class Preparation:
    """A fitted preprocessing: called with images of any size, it gives the network's input.

    name : of the preprocessing
    shape : (C, H, W) of the training images, to which all others are brought as files are; or (d,) of
        vectors
    arrays : float32 ``scale`` and ``shift`` (C, 1, 1); or float64 ``mean`` (A,) and float32
        ``matrix`` (A, A) of a whitening; or nothing, where each image gets mean 0 and variance 1; or
        float64 ``mean`` and ``std`` (d,) of vectors
    digest : of the images that the run began with; empty where an older version kept none
    bits : that images of 16 bits use in training, and so do files that are decoded later
    interpolation : how images are brought to the size, as those of the test were, as
        ``image_sizes.of_size`` takes it: Pillow's filter, where they are stretched
    columns, label_column : of a table of vectors, the names of the columns of numbers and of the labels
    """

    name: str
    shape: Shape
    class_names: tuple[str, ...]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    digest: str = ""
    bits: int = 16
    interpolation: str = "bilinear"
    columns: tuple[str, ...] = ()
    label_column: str = ""

    def __call__(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """(n, c, h, w) uint8 on the CPU, c = 1 or 3, to (n, C, H, W) float32, exactly as in training; or
        (n, d) floating-point numbers to float32.

        Parameters
        ----------
        device : of the result; the last step is made there, as in training

        Raises
        ------
        ValueError
            The images are another kind of tensor.
        """
        if len(self.shape) == 1:
            return self._rows(images, device)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            kind = f"{images.dtype}, {tuple(images.shape)}"
            raise ValueError(f"images must be torch.uint8, (n, 1 or 3, h, w); got {kind}")
        channels, height, width = self.shape
        if images.shape[1:] != self.shape:
            size, how = (channels, height, width), self.interpolation
            resized = [fitted(image, size, how) for image in images.numpy()]
            images = (
                torch.from_numpy(np.stack(resized)) if resized else images.new_empty(0, *self.shape)
            )
        pointwise = (None if each is None else each.to(device) for each in self._pointwise)
        return _finished(self._whole(images).to(device), *pointwise)

    def of(self, source: DataSource) -> PreparedImages:
        """The source's images, prepared but for the pointwise step, and without their labels.

        Raises
        ------
        UsageError
            The numbers of images that are in memory do not fit beside them.
        """
        if "scale" in self.arrays:
            return PreparedImages(source.mapped(self._whole), *self._pointwise)
        if not isinstance(source, InMemory):
            return self.kept(source.mapped(self._whole), source)
        with room_for_numbers(len(source), source.shape, self.name):
            return self.kept(source.mapped(self._whole), source)

    def kept(self, prepared: DataSource, source: DataSource) -> PreparedImages:
        """The source's images, which are prepared already, with their pixels and without their labels."""
        return PreparedImages(prepared, raw=source.mapped(lambda images: images), whole=self._whole)

    def computes_as(self, other: Preparation) -> bool:
        """Whether both make the same numbers of images of one size."""
        if (self.name, self.arrays.keys()) != (other.name, other.arrays.keys()):
            return False
        return all(np.array_equal(self.arrays[name], other.arrays[name]) for name in self.arrays)

    def save(self, path: Path) -> None:
        """Write it to ``path``, whole or not at all.

        Raises
        ------
        OutputFailed
            The file cannot be written.
        """
        words = {
            "version": FORMAT_VERSION,
            "name": self.name,
            "shape": self.shape,
            "class_names": self.class_names,
            "digest": self.digest,
            "bits": self.bits,
        }
        if self.interpolation != "bilinear":  # older versions can read the file of the others
            words["interpolation"] = self.interpolation
        if self.columns:
            words |= {"columns": self.columns, "label_column": self.label_column}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, words=np.array(json.dumps(words)), **self.arrays)
        write_atomically(path, content.getvalue())

    @classmethod
    def read(cls, folder: Path) -> Preparation:
        """The preparation that a run keeps in its folder.

        Raises
        ------
        UsageError
            The run is one of version 0.1, which kept none, or the file is damaged or of another version.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise UsageError(
                f"{folder} has no {FILE_NAME}, as runs of version 0.1: it needs its data once; run the "
                "command that trained it again, with --data-dir where the images are"
            )
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
                words = json.loads(str(arrays.pop("words")))
            if words.pop("version") != FORMAT_VERSION:
                raise ValueError(f"its version is not {FORMAT_VERSION}")
            names = ("shape", "class_names", "columns")
            tuples = {name: tuple(words[name]) for name in names if name in words}
            return cls(**{**words, **tuples}, arrays=arrays)
        except UNREADABLE_ARCHIVE as error:
            raise UsageError(f"{path} cannot be read: {error}") from error

    def _rows(self, rows: Tensor, device: torch.device | str) -> Tensor:
        if not rows.is_floating_point() or rows.shape[1:] != self.shape:
            kind = f"{rows.dtype}, {tuple(rows.shape)}"
            raise ValueError(f"vectors must be floating-point, (n, {self.shape[0]}); got {kind}")
        mean, std = (torch.from_numpy(self.arrays[name]).to(device) for name in ("mean", "std"))
        return standardized_rows(rows.to(device), mean, std)

    def _whole(self, images: Tensor) -> Tensor:
        """What has to see whole images: (n, C, H, W) uint8 to float32; or the images themselves."""
        if "scale" in self.arrays:
            return images
        if len(images) == 0:
            return images.float()
        if len(images) == 1:  # one row alone is summed and multiplied in another order
            return self._whole(images.repeat(2, 1, 1, 1))[:1]
        return self._whitening.apply(images) if "matrix" in self.arrays else standardized(images)

    @cached_property
    def _whitening(self) -> Whitening:
        return Whitening(*(torch.from_numpy(self.arrays[name]) for name in ("mean", "matrix")))

    @cached_property
    def _pointwise(self) -> tuple[Tensor | None, Tensor | None]:
        if "scale" not in self.arrays:
            return None, None
        return torch.from_numpy(self.arrays["scale"]), torch.from_numpy(self.arrays["shift"])


def standardized(images: Tensor) -> Tensor:
    """Each image to mean 0 and variance 1 over all its values; an image of one colour to 0."""
    result = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    for part, target in zip(images.split(CHUNK_IMAGES), result.split(CHUNK_IMAGES), strict=True):
        values = part.float()
        std, mean = torch.std_mean(values, dim=(1, 2, 3), correction=0, keepdim=True)
        target.copy_((values - mean) / std.masked_fill(std == 0, 1.0))
    return result


def _finished(batch: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    values = batch.to(torch.float32, memory_format=torch.channels_last)
    if scale is None or shift is None:
        return values
    n, channels, height, width = values.shape
    rows = values.permute(0, 2, 3, 1).reshape(n, height, width * channels)
    shift, scale = (
        each.flatten().repeat(width) for each in (shift, scale)
    )  # long last axes are fast
    finished = torch.addcmul(shift, rows, scale, out=rows if batch.dtype == torch.uint8 else None)
    return finished.view(n, height, width, channels).permute(0, 3, 1, 2)
