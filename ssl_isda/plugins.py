"""The one place that fills the registries of methods, data sets and augmentations."""

from __future__ import annotations

import functools
import importlib.util
import sys
import traceback
from pathlib import Path

from ssl_isda.base.errors import RunError, UsageError
from ssl_isda.base.words import printed


def load(plugin: str | None = None) -> None:
    """Register the methods, data sets and augmentations of the package, and a plugin's parts.

    Parameters
    ----------
    plugin : a Python file, or a module by its name; its code is run, once in a process

    Raises
    ------
    UsageError
        The plugin cannot be imported: why, and where.
    """
    import ssl_isda.data.augmentations
    import ssl_isda.datasets
    import ssl_isda.methods  # noqa: F401

    if not plugin:
        return
    try:
        if plugin.endswith(".py"):
            _load_file(Path(plugin).resolve())
        else:
            importlib.import_module(plugin)
    except RunError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [f for f in frames if f.filename != __file__ and f.filename[0] != "<"]
        place = "".join(f" in line {f.lineno} of {Path(f.filename).name}" for f in inside[-1:])
        reason = " ".join(f"{type(error).__name__}{place}: {error}".split())[:200]
        raise UsageError(
            f"--plugin {printed(plugin)} cannot be imported: {printed(reason)}"
        ) from error


@functools.cache
def _load_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)
