"""Randomness without hidden state: every draw comes from a generator keyed by (seed, step, purpose).

A draw is a pure function of its key, so any step can be computed again on its own: nothing has to be
saved for an exact resume, and two draws with the same key (VAT's dropout masks) are the same draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def key(seed: int, step: int, purpose: str) -> int:
    """A 63-bit number that stands for (seed, step, purpose): the first bits of their SHA-256."""
    digest = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(
    seed: int, step: int, purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator on ``device`` that starts at ``key(seed, step, purpose)``."""
    return torch.Generator(device).manual_seed(key(seed, step, purpose))


@contextmanager
def global_draws(seed: int, step: int, purpose: str, device: torch.device) -> Iterator[None]:
    """Within the block, torch's global generators start at ``key(seed, step, purpose)``.

    Dropout draws from the global generator and takes no other. The states from before the block come
    back after it, so that an outer program's own randomness is untouched.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [each.get_state() for each in generators]
    for each in generators:  # torch.manual_seed formats a stack trace for each kind of absent GPU
        each.manual_seed(key(seed, step, purpose))
    try:
        yield
    finally:
        for each, state in zip(generators, states, strict=True):
            each.set_state(state)
