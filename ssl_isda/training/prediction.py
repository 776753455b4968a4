"""What a trained network says of new inputs, in the passes of its run's own evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ssl_isda.base.precision import Precision, autocast
from ssl_isda.data.inputs import Inputs
from ssl_isda.data.preparation import Preparation
from ssl_isda.models.contract import Prediction
from ssl_isda.tasks.sliding import resized

BATCH_SIZE = 500
"""That of the evaluation; another one may move the last bits."""


def mask_of(logits: Tensor, size: tuple[int, int] | None) -> Tensor:
    """(h, w) uint8 classes of one image from its logits (c, H, W), at ``size``; None: at theirs."""
    found = resized(logits[None], size or (logits.shape[1], logits.shape[2]))
    return found[0].argmax(0).to(torch.uint8)


@torch.no_grad()
def predictions(
    network: nn.Module,
    prepare: Preparation,
    precision: Precision,
    inputs: Inputs,
    *,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
) -> Iterator[tuple[Tensor, Prediction]]:
    """Batch by batch the places (n,) of the inputs, and logits (n, c) and features (n, a), float32.

    ``batch_size`` is that of the evaluation unless it is given.
    ``inputs.unreadable`` has afterwards what cannot be read. Unless it is to be skipped, no further
    pass is made once such an input was met.
    """
    network.eval()
    device = next(network.parameters()).device
    for places, batch in inputs.batches(prepare, batch_size or BATCH_SIZE, device, skip_unreadable):
        with autocast(device, precision):
            logits, features = network(batch)
        yield places, Prediction(logits.float().cpu(), features.float().cpu())
