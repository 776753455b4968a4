"""Where the parts lie: at the top of a clone, or inside the installed package."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import ssl_isda
from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import shown

PACKAGE = Path(ssl_isda.__file__).resolve().parent
PROGRAM = PACKAGE.parent / "run.py"
"""What starts the program in a clone; an installed package has none."""


@functools.cache
def folder(name: str) -> Path:
    """The folder of all parts of a kind: ``methods``, ``models``, ``configs`` ..."""
    return next(path for each in ssl_isda.__path__ if (path := Path(each, name)).is_dir())


def settings_file(path: Path) -> Path:
    """``path``, or the file of this name that comes with the package, if there is none at ``path``."""
    shipped = folder("configs") / (path.name if path.suffix else f"{path.name}.yaml")
    by_name = path.parent in (Path(), Path("configs")) and os.path.isfile(shipped)
    return shipped if by_name and not os.path.isfile(path) else path


def known_names() -> list[str]:
    """The files that come with the package, as ``settings_file`` finds them by name."""
    return sorted(path.stem for path in folder("configs").glob("*.yaml"))


def plugin_files(plugin: str) -> list[Path]:
    """The sources of a plugin: a Python file, or a module or package that Python finds by its name.

    Raises
    ------
    UsageError
        There is neither.
    """
    if plugin.endswith(".py"):
        return [Path(plugin)]
    try:
        spec = importlib.util.find_spec(plugin)
    except (ImportError, ValueError):
        spec = None
    except Exception as error:  # of a package's own code, which runs here
        reason = shown(repr(error))
        raise UsageError(f"--plugin {shown(plugin)} cannot be imported: {reason}") from error
    if spec is None or spec.origin is None:
        raise UsageError(f"--plugin {shown(plugin)}: neither a file that ends in .py nor a module")
    source = Path(spec.origin)
    return sorted(source.parent.glob("*.py")) if source.name == "__init__.py" else [source]


def program() -> list[str]:
    """What Python is given to start the program, whatever the current folder is."""
    return [str(PROGRAM)] if PROGRAM.is_file() else ["-m", "ssl_isda"]


def shell_command(arguments: Sequence[str]) -> str:
    """A line for the shell that runs the program with these arguments, from the current folder."""
    here = Path.cwd()
    words = program()
    if PROGRAM.is_relative_to(here):
        words = [os.path.relpath(PROGRAM, here)]
    return shlex.join([sys.executable, *words, *arguments])
