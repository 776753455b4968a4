"""Batch sizes that do not suit a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ssl_isda.assembly import batches
from ssl_isda.base.errors import UsageError
from ssl_isda.data.samplers import LabeledUnlabeledSampler

LEAVES = "leaves 1 for the last batch of a pass, too few for BatchNorm: choose another"


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "partial", "words"),
    [
        (19, 40, True, f"{LEAVES} --batch-size$"),
        (10, 33, True, f"{LEAVES} --unlabeled-batch-size$"),
        (19, 33, False, None),
        (1, 1, True, None),
    ],
)
@pytest.mark.parametrize("has_views", [False, True])
@pytest.mark.parametrize("generated", [0, 4])
def test_a_last_batch_of_one_image_is_refused_where_a_step_has_no_other(
    labeled: int, unlabeled: int, partial: bool, words: str | None, has_views: bool, generated: int
) -> None:
    """Of 20 labeled images and a pool of 100, and beside so many generated ones in every batch."""
    sampler = LabeledUnlabeledSampler(
        torch.arange(20),
        torch.arange(100),
        labeled_batch_size=labeled,
        unlabeled_batch_size=unlabeled,
        seed=0,
        partial=partial,
    )
    made: Any = SimpleNamespace(sampler=sampler, views=(None,) if has_views else ())
    config: Any = SimpleNamespace(compile=False, batch_size=labeled + generated)
    is_fine = words is None or (generated if labeled == 19 else not has_views)
    if is_fine:
        batches._refuse_batch_sizes(config, made)
        return
    with pytest.raises(UsageError, match=words):
        batches._refuse_batch_sizes(config, made)


def test_processes_share_the_batches_that_are_used(monkeypatch) -> None:
    monkeypatch.setattr(batches, "num_launched", lambda: 2)
    sizes = {"labeled_batch_size": 4, "unlabeled_batch_size": 5}
    sampler = LabeledUnlabeledSampler(torch.arange(8), torch.arange(10), seed=0, **sizes)
    config: Any = SimpleNamespace(compile=False, batch_size=4)
    made: Any = SimpleNamespace(sampler=sampler, views=())
    batches._refuse_batch_sizes(config, made)
    made.views = (None,)
    with pytest.raises(UsageError, match="--unlabeled-batch-size must be a multiple of"):
        batches._refuse_batch_sizes(config, made)
