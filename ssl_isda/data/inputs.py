"""What a trained network is to judge: image files, bytes or prepared numbers, batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import UNREADABLE_ARCHIVE
from ssl_isda.data.arrays import array_of, channels_first
from ssl_isda.data.folder.walk import shown
from ssl_isda.data.images.complaints import Unreadable
from ssl_isda.data.images.decoding import decode, fitted, upright_size
from ssl_isda.data.images.paths import TABLES, FoundFiles, find_files
from ssl_isda.data.preparation import Preparation
from ssl_isda.data.source import in_order
from ssl_isda.data.streaming import Streaming

MOST_NAMED = 10
ONE_ARRAY = b"\x93NUMPY"
"""How a ``.npy`` file begins."""


class Inputs(ABC):
    """n inputs of one network, of which two batches are in memory at once.

    names : of each, where a person finds it: ``photos/a.jpg`` or ``photos.npz[3]``
    unreadable : what cannot be read, by its name, and what it is, as far as it was met
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.unreadable: dict[str, str] = {}

    @abstractmethod
    def _stored(self, batch_size: int) -> Iterator[Tensor]:
        """All in order, (n, c, h, w) uint8, or float32 of the network's shape; at least one batch."""

    @abstractmethod
    def picture(self, place: int, side: int) -> np.ndarray | None:
        """(c, h, w) uint8 to look at, of its own proportions and at most ``side`` pixels high and wide;
        None for what cannot be seen."""

    def size(self, place: int) -> tuple[int, int] | None:
        """Height and width of an input as it is given; None where that has no meaning."""
        return None

    def told(self, place: int) -> list[str]:
        """What to say of an input that cannot be seen, line by line."""
        return ["no picture"]

    def batches(
        self, prepare: Preparation, batch_size: int, device: torch.device, skip_unreadable: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Places (n,) and the network's input (n, ...), in order, without those that cannot be read.

        Once there is such a one, and it is not to be skipped, the others are read and not given, so
        that all are named.

        Raises
        ------
        UsageError
            A prepared number is NaN or infinite.
        """
        parts = torch.arange(len(self.names)).split(batch_size)
        for places, values in zip(parts, self._stored(batch_size), strict=True):
            if self.unreadable:
                if not skip_unreadable:
                    continue
                good = torch.tensor([self.names[k] not in self.unreadable for k in places.tolist()])
                places, values = places[good], values[good]
                if not len(places):
                    continue
            if values.dtype == torch.uint8:
                yield places, prepare(values, device)
            else:
                yield places, self._checked(values, places).to(device)

    def _checked(self, values: Tensor, places: Tensor) -> Tensor:
        bad = places[~values.flatten(1).isfinite().all(1)]
        if len(bad):
            raise UsageError(f"{self.names[int(bad[0])]} has a number that is NaN or infinite")
        return values.to(memory_format=torch.channels_last) if values.ndim == 4 else values


def refuse_unreadable(parts: Iterable[Inputs], advice: str) -> None:
    """Refuse what cannot be read, all at once.

    Raises
    ------
    UsageError
        Names the files, ``MOST_NAMED`` at most, and what each is; then the advice.
    """
    unreadable = {name: what for part in parts for name, what in part.unreadable.items()}
    if len(unreadable) == 1:
        ((name, reason),) = unreadable.items()
        raise UsageError(f"cannot read the image {shown(name)}: {reason}; {advice}")
    if unreadable:
        named = [f"{shown(name)} ({reason})" for name, reason in sorted(unreadable.items())]
        more = f", and {len(named) - MOST_NAMED:,} more" if len(named) > MOST_NAMED else ""
        raise UsageError(
            f"{len(named):,} images cannot be read: {', '.join(named[:MOST_NAMED])}{more}; {advice}"
        )


class ImageFiles(Inputs):
    """Image files, which threads decode ahead."""

    def __init__(self, found: FoundFiles, prepare: Preparation) -> None:
        super().__init__(found.images)
        channels, height, width = prepare.shape
        self._shape, self._bits = (channels, height, width), prepare.bits
        self._interpolation = prepare.interpolation
        self.unreadable |= found.unreadable

    def _stored(self, batch_size: int) -> Iterator[Tensor]:
        nothing = torch.full((len(self.names),), -1)
        source = Streaming(
            self._pixels, self._shape, nothing, fingerprint="", name=lambda k: shown(self.names[k])
        )
        source.most_kept = 2 * batch_size
        return in_order(source, torch.arange(len(source)), batch_size)

    def _pixels(self, place: int) -> np.ndarray:
        name = self.names[place]
        try:
            how = (self._bits, self._interpolation)
            pixels = decode(Path(name), (self._shape[1], self._shape[2]), *how)
            return fitted(pixels, self._shape, self._interpolation)
        except Unreadable as error:
            self.unreadable[name] = error.reason
            return np.zeros(self._shape, np.uint8)

    def size(self, place: int) -> tuple[int, int] | None:
        return upright_size(Path(self.names[place]))

    def picture(self, place: int, side: int) -> np.ndarray | None:
        path = Path(self.names[place])
        try:
            height, width = scaled(upright_size(path), side)
            return fitted(decode(path, max(height, width), self._bits), (3, height, width))
        except UsageError:
            return None


class Arrays(Inputs):
    """The rows of an array or tensor, as ``inputs_of`` takes it, called after ``name``."""

    def __init__(self, given: Any, shape: tuple[int, ...], name: str = "images") -> None:
        self._array = _as_stored(given, shape)
        super().__init__([f"{name}[{place}]" for place in range(len(self._array))])

    def _stored(self, batch_size: int) -> Iterator[Tensor]:
        kind = np.uint8 if self._array.dtype == np.uint8 else np.float32
        for start in range(0, max(1, len(self._array)), batch_size):
            part = self._array[start : start + batch_size]
            yield torch.from_numpy(np.array(part, dtype=kind, order="C"))

    def size(self, place: int) -> tuple[int, int] | None:
        height, width = self._array.shape[2:]
        return height, width

    def picture(self, place: int, side: int) -> np.ndarray | None:
        image = self._array[place]
        if image.dtype != np.uint8:
            return None
        return fitted(np.ascontiguousarray(image), (len(image), *scaled(image.shape[1:], side)))


def inputs_of(given: Any, prepare: Preparation) -> list[Inputs]:
    """Paths, arrays or tensors as inputs of a network that was trained with this preparation.

    Parameters
    ----------
    given : paths of images, of folders of images and of files of arrays; or arrays or tensors,
        (n, h, w), (n, h, w, c) or (n, c, h, w): uint8 from 0 to 255, of any size, or floating-point
        numbers that are prepared already, (n, C, H, W). Of vectors (n, d) numbers, which are not
        prepared yet, or files of them.

    Raises
    ------
    UsageError
        Another form, or a path that is not there.
    """
    if isinstance(given, (str, Path)):
        given = [given]
    if isinstance(given, (list, tuple)) and all(isinstance(each, (str, Path)) for each in given):
        return inputs_in(find_files(given), prepare)
    if len(prepare.shape) == 1:
        from ssl_isda.data.vectors.inputs import Vectors

        return [Vectors(given, prepare)]
    return [Arrays(given.detach().cpu() if isinstance(given, Tensor) else given, prepare.shape)]


def inputs_in(found: FoundFiles, prepare: Preparation) -> list[Inputs]:
    """The images of ``found``, then each of its files of arrays or of vectors.

    Raises
    ------
    UsageError
        The network takes no such inputs, or a file is not what it takes.
    """
    shape = prepare.shape
    if len(shape) == 1:
        return _files_of_vectors(found, prepare)
    images = [ImageFiles(found, prepare)] if found.images or not found.arrays else []
    return [*images, *(_rows_of(path, shape) for path in found.arrays)]


def _files_of_vectors(found: FoundFiles, prepare: Preparation) -> list[Inputs]:
    from ssl_isda.data.vectors.inputs import vectors_in

    if found.images or not found.arrays:
        raise UsageError(
            f"the network takes vectors of {prepare.shape[0]} numbers and no image files: name files of "
            "vectors, .npz, .npy, .csv or .parquet"
        )
    return [vectors_in(path, prepare) for path in found.arrays]


def _rows_of(path: Path, shape: tuple[int, ...]) -> Arrays:
    if path.suffix.lower() in TABLES:
        raise UsageError(f"{shown(path)} is a table of vectors, and the network takes images")
    array = array_in(path, "X")
    if array.shape[:1] == (0,):
        raise UsageError(f"{shown(path)}: X has no row")
    try:
        return Arrays(array, shape, str(path))
    except UsageError as error:
        raise UsageError(f"{shown(path)}: {error}") from error


def array_in(path: Path, name: str, like: Sequence[str] | None = None) -> np.ndarray:
    """The array ``X`` or ``y`` of an ``.npz`` file; a ``.npy`` file is an X.

    Parameters
    ----------
    like : as many entries a ``y`` must have, which may be missing: then all are -1

    Raises
    ------
    UsageError
        The file cannot be read, has no such array, or one of another length.
    """
    try:
        with open(path, "rb") as file:
            is_one_array = file.read(len(ONE_ARRAY)) == ONE_ARRAY
        if is_one_array and like is not None:
            return np.full(len(like), -1)
        if is_one_array:
            return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if name not in kept.files and like is None:
                names = ", ".join(map(shown, kept.files[:MOST_NAMED])) or "none"
                raise UsageError(f"{shown(path)} has no array {name} (its arrays: {names})")
            array = kept[name] if name in kept.files else np.full(len(like or ()), -1)
    except UNREADABLE_ARCHIVE as error:
        raise UsageError(f"{shown(path)} cannot be read: {error}") from error
    if like is not None and array.shape != (len(like),):
        raise UsageError(f"{shown(path)}: X has {len(like)} rows and y has the shape {array.shape}")
    return array


def _as_stored(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = array_of(given)
    if np.issubdtype(array.dtype, np.floating):
        if array.shape[1:] != shape and len(shape) == 3:
            array = channels_first(array)
        if array.shape[1:] != shape:
            raise UsageError(
                f"prepared images must be of shape {shape} each, got {array.shape[1:]}"
            )
        return array
    if array.dtype != np.uint8:
        raise UsageError(f"images must be uint8 or floating-point, got {array.dtype}")
    return channels_first(array)


def scaled(size: tuple[int, ...], side: int) -> tuple[int, int]:
    """(height, width), made smaller in proportion where one is larger than ``side``."""
    height, width = size
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
