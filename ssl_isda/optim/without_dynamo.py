"""Optimizers that start without PyTorch's compiler."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from ssl_isda.optim.contract import Group

Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)


def without_dynamo(optimizer: type[Optimizer]) -> type[Optimizer]:
    """The same optimizer in everything but that it leaves ``torch._dynamo`` unloaded.

    PyTorch wraps these methods to keep an optimizer out of compiled graphs, and the first call of a
    wrapper loads the compiler: about half of what a start costs after ``import torch``. What is
    compiled here are networks alone (``compile_networks``), so the plain methods do.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    plain = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    plain["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), plain)


def described(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Groups as PyTorch's optimizers take them."""
    return [
        {"params": group.parameters}
        | ({} if group.weight_decay is None else {"weight_decay": group.weight_decay})
        for group in groups
    ]
