"""A file of COCO's annotations with its images: judged as a whole before anything is computed.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv:1405.0312; the format is that of
cocodataset.org. Boxes are (x, y, width, height) in pixels; a mask is a list of polygons, or an RLE.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_isda.base.ahead import done_ahead
from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import counted
from ssl_isda.base.words import printed
from ssl_isda.data.images.decoding import decode, upright_size

NUMBER = (int, float)
KEYS: Mapping[str, Mapping[str, Any]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {
        "id": int,
        "image_id": int,
        "category_id": int,
        "bbox": list,
        "area": NUMBER,
    },
}
"""The lists of a file, and what every entry has."""
Target = dict[str, Tensor]
MOST_DECODED = 10_000
"""Images of a file up to which all are decoded before anything else; of more, their beginning is read."""
BEYOND = 1.0
"""Pixels by which rounding may move the edge of a box out of its image."""


class Coco:
    """The images of one file. A category's label is its place among the sorted ids, from 1 on.

    images : by id, as the file has them
    categories : by id, their names
    learned : by the id of an image, its annotations that are learned: no crowds, no odd boxes
    index : the file as faster-coco-eval has it
    notes : what is odd, in lines
    sha256 : of the file

    Raises
    ------
    UsageError
        The file is none of COCO's, contradicts itself or an image, or an image cannot be read.
    """

    def __init__(self, file: Path, folder: Path, *, masks: bool, skip_odd: bool = False) -> None:
        from faster_coco_eval import COCO

        self.file, self.folder, self.masks = file, folder, masks
        content, self.sha256 = _read(file)
        annotations = content["annotations"]
        self.images = {each["id"]: each for each in content["images"]}
        self.categories = {each["id"]: str(each["name"]) for each in content["categories"]}
        self.labels = {number: place + 1 for place, number in enumerate(sorted(self.categories))}
        odd = self._judged(annotations, skip_odd)
        self._judge_images()
        self.learned: dict[int, list[dict[str, Any]]] = {}
        for each in annotations:
            if not each.setdefault("iscrowd", 0) and each["id"] not in odd:
                self.learned.setdefault(each["image_id"], []).append(each)
        if not self.learned:
            raise UsageError(f"{printed(file)} has no box that is not of a crowd")
        self.notes = self._notes(annotations, len(odd))
        self.index = COCO()
        self.index.dataset = content
        self.index.createIndex()

    def _notes(self, annotations: list[dict[str, Any]], num_odd: int) -> list[str]:
        used = {each["category_id"] for each in annotations}
        unused = [name for number, name in self.categories.items() if number not in used]
        told = {
            f"no annotation of {', '.join(unused[:5])}{' and others' * (len(unused) > 5)}": unused,
            f"{num_odd:,} boxes without area or out of their image: training does without": num_odd,
        }
        return [f"{printed(self.file)} has {line}" for line, count in told.items() if count]

    def _judged(self, annotations: list[dict[str, Any]], skip_odd: bool) -> set[int]:
        """The ids of those with an odd box, which are refused unless they are skipped."""
        odd: dict[int, str] = {}
        for each in annotations:
            if told := self._complaint(each):
                raise UsageError(f"{printed(self.file)}: annotation {each['id']}: {told}")
            if told := self._oddity(each):
                odd[each["id"]] = told
        if odd and not skip_odd:
            number, told = next(iter(odd.items()))
            raise UsageError(
                f"{printed(self.file)}: annotation {number}: {told} ({len(odd):,} such; "
                "--skip-odd-boxes trains without them)"
            )
        return set(odd)

    def _complaint(self, each: Mapping[str, Any]) -> str:
        """What is wrong with an annotation beside its place; or nothing."""
        for key, known in (("image_id", self.images), ("category_id", self.categories)):
            if each[key] not in known:
                return f"the file has nothing with the {key} {each[key]}"
        if len(each["bbox"]) != 4 or not all(map(_is_finite, [*each["bbox"], each["area"]])):
            return "bbox must have four numbers, and area be one"
        if each.get("iscrowd", 0) not in (0, 1):
            return "iscrowd must be 0 or 1"
        picture = self.images[each["image_id"]]
        if self.masks and not _is_mask(each.get("segmentation"), picture):
            return "it has no mask: polygons of three points or more, or an RLE of the image's size"
        return ""

    def _oddity(self, each: Mapping[str, Any]) -> str:
        """What is odd about where the box lies; or nothing."""
        picture, (x, y, width, height) = self.images[each["image_id"]], each["bbox"]
        box = f"the box {x:g} {y:g} {width:g} {height:g}"
        if width <= 0 or height <= 0:
            return f"{box} has no area"
        left, top, right, bottom = corners(each, picture)
        beyond = max(left - x, top - y, x + width - right, y + height - bottom)
        if beyond > BEYOND or left >= right or top >= bottom:
            return f"{box} leaves its image of {picture['width']} x {picture['height']} pixels"
        return ""

    def _judge_images(self) -> None:
        pictures = self.images.values()
        pairs = zip(pictures, done_ahead(self._size, pictures), strict=True)
        for each, found in counted(pairs, len(pictures), "image"):
            place, told = self.folder / each["file_name"], (each["height"], each["width"])
            if found != told:
                raise UsageError(
                    f"{printed(place)} has {found[1]} x {found[0]} pixels, and {told[1]} x {told[0]} "
                    f"in {printed(self.file)}"
                )

    def _size(self, picture: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width) of its file, which is decoded too unless there are very many."""
        place = self.folder / picture["file_name"]
        size = upright_size(place)
        if len(self.images) <= MOST_DECODED:
            decode(place, size)
        return size

    def pixels(self, number: int) -> Tensor:
        """(3, h, w) uint8 of the image with this id. Raises as ``decode``."""
        each = self.images[number]
        image = decode(self.folder / each["file_name"], (each["height"], each["width"]))
        return torch.from_numpy(image.copy())

    def example(self, number: int, is_mirrored: bool) -> tuple[Tensor, Target]:
        """The pixels of an image, and what torchvision's detectors learn of it: boxes (n, 4) float32
        (left, top, right, bottom), labels (n,) int64 and, if they are asked for, masks (n, h, w) uint8.
        """
        image, learned, picture = self.pixels(number), self.learned[number], self.images[number]
        boxes = torch.tensor([corners(each, picture) for each in learned])
        labels = torch.tensor([self.labels[each["category_id"]] for each in learned])
        target = {"boxes": boxes, "labels": labels}
        if self.masks:
            masks = [torch.as_tensor(self.index.annToMask(each)) for each in learned]
            target["masks"] = torch.stack(masks).to(torch.uint8)
        return mirrored(image, target) if is_mirrored else (image, target)


def mirrored(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Left becomes right, of the image and of what is known of it."""
    left, top, right, bottom = target["boxes"].unbind(1)
    width = image.shape[-1]
    target = {**target, "boxes": torch.stack((width - right, top, width - left, bottom), 1)}
    return image.flip(-1), target | {n: target[n].flip(-1) for n in ("masks",) if n in target}


def corners(each: Mapping[str, Any], picture: Mapping[str, Any]) -> list[float]:
    """Left, top, right and bottom of an annotation's box, within its image."""
    x, y, width, height = each["bbox"]
    right, bottom = min(x + width, picture["width"]), min(y + height, picture["height"])
    return [float(max(x, 0)), float(max(y, 0)), float(right), float(bottom)]


def _read(file: Path) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """The lists of a file, and its SHA-256."""
    try:
        raw = file.read_bytes()
        content = json.loads(raw)
    except OSError as error:
        raise UsageError(f"{printed(file)} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise UsageError(f"{printed(file)} is no JSON: {reason}") from error
    for complaint in _complaints(content):
        raise UsageError(f"{printed(file)} is no file of COCO's annotations: {complaint}")
    return {part: content[part] for part in KEYS}, hashlib.sha256(raw).hexdigest()


def _complaints(content: Any) -> Iterator[str]:
    for part, keys in KEYS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            yield f"it has no list of {part}"
            return
        known: set[int] = set()
        for place, each in enumerate(entries):
            for key, kind in keys.items():
                if not isinstance(each, dict) or not isinstance(each.get(key), kind):
                    yield f"{part}[{place}] has no {key}"
                    return
            if each["id"] in known:
                yield f"{part}[{place}] has the id {each['id']} of another"
            known.add(each["id"])


def _is_finite(value: Any) -> bool:
    return isinstance(value, NUMBER) and math.isfinite(value)


def _is_mask(given: Any, picture: Mapping[str, Any]) -> bool:
    from faster_coco_eval.core import mask

    size = [picture["height"], picture["width"]]
    if not isinstance(given, dict):
        polygons = given if isinstance(given, list) else []
        shapes = [isinstance(p, list) and len(p) >= 6 and all(map(_is_finite, p)) for p in polygons]
        return bool(shapes) and all(shapes)
    try:
        packed = mask.frPyObjects(given, *size) if isinstance(given["counts"], list) else given
        return given["size"] == size and bool(mask.decode(packed).any())
    except (KeyError, TypeError, ValueError, RuntimeError):
        return False
