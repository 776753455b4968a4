"""What a network makes of the images, in one file that anyone can read and that runs no code.

``features.npz`` is a plain NumPy archive: ``np.load(path, allow_pickle=False)`` reads all of it.
The same network gives the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import UNREADABLE_ARCHIVE, write_atomically
from ssl_isda.runs.data_digest import other_images

if TYPE_CHECKING:
    from torch import Tensor

LABELED, UNLABELED, TEST, VALIDATION = range(4)
PART_NAMES = ("labeled", "unlabeled", "test", "validation")


@dataclass(frozen=True)
class Features:
    """The evaluated network's view of n images, in evaluation mode, without augmentation.

    features : (n, a) float32, what the linear head sees
    logits : (n, c) float32
    labels : (n,) int64, the true classes, also those that training did not see; -1: there is none
    predictions : (n,) int64, the largest logit
    index : (n,) int64, the image's place among the training images, or among the test images
    part : (n,) int64, into ``PART_NAMES``, which the file holds as ``part_names``
    class_names : (c,) text
    checkpoint_sha256 : of the checkpoint file that the network was read from, as ``sha256sum`` says
    data_digest : what tells the images from others; empty in files of version 0.1
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    index: np.ndarray
    part: np.ndarray
    class_names: np.ndarray
    checkpoint_sha256: str
    data_digest: str = ""

    @classmethod
    def gathered(
        cls,
        batches: Iterable[tuple[Tensor, Tensor, Tensor]],
        part: np.ndarray,
        class_names: Sequence[str],
        checkpoint_sha256: str,
        data_digest: str = "",
    ) -> Features:
        """From batches of (logits, features, labels), all of which ``part`` describes in order."""
        columns = zip(
            *([tensor.cpu().numpy() for tensor in batch] for batch in batches), strict=True
        )
        logits, features, labels = (np.concatenate(column) for column in columns)
        is_test = part == TEST
        return cls(
            features=features.astype(np.float32),
            logits=logits.astype(np.float32),
            labels=labels.astype(np.int64),
            predictions=logits.argmax(1).astype(np.int64),
            index=np.where(is_test, is_test.cumsum(), (~is_test).cumsum()) - 1,
            part=part,
            class_names=np.array(class_names, dtype=np.str_),
            checkpoint_sha256=checkpoint_sha256,
            data_digest=data_digest,
        )

    def error(self) -> float:
        """Percent of the test images that the network gets wrong."""
        test = self.part == TEST
        return 100.0 * float(np.mean(self.predictions[test] != self.labels[test]))

    def has_the_test_images_of(self, other: Features) -> bool:
        """As far as digests, their number, their classes and the classes' names tell."""
        if other_images(self.data_digest, [other.data_digest]):
            return False
        mine, theirs = self.labels[self.part == TEST], other.labels[other.part == TEST]
        same_classes = self.class_names.tolist() == other.class_names.tolist()
        return same_classes and np.array_equal(mine, theirs)

    def save(self, path: Path) -> None:
        """Write the archive, whole or not at all.

        Raises
        ------
        OutputFailed
            The file cannot be written.
        """
        write_atomically(path, npz_bytes(**asdict(self), part_names=np.array(PART_NAMES)))


def parts(
    num_training: int, labeled: Sequence[int], validation: Sequence[int], num_test: int
) -> np.ndarray:
    """The part of each training image, then of each test image."""
    part = np.full(num_training + num_test, UNLABELED, dtype=np.int64)
    part[list(labeled)] = LABELED
    part[list(validation)] = VALIDATION
    part[num_training:] = TEST
    return part


def load_features(path: Path) -> Features:
    """Read what ``Features.save`` wrote. Nothing in the file is executed.

    Raises
    ------
    UsageError
        It is not there, damaged, holds pickled objects, or something else than features.
    """
    try:
        zipfile.ZipFile(path).close()  # np.load would take a lone array as well
        with np.load(path, allow_pickle=False) as arrays:
            return _checked({name: arrays[name] for name in arrays.files})
    except FileNotFoundError:
        raise UsageError(f"{path} is not there: run.py export writes it") from None
    except UNREADABLE_ARCHIVE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{path} cannot be used as features: {reason[:200]}") from error


def npz_bytes(**arrays: object) -> bytes:
    """A NumPy archive of ``arrays``: no pickled objects, no date, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def _checked(arrays: dict[str, np.ndarray]) -> Features:
    names = {*Features.__dataclass_fields__, "part_names"}
    if arrays.keys() | {"data_digest"} != names:
        raise ValueError(f"it must hold {', '.join(sorted(names))} and nothing else")
    part_names, digest = arrays.pop("part_names"), arrays.pop("checkpoint_sha256")
    data_digest = arrays.pop("data_digest", np.array(""))
    if part_names.tolist() != list(PART_NAMES):
        raise ValueError("its parts are not those of this version")
    for each in (digest, data_digest):
        if each.dtype.kind != "U" or each.ndim:
            raise ValueError("its digests are no text")
    found = Features(**arrays, checkpoint_sha256=str(digest), data_digest=str(data_digest))
    _check(found)
    return found


def _check(found: Features) -> None:
    for name, array in (("features", found.features), ("logits", found.logits)):
        if array.dtype != np.float32 or array.ndim != 2 or len(array) != len(found.labels):
            raise ValueError(f"its {name} are not one row of float32 for each label")
    if found.class_names.dtype.kind != "U" or found.class_names.shape != found.logits.shape[1:]:
        raise ValueError("its class names are not one text for each logit")
    n, c = found.logits.shape
    limits = {
        "labels": (-1, c),
        "predictions": (0, c),
        "index": (0, n),
        "part": (0, len(PART_NAMES)),
    }
    for name, (lowest, end) in limits.items():
        array = getattr(found, name)
        if array.dtype != np.int64 or array.shape != (n,):
            raise ValueError(f"its {name} are not one int64 for each image")
        if n and not (array.min() >= lowest and array.max() < end):
            raise ValueError(f"its {name} are not all from {lowest} to {end - 1}")
