"""The colours of all figures, which readers with any colour vision can tell apart."""

from __future__ import annotations

BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PINK, SKY, YELLOW = "#CC79A7", "#56B4E9", "#E69F00"
LINES = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK)
"""Okabe & Ito, Color universal design, 2008."""
METHOD_COLOURS = {
    "supervised": BLACK,
    "pi_model": YELLOW,
    "temporal_ensembling": SKY,
    "mean_teacher": GREEN,
    "vat": ORANGE,
}
"""The same method has the same colour in every figure; others take the next of ``LINES``."""
CLASSES = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten, for the points of ten classes: Petroff, arXiv:2107.02270."""
