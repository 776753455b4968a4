"""Everything that the next step depends on and that no key can recompute: in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import output_failed
from ssl_isda.base.precision import Precision
from ssl_isda.parallel import distributed
from ssl_isda.runs import checkpoint
from ssl_isda.runs.tracking import Tracker
from ssl_isda.training.watching import Watch


class RunState:
    """The state of one run, kept at ``file`` by the first process; the others' is the same.

    Without a file it is kept nowhere.
    """

    def __init__(
        self,
        student: nn.Module,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        watch: Watch,
        precision: Precision,
        file: Path | None,
    ) -> None:
        self.student, self.objective, self.optimizer = student, objective, optimizer
        self.watch, self.precision, self.file = watch, precision, file
        self.next_step = 0

    def whole(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            **self.networks(),
            "optimizer": self.optimizer.state_dict(),
            "loss_sums": self.watch.loss_sums,
            "gradient_norms": self.watch.gradient_norms,
            "computed_on": self.place(),
        }

    def networks(self) -> dict[str, Any]:
        """What a snapshot holds: as much of it as the loss of the next step depends on."""
        return {
            "next_step": self.next_step,
            "student": self.student.state_dict(),
            "objective": self.objective.state_dict(),
        }

    def place(self) -> dict[str, str | int]:
        """What bits depend on beside the settings."""
        return {
            "device": self.watch.device.type,
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "processes": distributed.num_processes(),
            "torch": str(torch.__version__),
        }

    def save(self) -> None:
        """Write the checkpoint.

        Raises
        ------
        OutputFailed
            The disk is full; the checkpoint before it stays.
        """
        if self.file and distributed.is_first():
            checkpoint.save(self.file, self.whole())

    def keep_snapshot(self) -> None:
        """Write the networks as they are now; a resumed run writes the same again."""
        if self.file is None or not distributed.is_first():
            return
        folder = self.file.parent / "snapshots"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise output_failed(error, folder, 0) from error
        checkpoint.write(folder / f"step{self.next_step:07d}.pt", self.networks())

    def resume(self, num_steps: int) -> list[str] | None:
        """Take up the newest whole checkpoint, which the first process reads; None if there is none.
        Warns of what was passed over; says how this place differs from the one that wrote it.

        Raises
        ------
        UsageError
            There are checkpoints and none can be used, or it belongs to another network.
        """
        state, complaints = distributed.from_first(self._read)
        for complaint in complaints:
            self.watch.tracker.warn(complaint)
        return None if state is None else self._load(state, num_steps)

    def _read(self) -> tuple[dict[str, Any] | None, list[str]]:
        if self.file is None:
            return None, []
        try:
            return checkpoint.load_latest(self.file)
        except checkpoint.CheckpointDamaged as error:
            raise UsageError(f"{error}. Nothing was deleted; --fresh starts over") from error

    def _load(self, state: Mapping[str, Any], num_steps: int) -> list[str]:
        with self._refusing_other_states():
            self.load_networks(state)
            self.optimizer.load_state_dict(state["optimizer"])
            self.next_step = state["next_step"]
            self.watch.loss_sums, self.watch.gradient_norms = (
                {name: value.to(self.watch.device) for name, value in state[key].items()}
                for key in ("loss_sums", "gradient_norms")
            )
            if not 0 <= self.next_step <= num_steps:
                raise ValueError(f"step {self.next_step} of {num_steps}")
            before = dict(state["computed_on"])
        return [
            f"{name} was {before[name]} and is {now}"
            for name, now in self.place().items()
            if name in before and before[name] != now
        ]

    def load_networks(self, state: Mapping[str, Any]) -> None:
        """Take student, method and covariances alone: enough to evaluate.

        Raises
        ------
        UsageError
            The state belongs to another network, or is no state of a run.
        """
        with self._refusing_other_states():
            _load_into(self.student, state["student"], self.file)
            _load_into(self.objective, state["objective"], self.file)

    @contextmanager
    def _refusing_other_states(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UsageError(
                f"{self.file} does not hold the state of a run ({reason}). "
                "Nothing was deleted; --fresh starts over"
            ) from error


def tell_of_move(tracker: Tracker, changes: Sequence[str], thing: str) -> None:
    """Log what ``RunState.resume`` says of another place; ``thing`` is a run or a training."""
    if changes:
        tracker.say(
            f"note: {', '.join(changes)}: from here on the bits may differ from those of a {thing} "
            "that was never moved"
        )


def _load_into(module: nn.Module, state: dict[str, Tensor], path: Path | None) -> None:
    expected = module.state_dict()
    missing, unexpected = sorted(expected.keys() - state), sorted(state.keys() - expected)
    reshaped = sorted(k for k in expected.keys() & state if expected[k].shape != state[k].shape)
    problems = [
        f"{what} {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("shape", reshaped))
        if keys
    ]
    if problems:
        raise UsageError(f"{path} belongs to another network or method: {'; '.join(problems)}")
    module.load_state_dict(state)
