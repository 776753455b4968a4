"""The baseline, and that a method without weight is the baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_isda.isda.config import IsdaConfig
from ssl_isda.training.method import METHODS
from tests.commands import FAST, answer
from tests.methods import tiny

WITHOUT_A_TERM_OF_THEIR_OWN = sorted(
    name for name in METHODS if METHODS[name].any_loss and name != "supervised"
)
"""Methods whose supervised term is that of supervised training."""


def test_equals_cross_entropy_written_out() -> None:
    network, _, losses = tiny.train("supervised")
    reference, expected = tiny.train_reference(lambda *_: torch.zeros(()), num_views=0)
    tiny.assert_same_training(losses, expected, network, reference)


def test_wants_no_unlabeled_images() -> None:
    method = tiny.build("supervised", tiny.student())
    assert method.views == () and method.weight(tiny.step(5)) == 0


@pytest.mark.parametrize("isda", [False, True])
@pytest.mark.parametrize("name", WITHOUT_A_TERM_OF_THEIR_OWN)
def test_weight_zero_is_supervised(name: str, isda: bool) -> None:
    """On a network without BatchNorm; with ISDA, eta_1 = 0 as well."""
    method = tiny.build(name, tiny.student(), consistency_weight=0.0)
    assert all(method.weight(tiny.step(t)) == 0 for t in range(12))
    config = IsdaConfig(eta_1=0.0) if isda else None
    network, _, losses = tiny.train(name, isda=config, consistency_weight=0.0)
    baseline, _, expected = tiny.train("supervised", isda=config)
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected), rtol=1e-12, atol=0)
    for p, q in zip(network.parameters(), baseline.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-15)


def test_a_file_for_several_methods_may_set_the_weight_of_a_term_that_it_has_not(
    tmp_path: Path,
) -> None:
    """As a flag it is refused: tests/refusals.yaml."""
    (tmp_path / "mine.yaml").write_text("isda: true\neta_1: 2.0\n", "utf-8")
    words = [*FAST, "--method", "supervised", "--steps", "1", "--config", "mine.yaml"]
    assert answer(words, tmp_path).code == 0
