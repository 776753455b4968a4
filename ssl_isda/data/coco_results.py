"""What a detector finds, as COCO's results, and how precise it is.

faster-coco-eval (https://pypi.org/project/faster-coco-eval) computes what pycocotools does, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_isda.data.coco import Coco

FILES = {"bbox": "detections.json", "segm": "masks.json"}
"""Where each kind of result is kept. A file with both would have masks counted as small or large by their
boxes."""
NAMES = {"bbox": "box", "segm": "mask"}
SCORES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
THRESHOLD = 0.5
"""Of a pixel's probability to belong to a mask."""
Found = dict[str, list[dict[str, Any]]]


def nothing_found(part: Coco) -> Found:
    """An empty list of each kind of result."""
    return {kind: [] for kind in FILES if part.masks or kind == "bbox"}


def add(found: Found, part: Coco, number: int, result: Mapping[str, Tensor]) -> None:
    """Take in what torchvision's detector finds on the image with this id."""
    numbers = sorted(part.categories)
    pairs = zip(result["labels"].tolist(), result["scores"].tolist(), strict=True)
    about = [
        {"image_id": number, "category_id": numbers[label - 1], "score": score}
        for label, score in pairs
    ]
    corners = result["boxes"]
    boxes = torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1).tolist()
    found["bbox"] += [{**each, "bbox": box} for each, box in zip(about, boxes, strict=True)]
    if "segm" in found:
        masks = map(_packed, result["masks"][:, 0].cpu() > THRESHOLD)
        pairs_of_masks = zip(about, masks, strict=True)
        found["segm"] += [{**each, "segmentation": mask} for each, mask in pairs_of_masks]


def precision(found: Found, part: Coco) -> dict[str, float]:
    """Average precisions in percent, without those of sizes that no object has: box_ap, mask_ap50 ..."""
    from faster_coco_eval import COCOeval_faster

    scores: dict[str, float] = {}
    for kind, results in found.items():
        copies = [dict(each) for each in results]  # they are written into
        judge = COCOeval_faster(part.index, part.index.loadRes(copies), kind)
        judge.run()
        named = zip(SCORES, judge.stats, strict=False)
        scores |= {f"{NAMES[kind]}_{name}": 100 * float(v) for name, v in named if v >= 0}
    return scores


def _packed(shape: Tensor) -> dict[str, Any]:
    """(h, w) bool as JSON takes it."""
    from faster_coco_eval.core import mask

    packed = mask.encode(np.asfortranarray(shape.numpy(), dtype=np.uint8))
    return {"size": list(packed["size"]), "counts": packed["counts"].decode("ascii")}
