"""Paired, interleaved timing, and the rows that come of it."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch.profiler import ProfilerActivity, profile

from ssl_isda.base.precision import Precision

Call = Callable[[], object]
WARM_UP = 3
"""Calls of what is compiled: the first compiles, the next records CUDA graphs."""


@dataclass(frozen=True)
class Settings:
    """What holds for all parts."""

    rounds: int = 5
    width: float = 1.0
    """Factor on CNN-13's channels."""
    batch_size: int = 128
    """Labeled images in a step, and as many unlabeled ones."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "fp32"
    compile: bool = False
    """Whether networks are compiled, ours and those of the bare passes (the fp32 NCHW ones are not)."""
    seconds: float = 0.1
    """Shorter calls are repeated within a round until they take this long together."""

    models: tuple[str, ...] = ()
    """Networks of the part ``networks``; empty: all."""
    warm_up: int = 1
    """Calls of each candidate before the first round; what is compiled has its own number."""
    whole_processes: bool = False
    """The work is done by child processes."""

    @property
    def uses_cpu_time(self) -> bool:
        """Whether the clock is the CPU time of this process rather than the wall clock."""
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        return alone and not self.whole_processes


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds per call in each round, ours and the reference's."""

    part: str
    case: str
    ours: list[float]
    reference: list[float]
    target: float | None = None
    """Largest ratio that is good enough."""
    images: int = 0
    """Images that one call of ours trains on."""
    flops: int = 0
    """Floating-point operations of one call of the reference."""
    memory: tuple[int, int] | None = None
    """Bytes that one call of ours holds at its peak beyond what it was given, and the reference's."""
    memory_target: float | None = None
    """Largest ratio of these that is good enough."""

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.reference, strict=True)]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the ratios."""
        if len(self.ratios) == 1:
            return (self.ratios[0],) * 3
        low, middle, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, middle, high


def interleaved(candidates: Mapping[str, Call], settings: Settings) -> dict[str, list[float]]:
    """Seconds per call of each candidate in each round; every second round runs backwards."""
    for call in candidates.values():
        for _ in range(WARM_UP if settings.compile and settings.seconds else settings.warm_up):
            call()
    repeats = {name: _repeats(call, settings) for name, call in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(settings.rounds):
        for name in list(candidates)[:: -1 if number % 2 else 1]:
            seconds[name].append(_timed(candidates[name], repeats[name], settings))
    return seconds


def _repeats(call: Call, settings: Settings) -> int:
    return int(settings.seconds / _timed(call, 1, settings)) + 1 if settings.seconds else 1


def _timed(call: Call, repeats: int, settings: Settings) -> float:
    clock = time.process_time if settings.uses_cpu_time else time.perf_counter
    _wait_for(settings.device)
    began = clock()
    for _ in range(repeats):
        call()
    _wait_for(settings.device)
    return (clock() - began) / repeats


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def allocated_bytes(call: Call, device: torch.device) -> int:
    """The most memory that tensors made within one call hold at once."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    assert profiler.profiler is not None
    found = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(found, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes), default=0)


def counted_flops(call: Call) -> int:
    """Floating-point operations of the matrix products and convolutions in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    eager = torch.compiler.set_stance("force_eager")  # what is compiled cannot be looked into
    with eager, FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
