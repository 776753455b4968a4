"""Reductions, maps of pixels and derivatives of the consistency terms."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ssl_isda.losses.consistency import entropy, softmax_kl, softmax_mse

g = torch.Generator().manual_seed(0)
X, Y = (torch.randn(4, 3, generator=g, dtype=torch.float64) for _ in range(2))
TERMS = {
    "mse": lambda x, **o: softmax_mse(x, Y[: len(x)].softmax(1).view_as(x), **o),
    "kl": lambda x, **o: softmax_kl(Y[: len(x)].view_as(x), x, **o),
    "kl of the target": lambda x, **o: softmax_kl(x, Y[: len(x)].view_as(x), **o),
    "entropy": entropy,
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_a_mean_over_rows_with_derivatives_of_both_orders(name: str) -> None:
    term, x = TERMS[name], X.clone().requires_grad_()
    each = term(x, reduction="none")
    assert each.shape == (4,)
    torch.testing.assert_close(term(x), each.mean())
    torch.testing.assert_close(term(x, reduction="sum"), each.sum())
    assert gradcheck(term, x) and gradgradcheck(term, x)
    nothing = term(x[:0])
    assert nothing == 0 and not torch.autograd.grad(nothing, x)[0].any()
    with pytest.raises(Exception, match="reduction"):
        term(x, reduction="avg")


def test_pixels_are_rows_and_half_precision_is_raised() -> None:
    dense = [part.view(1, 2, 2, 3).movedim(-1, 1) for part in (X, Y)]
    for term in (softmax_kl, softmax_mse):
        torch.testing.assert_close(term(*dense), term(X, Y))
        assert term(*dense, reduction="none").shape == (1, 2, 2)
        ours = term(X.half(), Y.half())
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, term(X.half().float(), Y.half().float()))
