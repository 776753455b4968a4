"""How much memory ISDA is going to take, told before anything of it is allocated."""

from __future__ import annotations

import torch

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import CovarianceForm
from ssl_isda.isda.propositions import AT_ONCE
from ssl_isda.isda.variances import MOST_DIFFERENCES
from ssl_isda.parallel import distributed
from ssl_isda.runs.memory import free_bytes, in_gigabytes

_FP32 = 4


def isda_bytes(
    form: CovarianceForm,
    num_classes: int,
    num_features: int,
    batch_size: int,
    *,
    every_class: bool,
    semantic: bool = True,
    matched: bool = False,
) -> int:
    """What ISDA holds at its peak: the covariances (learned ones with copy, gradient and momentum), the
    full ones that a matched strength compares them with, and what the closed forms make of them.

    For n images, a features, c classes, p of them computed: both hold a tensor of p x c x a; Prop. 1 two
    more of that size, or of a part that fits into a CPU's cache; Prop. 2 a table of p x c x c and, of
    the larger of that and n x c x c, three more. With many diagonal covariances Prop. 1 has none of
    p x c x a, but three of p x a, two of c x a and three of p x c.

    Parameters
    ----------
    batch_size : n, the larger of the two streams
    every_class : whether all classes are computed (on a GPU) or only those that occur
    semantic : whether Prop. 2 is computed, beside Prop. 1
    matched : whether the strength is matched
    """
    n, c, a = batch_size, num_classes, num_features
    p = c if every_class else min(c, n)
    square = c * a * a
    held = {
        "full": square,
        "diagonal": c * a,
        "shared": a * a,
        "identity": 0,
        "learned": 4 * square,
        "permuted": square,
        "rotated": square + a * a,
    }
    part = p * c * a if every_class else min(p * c * a, max(c * a, AT_ONCE))
    by_products = form == "diagonal" and p * c * a > MOST_DIFFERENCES
    first = 3 * p * a + 2 * c * a + 3 * p * c if by_products else p * c * a + 2 * part
    second = p * c * a + p * c * c + 3 * max(n, p) * c * c if semantic else 0
    return _FP32 * (held[form] + square * matched + max(first, second))


def refuse_what_does_not_fit(
    form: CovarianceForm,
    num_classes: int,
    num_features: int,
    batch_size: int,
    device: torch.device,
    *,
    semantic: bool = True,
    matched: bool = False,
) -> None:
    """Before anything is allocated. Processes that share a run decide as one, by the least memory.

    Parameters
    ----------
    semantic, matched : as ``isda_bytes`` takes them

    Raises
    ------
    UsageError
        ISDA would need more memory than there is; says whether diagonal covariances fit.
    """
    found = free_bytes(device)
    if found is None:
        return
    free = -distributed.largest(-found)
    needed, diagonal, diagonal_of_one = (
        isda_bytes(
            *(f, num_classes, num_features, n),
            every_class=device.type == "cuda",
            semantic=semantic,
            matched=matched,
        )
        for f, n in ((form, batch_size), ("diagonal", batch_size), ("diagonal", 1))
    )
    if needed < free:
        return
    advice = "a smaller --width has fewer features"
    if diagonal < free:
        advice = f"--covariance diagonal needs {in_gigabytes(diagonal)}"
    elif diagonal_of_one < free:
        advice = "smaller --batch-size and --unlabeled-batch-size need less"
    kinds = f"{form} and full" if matched else form
    raise UsageError(
        f"ISDA with {kinds} covariances of {num_classes:,} classes and {num_features:,} features needs "
        f"about {in_gigabytes(needed)} of memory, {in_gigabytes(free)} are free: {advice}"
    )
