"""A training that is no run of a method, from its folder to its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ssl_isda.base.files import write_json
from ssl_isda.runs.described_folder import DescribedFolder
from ssl_isda.runs.result import commit_of, provenance
from ssl_isda.runs.wandb_view import Mode
from ssl_isda.settings.places import PACKAGE
from ssl_isda.training.step_loop import StepLoop, ended


class Told(Protocol):
    """Where a training is shown."""

    @property
    def wandb(self) -> Mode: ...
    @property
    def wandb_project(self) -> str: ...


def trained(
    folder: DescribedFolder,
    loop: StepLoop,
    told: Told,
    arguments: Sequence[str],
    *,
    opening: str,
    tags: Sequence[str],
    finished: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """Train to the end, from where the folder stands; the result, which the folder then has.

    Parameters
    ----------
    arguments : the command line behind run.py
    opening : the first line of the log
    finished : called at the end: what the result has beside where it was computed
    """
    tracker, num_steps = loop.tracker, loop.length.num_steps
    resumed = loop.resume()
    tracker.say(f"resuming at step {loop.next_step} of {num_steps}" if resumed else opening)
    tracker.view = folder.view(told.wandb, told.wandb_project, tracker, tags, arguments[0])
    with ended(tracker) as summary:
        loop.run()
        summary |= finished()
        summary |= provenance(loop.device, "fp32", tracker.timing_file, arguments)
        summary |= {"commit": commit_of(PACKAGE)}
        write_json(folder.result_file, summary)
    return summary
