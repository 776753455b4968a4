"""The one place that fills the registries of methods, data sets and augmentations."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path


def load(plugin: str | None = None) -> None:
    """Register the methods, data sets and augmentations of the package, and a plugin's parts.

    Parameters
    ----------
    plugin : a Python file, or a module by its name; its code is run, once in a process
    """
    import ssl_isda.data.augmentations
    import ssl_isda.datasets
    import ssl_isda.methods  # noqa: F401

    if plugin and plugin.endswith(".py"):
        _load_file(Path(plugin).resolve())
    elif plugin:
        importlib.import_module(plugin)


@functools.cache
def _load_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)
