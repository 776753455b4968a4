"""The mark of pixels without a class. Imports no torch."""

from __future__ import annotations

VOID = 255
"""The class of a pixel that has none: it enters no loss, no covariance and no score."""
