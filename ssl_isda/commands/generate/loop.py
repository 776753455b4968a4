"""The loop that trains a generator against its critic.

A step is ``critic_steps`` steps of the critic and one of the generator, all of Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_isda.base.step import Step
from ssl_isda.commands.generate.real_images import RealImages
from ssl_isda.generators.contract import Gan, Losses
from ssl_isda.optim.adamw import Config as Adam
from ssl_isda.optim.adamw import adamw
from ssl_isda.optim.contract import Group
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.step_loop import Length, StepLoop


@dataclass(frozen=True)
class LengthAndRates(Length):
    """How long, and how fast: ``learning_rate``, ``beta_1`` and ``beta_2`` are Adam's."""

    learning_rate: float
    beta_1: float
    beta_2: float


class GanTrainer(StepLoop):
    """One training of a pair. A gradient of a gradient in bf16 would be noise."""

    def __init__(
        self, gan: Gan, real: RealImages, length: LengthAndRates, tracker: Tracker
    ) -> None:
        self.gan, self.real = gan, real
        self.parts = {"critic": list(gan.critic.parameters())}
        self.parts["generator"] = list(gan.generator.parameters())
        groups = [Group(parameters) for parameters in self.parts.values()]
        adam = Adam(length.beta_1, length.beta_2, weight_decay=0.0)
        optimizer = adamw(adam)(groups, real.device)
        for group in optimizer.param_groups:
            group["lr"] = length.learning_rate
        images = {"images_per_step": real.batch_size * gan.critic_steps}
        images["images_at_once"] = 2 * real.batch_size
        super().__init__(gan, optimizer, length, tracker, real.device, **images)

    def train_step(self, step: Step) -> Losses:
        """The critic's steps and the generator's; the last losses of both."""
        gan, losses = self.gan, {}
        for number in range(gan.critic_steps):
            draw = self.real.draw(step, f"generated {number}", gan.generator)
            losses = gan.critic_losses(*self.real.batch(step, number), draw)
            self._descend("critic", losses)
        draw = self.real.draw(step, "generated", gan.generator)
        of_generator = gan.generator_losses(draw)
        self._descend("generator", of_generator)
        return {name: loss.detach().clone() for name, loss in (losses | of_generator).items()}

    def _descend(self, part: str, losses: Losses) -> None:
        """One step of Adam with the parameters of one part; those that the loss does not reach stay."""
        total: Tensor = torch.stack([*losses.values()]).sum()
        for parameters in self.parts.values():
            for parameter in parameters:
                parameter.grad = None
        own = self.parts[part]
        for parameter, gradient in zip(
            own, torch.autograd.grad(total, own, allow_unused=True), strict=True
        ):
            parameter.grad = gradient
        self.optimizer.step()
