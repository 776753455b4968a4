"""Every draw is a pure function of (seed, step, purpose)."""

import hashlib

import pytest
import torch

from ssl_isda.base.randomness import generator, global_draws, key

CPU = torch.device("cpu")


def draws(seed: int, step: int, purpose: str) -> list[float]:
    return torch.rand(4, generator=generator(seed, step, purpose)).tolist()


def test_the_key_is_the_first_63_bits_of_sha_256() -> None:
    bits = int(hashlib.sha256(b"3/17/noise").hexdigest(), 16)
    assert key(3, 17, "noise") == bits >> (256 - 63)


def test_the_same_key_gives_the_same_draws() -> None:
    assert draws(1, 2, "crop") == draws(1, 2, "crop")


def test_another_seed_step_or_purpose_gives_others() -> None:
    keys = [(1, 2, "crop"), (2, 2, "crop"), (1, 3, "crop"), (1, 2, "flip"), (12, 3, "crop")]
    assert len({tuple(draws(*k)) for k in keys}) == len(keys)


def test_global_draws_start_at_the_key_and_leave_no_trace() -> None:
    torch.manual_seed(0)
    undisturbed = torch.rand(3)
    torch.manual_seed(0)
    with global_draws(1, 2, "dropout", CPU):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), undisturbed)
    assert inside.tolist() == draws(1, 2, "dropout")[:3]


def test_global_draws_leave_no_trace_of_an_error_either() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with pytest.raises(KeyError), global_draws(1, 2, "dropout", CPU):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_masks_are_keyed() -> None:
    dropout, ones = torch.nn.Dropout(0.5), torch.ones(64)
    masks = []
    for step in (0, 0, 1):
        with global_draws(0, step, "pass", CPU):
            masks.append(dropout(ones))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
