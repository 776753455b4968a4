"""bf16 autocast where the processor computes in bf16, fp32 elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


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
