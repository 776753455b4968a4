"""Warm-up: the learning rate grows linearly over the first steps of a run, whatever its schedule.

Goyal et al., Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour, 2017, arXiv:1706.02677, section
2.2.

    f'(t) = min(1, (t + 1) / n) f(t)                                              (1)

f is the schedule's factor at step t, counted from 0, and n the steps of the warm-up. The schedule is not
moved: its milestones, and the end of its cosine, stay where they are without a warm-up. Some public code
(that of USB's transformers) counts the cosine from the end of the warm-up instead; with n of T steps the
two differ by less than 2 n / T.
"""

from __future__ import annotations

from ssl_isda.base.step import Step
from ssl_isda.optim.contract import Schedule


def warmed_up(schedule: Schedule, num_steps: int) -> Schedule:
    """The schedule with a warm-up of ``num_steps`` steps, by (1); as pure a function as it is."""

    def factor(step: Step) -> float:
        return min(1.0, (step.index + 1) / num_steps) * schedule(step)

    return factor
