"""The steps of a detector's fine-tuning, each a pure function of (seed, step) and the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.base.ahead import done_ahead
from ssl_isda.base.files import write_atomically
from ssl_isda.base.progress import counted
from ssl_isda.base.step import Step
from ssl_isda.commands.detect.command import DetectConfig
from ssl_isda.data.coco import Coco, Target
from ssl_isda.data.coco_results import FILES, add, nothing_found, precision
from ssl_isda.data.samplers import LabeledUnlabeledSampler
from ssl_isda.optim.schedules.multistep import Config, multistep
from ssl_isda.optim.sgd import SGD
from ssl_isda.optim.warmup import warmed_up
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.step_loop import Length, StepLoop

Batch = tuple[list[Tensor], list[Target]]


class DetectorTrainer(StepLoop):
    """One training of a detector; after each epoch it is judged and kept."""

    keeps_epochs = True

    def __init__(
        self, config: DetectConfig, detector: nn.Module, parts: tuple[Coco, Coco], tracker: Tracker
    ) -> None:
        (self.train_part, self.test_part), images = parts, config.batch_size
        numbers = torch.tensor([*self.train_part.learned])
        sizes: dict[str, Any] = {"labeled_batch_size": 1, "unlabeled_batch_size": images}
        sizes |= {"seed": config.seed, "partial": True}
        self.order = LabeledUnlabeledSampler(numbers, numbers, **sizes)
        epoch = self.order.steps_per_epoch
        falling = multistep(Config(milestones=(8 / 12, 11 / 12)))
        self.factor = warmed_up(falling, config.warmup_steps or min(500, epoch))
        self.rate = config.learning_rate or 0.02 * images / 16
        trained = [each for each in detector.parameters() if each.requires_grad]
        optimizer = SGD(trained, self.rate, momentum=0.9, weight_decay=1e-4)
        length = Length(config.epochs * epoch, epoch, config.seed)
        device = next(detector.parameters()).device
        super().__init__(detector, optimizer, length, tracker, device, images_per_step=images)
        self._coming: Iterator[Batch] | None = None

    def batch(self, index: int) -> Batch:
        """Images (3, h, w) uint8 and targets of a step; half of them, by chance, mirrored."""
        numbers = self.order.unlabeled(index).tolist()
        flips = torch.rand(len(numbers), generator=self.step(index).generator("flips")) < 0.5
        pairs = map(self.train_part.example, numbers, flips.tolist())
        images, targets = zip(*pairs, strict=True)
        return [*images], [*targets]

    def train_step(self, step: Step) -> Mapping[str, Tensor]:
        steps = range(step.index, step.num_steps)
        self._coming = self._coming or done_ahead(self.batch, steps)
        images, targets = next(self._coming)
        self.optimizer.param_groups[0]["lr"] = self.rate * self.factor(step)
        there = [{n: each.to(self.device) for n, each in target.items()} for target in targets]
        with step.global_draws("proposals", self.device):
            losses = self.network([image.to(self.device) / 255 for image in images], there)
        self.optimizer.zero_grad()
        torch.stack([*losses.values()]).sum().backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def after_epoch(self, step: Step) -> dict[str, float]:
        """The average precisions; after the last epoch what is detected becomes files."""
        found, part = nothing_found(self.test_part), self.test_part
        loaded = zip(part.images, done_ahead(part.pixels, part.images), strict=True)
        self.network.eval()
        for number, image in counted(loaded, len(part.images), "image"):
            with torch.no_grad():
                (result,) = self.network([image.to(self.device) / 255])
            add(found, part, number, result)
        self.network.train()
        for kind, results in found.items() if step.index + 1 == step.num_steps else ():
            write_atomically(self.tracker.folder / FILES[kind], json.dumps(results).encode())
        return precision(found, part)
