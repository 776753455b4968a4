"""Weights that a run starts from: read without running code, held against the network, taken over."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_isda.base.errors import UsageError
from ssl_isda.models.contract import Network
from ssl_isda.runs.checkpoint import MAGIC

INSIDE = ("state_dict", "model", "student")
"""Where files keep their weights that hold more than them."""
MOST_NAMED = 3
WRAPPED = "module."
"""How PyTorch's wrapper for several processes begins every name."""


@dataclass(frozen=True)
class Weights:
    """A state dict with its origin.

    place : the run's folder or the file
    class_names : of a run; None where a file does not say
    """

    place: Path
    state: Mapping[str, Tensor]
    class_names: tuple[str, ...] | None = None

    def load_into(self, student: Network, class_names: Sequence[str]) -> str:
        """Take the weights over. Those of the head are left as they are where the classes are others, by
        their number or by the names that a run has; says so in a line.

        Raises
        ------
        UsageError
            They are another network's: names the first keys that are missing, too many, or of another
            shape.
        """
        own, head = student.state_dict(), _names_of_head(student)
        try:
            state = student.renamed(self.state)
        except Exception as error:  # a library's reader may stumble over anything in another's file
            reason = " ".join(str(error).split())[:150]
            raise UsageError(
                f"--weights {self.place} does not fit this network ({reason})"
            ) from error
        why = self._why_fresh(own, state, head, class_names)
        taken = {name: tensor for name, tensor in state.items() if not (why and name in head)}
        self._refuse_another_network(own, taken, left_out=head if why else frozenset())
        student.load_state_dict(taken, strict=not why)
        return f"starting from the weights of {self.place}" + (
            f"; the head is new: {why}" * bool(why)
        )

    def _why_fresh(
        self,
        own: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
        head: frozenset[str],
        class_names: Sequence[str],
    ) -> str:
        """Why the head stays as it is drawn; empty if it does not."""
        if not head & state.keys():
            return "there is none among them"
        there = {len(state[name]) for name in head & state.keys()}
        if there != {len(own[name]) for name in head}:
            return f"it has {max(there)} classes there, {len(class_names)} here"
        if self.class_names is not None and self.class_names != tuple(class_names):
            return "its classes have other names there"
        return ""

    def _refuse_another_network(
        self, own: Mapping[str, Tensor], taken: Mapping[str, Tensor], left_out: frozenset[str]
    ) -> None:
        wanted = [name for name in own if name not in left_out]
        lacking = [name for name in wanted if name not in taken]
        foreign = [name for name in taken if name not in own]
        reshaped = [n for n in wanted if n in taken and own[n].shape != taken[n].shape]
        problems = []
        if reshaped:
            name, more = reshaped[0], len(reshaped) - 1
            shapes = f"{tuple(taken[name].shape)} there, {tuple(own[name].shape)} here"
            problems.append(f"{name} is {shapes}" + f", and so {more:,} more" * bool(more))
        if lacking:
            beside = f", and has {_some(foreign)}" * bool(foreign)
            problems.append(f"it lacks {_some(lacking)}{beside}")
        elif foreign:
            problems.append(f"it has {_some(foreign)}, which the network does not have")
        if broken := [n for n in wanted if n in taken and not taken[n].isfinite().all()]:
            problems.append(f"{broken[0]} holds numbers that are not finite")
        if problem := "; ".join(problems):
            raise UsageError(f"--weights {self.place} does not fit this network: {problem}")


def _some(names: Sequence[str]) -> str:
    """Names, three at most, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + f" and {more:,} more" * (more > 0)


def read_weights(path: Path) -> Weights:
    """The state dict in a file of ``torch.save`` or of safetensors. Nothing in it is executed.

    Raises
    ------
    UsageError
        It is not there, cannot be read, holds code, or no state dict.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                raise UsageError(f"--weights {path} is a run's checkpoint: give the run's folder")
    except OSError as error:
        raise UsageError(f"--weights {path} cannot be read: {error.strerror}") from error
    content = _safetensors(path) if path.suffix == ".safetensors" else _saved_by_torch(path)
    return Weights(path, _state_dict(content, path))


def _saved_by_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"--weights {path} holds more than tensors, or is none of torch.save's files: nothing in it "
            "was run; save a state_dict() alone"
        ) from error
    except Exception as error:  # unchecked bytes: the reader may fail in any way
        raise UsageError(f"--weights {path} cannot be read ({type(error).__name__})") from error


def _safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageError(f"--weights {path} needs a package: pip install safetensors") from error
    try:
        return load_file(path)
    except Exception as error:  # unchecked bytes, as above
        raise UsageError(f"--weights {path} cannot be read ({type(error).__name__})") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    inner = [content[name] for name in INSIDE if isinstance(content, dict) and name in content]
    state = inner[0] if inner and isinstance(inner[0], dict) else content
    if not isinstance(state, dict) or not state:
        raise UsageError(f"--weights {path} holds no state dict but a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UsageError(f"--weights {path} holds no state dict: {name!r} is no tensor")
    if all(name.startswith(WRAPPED) for name in state):
        return {name.removeprefix(WRAPPED): value for name, value in state.items()}
    return state


def _names_of_head(student: Network) -> frozenset[str]:
    """Of its entries in the network's state dict, whatever the module is called."""
    own = {id(tensor) for tensor in student.head.state_dict(keep_vars=True).values()}
    everything = student.state_dict(keep_vars=True)
    return frozenset(name for name, tensor in everything.items() if id(tensor) in own)
