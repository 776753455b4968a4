"""One function that loads any data set by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import unknown_name
from ssl_isda.data.image_data import DATASETS, ImageData


def load(
    name: str, data_dir: Path, *, svhn_extra: bool = False, image_size: int | None = None
) -> ImageData:
    """The data set ``name``, downloaded into ``data_dir`` where it is missing there.

    Parameters
    ----------
    svhn_extra : for ``svhn``: join the 531,131 extra images, without their labels
    image_size : for ``folder``: height and width, in pixels, that images are resized to

    Raises
    ------
    UsageError
        Unknown name, an option of another data set, data that are missing, damaged or unreadable.
    """
    if name not in DATASETS:
        raise UsageError(unknown_name("data set", name, sorted(DATASETS)))
    options: dict[str, Any] = {}
    if svhn_extra:
        options["svhn_extra"] = _belongs(name, "svhn", "the extra images", svhn_extra)
    if image_size is not None:
        options["image_size"] = _belongs(name, "folder", "an image size", image_size)
    return DATASETS[name](Path(data_dir), **options)


def _belongs(name: str, owner: str, what: str, value: Any) -> Any:
    if name != owner:
        raise UsageError(f"{what} can be chosen for the data set {owner!r} only, not for {name!r}")
    return value
