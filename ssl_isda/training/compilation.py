"""Networks compiled by ``torch.compile``, with the results of the ordinary ones to rounding."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.step import Step

COMPILED_FORMS = 64
"""Batch sizes x (training, evaluation) x (with gradients, without) x networks: a run has about ten."""

_COMPILERS = {"C": ("CC", "gcc", "clang"), "C++": ("CXX", "g++")}
"""By language: the variable that names it, and where PyTorch and Triton look without one."""


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Compile each network's forward and backward pass in place; their state keeps its names.

    On a GPU the passes are recorded as CUDA graphs. Dropout draws what it would draw uncompiled.

    Raises
    ------
    UsageError
        There is no compiler: for a CPU PyTorch needs one of C++, for a GPU one of C.
    """
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    _refuse_without_compiler("C" if device.type == "cuda" else "C++")
    inductor.fallback_random = True
    # All networks share one list of what was compiled for which shapes and modes; beyond its limit they
    # would quietly run uncompiled, and where shapes differ be compiled for any, which is slower.
    dynamo.recompile_limit = max(dynamo.recompile_limit, COMPILED_FORMS)
    mode = "reduce-overhead" if device.type == "cuda" else None
    for network in networks:
        network.compile(mode=mode, dynamic=False)


def as_written(compiled: bool, step: Step) -> AbstractContextManager[None]:
    """The last step of an epoch is not compiled: its terms are differentiated one by one, which keeps
    what CUDA graphs cannot keep (PyTorch's issue 154306)."""
    eager: AbstractContextManager[None] = nullcontext()
    if compiled and step.is_last_of_epoch:
        eager = torch.compiler.set_stance("force_eager")
    return eager


def begin_passes(compiled: bool) -> None:
    """CUDA graphs may use the memory of what came before again, and of nothing that comes now.

    Unless told, they take a forward pass after a backward one for a new step: VAT has one between.
    """
    if compiled:
        torch.compiler.cudagraph_mark_step_begin()


def _refuse_without_compiler(language: str) -> None:
    variable, *usual = _COMPILERS[language]
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *usual)):
        raise UsageError(
            f"--compile needs a {language} compiler, and there is none (on Debian: apt install g++)"
        )
