"""The one place that imports the methods and the data sets, so that their registries are filled."""

from __future__ import annotations


def load() -> None:
    """Register every method and every data set that comes with the package."""
    import ssl_isda.datasets
    import ssl_isda.methods  # noqa: F401
