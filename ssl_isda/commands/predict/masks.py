"""What a network with a class for each pixel says of new images: masks, and a page that overlays them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ssl_isda import __version__
from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import counted, show
from ssl_isda.base.words import printed
from ssl_isda.data.inputs import Inputs
from ssl_isda.results.html import data_url, rendered
from ssl_isda.results.tables import Table, csv_table
from ssl_isda.results.writing import make_folder
from ssl_isda.training.prediction import mask_of

if TYPE_CHECKING:
    from ssl_isda.data.preparation import Preparation
    from ssl_isda.models.contract import Prediction

TABLE = "masks.csv"
MOST_SHOWN, SIDE = 120, 320
"""Images on the page, and their longer side there in pixels."""
BLEND = 0.55
"""Share of the mask's colour in an overlay."""
PALETTE = "palette"
"""The colours among the arrays of a run's preparation: (c, 3), 0 to 255."""


@dataclass
class MaskWriter:
    """Keeps the masks of batch after batch, as the bytes of their files, until all are written.

    Raises
    ------
    UsageError
        Two images would have one mask file, or a mask file would replace an image that is to be read.
    """

    out: Path
    parts: Sequence[Inputs]
    prepare: Preparation
    rows: list[tuple[str, str, np.ndarray]] = field(default_factory=list)
    """Name of the image, its mask's file, and how many pixels each class has."""
    files: dict[str, bytes] = field(default_factory=dict)
    overlays: list[tuple[str, str]] = field(default_factory=list)
    """Name of the image, and its picture with the mask over it."""

    def __post_init__(self) -> None:
        names = [name for part in self.parts for name in part.names]
        files = {name: self.out / mask_name(name) for name in names}
        repeated = [path for path, n in Counter(files.values()).items() if n > 1]
        if repeated:
            both = [printed(name) for name, path in files.items() if path == repeated[0]]
            raise UsageError(
                f"{' and '.join(both[:2])} would both be written to {printed(repeated[0])}: predict "
                "their folders one by one"
            )
        images = {Path(name).resolve() for name in names}
        for path in files.values():
            if path.resolve() in images:
                raise UsageError(
                    f"--out {printed(self.out)} would replace {printed(path)}, an image"
                )

    @property
    def colours(self) -> np.ndarray:
        return np.asarray(self.prepare.arrays[PALETTE], dtype=np.uint8)

    def add(
        self, number: int, places: torch.Tensor, prediction: Prediction, *, shown: bool
    ) -> None:
        """Take in one batch of part ``number``."""
        part = self.parts[number]
        for place, logits in zip(places.tolist(), prediction.logits, strict=True):
            mask = mask_of(logits, part.size(place)).numpy()
            name = part.names[place]
            self.files[mask_name(name)] = png_of(mask, self.colours)
            counts = np.bincount(mask.reshape(-1), minlength=len(self.colours))
            self.rows.append((name, mask_name(name), counts))
            if shown and len(self.overlays) < MOST_SHOWN:
                self.overlays.append((name, self._overlay(part, place, mask)))

    def _overlay(self, part: Inputs, place: int, mask: np.ndarray) -> str:
        pixels = part.picture(place, SIDE)
        if pixels is None:
            return ""
        rows, columns = (
            (2 * np.arange(wanted) + 1) * length // (2 * wanted)
            for length, wanted in zip(mask.shape, pixels.shape[1:], strict=True)
        )
        image = np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)
        colours = self.colours[mask[rows[:, None], columns]]
        mixed = ((1 - BLEND) * image + BLEND * colours).round().astype(np.uint8)
        return data_url("png", _png(mixed))

    def table(self) -> str:
        """A header and a line for each image: its file, its mask, and the share of each class in %."""
        rows: list[list[object]] = [["file", "mask", *self.prepare.class_names]]
        for name, mask, counts in self.rows:
            shares = 100 * counts / counts.sum()
            rows.append([printed(name), mask, *(f"{share:.2f}" for share in shares)])
        return csv_table(Table(rows))

    def page(self) -> str:
        """Images with their masks over them, and the colours of the classes."""
        total = np.sum([counts for *_, counts in self.rows], axis=0)
        shares = 100 * total / max(1, total.sum())
        colours = ["#" + bytes(colour).hex() for colour in self.colours.tolist()]
        legend = zip(colours, self.prepare.class_names, shares.tolist(), strict=True)
        return rendered(
            Path(__file__).with_name("masks.html.j2"),
            {},
            legend=list(legend),
            images=[(printed(name), url) for name, url in self.overlays],
            num_images=len(self.rows),
            version=__version__,
        )


def gathered_masks(
    batches: Iterator[tuple[int, torch.Tensor, Prediction]],
    parts: Sequence[Inputs],
    prepare: Preparation,
    out: Path | None,
    *,
    shown: bool,
) -> MaskWriter:
    """The masks of all batches; with pictures, if they are to be ``shown``.

    Raises
    ------
    UsageError
        No folder is named, or what ``MaskWriter`` refuses.
    """
    if out is None:
        raise UsageError("the run has a class for each pixel: --out FOLDER says where its masks go")
    writer = MaskWriter(out, parts, prepare)
    total = sum(len(part.names) for part in parts)
    for number, places, prediction in counted(batches, total, "image", lambda batch: len(batch[1])):
        writer.add(number, places, prediction, shown=shown)
    return writer


def write_masks(writer: MaskWriter, review: Path | None) -> None:
    """The page, then the masks and their table."""
    if review is not None:
        make_folder(review.parent)
        write_atomically(review, writer.page().encode("utf-8", "backslashreplace"))
    make_folder(writer.out)
    for name, content in writer.files.items():
        write_atomically(writer.out / name, content)
    write_atomically(writer.out / TABLE, writer.table().encode("utf-8", "backslashreplace"))
    count = len(writer.rows)
    show(f"{printed(writer.out)}: {count:,} mask{'s' * (count != 1)} and {TABLE}")


def mask_name(name: str) -> str:
    """The file of an image's mask: ``a.png`` for ``photos/a.jpg``, ``x-3.png`` for ``x.npz[3]``."""
    if name.endswith("]") and "[" in name:
        file, _, place = name[:-1].rpartition("[")
        return f"{Path(file).stem}-{place}.png"
    return f"{Path(name).stem}.png"


def png_of(mask: np.ndarray, colours: np.ndarray) -> bytes:
    """A PNG with a palette: its pixels are the classes, shown in their colours."""
    from PIL import Image

    image = Image.fromarray(mask)
    image.putpalette(np.asarray(colours, dtype=np.uint8).reshape(-1).tolist())
    return _saved(image)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    return _saved(Image.fromarray(pixels))


def _saved(image: object) -> bytes:
    from PIL import Image

    assert isinstance(image, Image.Image)
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()
