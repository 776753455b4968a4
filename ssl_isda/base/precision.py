"""bf16 autocast where the processor computes in bf16, fp32 elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]
Function = TypeVar("Function", bound=Callable[..., Tensor])


def fastest_precision(device: torch.device) -> Precision:
    """bf16 on a GPU or CPU that has instructions for it, else fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "fp32"


def _cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """The block in which forward passes run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def outside_autocast(device: str) -> AbstractContextManager[None]:
    """A block without autocast; where there is none, entering one would only take time."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def full_precision(function: Function) -> Function:
    """Run ``function`` outside autocast, with half-precision tensors raised to fp32."""

    @functools.wraps(function)
    def raised(*args: Any, **kwargs: Any) -> Tensor:
        device = next(a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        with outside_autocast(device):
            return function(*map(_raise, args), **{k: _raise(v) for k, v in kwargs.items()})

    return raised  # type: ignore[return-value]


def _raise(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if half else value
