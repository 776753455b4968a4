"""The one place that fills the registries of methods, data sets and augmentations."""

from __future__ import annotations


def load() -> None:
    """Register every method, data set and augmentation that comes with the package."""
    import ssl_isda.data.augmentations
    import ssl_isda.datasets
    import ssl_isda.methods  # noqa: F401
