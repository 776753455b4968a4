"""``run.py detect``: from what was asked to a folder with its result.

detection.json metrics.jsonl timing.jsonl log.txt checkpoint.pt detections.json masks.json result.json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ssl_isda.assembly.detectors import DEFAULT_NAME, detector_of
from ssl_isda.assembly.devices import device_named
from ssl_isda.assembly.step_training import trained
from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import printed
from ssl_isda.commands.detect.command import DetectConfig
from ssl_isda.commands.detect.loop import DetectorTrainer
from ssl_isda.data.coco import Coco
from ssl_isda.runs.described_folder import DescribedFolder
from ssl_isda.runs.tracking import Tracker
from ssl_isda.settings.options import Training


def train(config: DetectConfig, arguments: Sequence[str]) -> int:
    """Train the detector, or go on with it; one that is done is left as it is."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device, parts = device_named(config.device), _parts(config)
    of_network = {"weights", "name", "seed", "frozen_stages", "min_size", "max_size"}
    network = config.model_dump(include=of_network)
    detector, sha256 = detector_of(config.detector, len(parts[0].categories), **network)
    elsewhere = {"data_dir", "weights", *Training.model_fields}
    words = config.model_dump(mode="json", exclude=elsewhere) | {"weights_sha256": sha256}
    words |= {"annotations_sha256": [part.sha256 for part in parts]}
    origin = {"weights": sha256 and {"place": str(config.weights), "sha256": sha256}}
    folder = DescribedFolder(_path(config), words, "detection.json", "a detector")
    with folder.opened(fresh=config.fresh):
        for line in [*parts[0].notes, *parts[1].notes]:
            show(f"warning: {line}", stream=sys.stderr)
        loop = DetectorTrainer(config, detector.to(device), parts, Tracker(folder.path))
        result = folder.result() or trained(
            *(folder, loop, config, ["detect", *arguments]),
            opening=_opening(config, loop),
            tags=[config.detector, "detection"],
            finished=lambda: loop.tracker.history()[-1] | origin,
        )
    scores = [f"{name.replace('_', ' ')} {v:.2f}" for name, v in result.items() if "_ap" in name]
    show(f"{printed(folder.path)}: {', '.join(scores)} (percent)")
    return 0


def _parts(config: DetectConfig) -> tuple[Coco, Coco]:
    """Training and test images."""
    here, masks, skip_odd = config.data_dir, config.detector == "mask_rcnn", config.skip_odd_boxes
    files = (
        (config.train_annotations, config.train_images),
        (config.test_annotations, config.test_images),
    )
    training, test = (Coco(here / a, here / b, masks=masks, skip_odd=skip_odd) for a, b in files)
    if training.categories != test.categories:
        raise UsageError(f"{printed(test.file)} has other categories than {printed(training.file)}")
    return training, test


def _path(config: DetectConfig) -> Path:
    """runs/detection/coco/mask_rcnn-resnet50/seed0, or with the last two names of the weights' path."""
    weights = config.weights.resolve().with_suffix("") if config.weights else None
    origin = "_".join(weights.parts[-2:]) if weights else config.name or DEFAULT_NAME
    cell = Path(config.data_dir.resolve().name) / f"{config.detector}-{origin}"
    return config.runs_dir / "detection" / cell / f"seed{config.seed}"


def _opening(config: DetectConfig, loop: DetectorTrainer) -> str:
    part, weights = loop.train_part, config.weights or "random weights"
    return (
        f"{config.detector} from {weights} on the {len(part.learned):,} of {len(part.images):,} images "
        f"that have a box; {loop.length.num_steps:,} steps of {config.batch_size}, learning rate "
        f"{loop.rate:g} (0.02 for each 16 unless it is given), on {loop.device.type} in fp32"
    )
