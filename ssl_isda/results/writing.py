"""Files of results, put into a folder that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.base.files import output_failed, write_atomically
from ssl_isda.base.words import printed


def make_folder(out: Path) -> None:
    """Make the folder that ``--out`` names, with those above it.

    Raises
    ------
    UsageError
        It is a file, or lies below one.
    OutputFailed
        It cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--out {printed(out)} is a file; a folder is needed") from None
    except NotADirectoryError:
        raise UsageError(f"--out {printed(out)} lies below a file") from None
    except OSError as error:
        raise output_failed(error, out, 0) from error


def write_report(files: Mapping[str, str | bytes], out: Path) -> None:
    """Put each file into the folder ``out``, whole or not at all.

    Raises
    ------
    UsageError
        ``out`` is a file, or lies below one.
    OutputFailed
        The folder or a file cannot be written.
    """
    make_folder(out)
    for name, content in files.items():
        if isinstance(content, str):
            content = content.encode("utf-8", "backslashreplace")
        write_atomically(out / name, content)


def refuse_as_file(flag: str, path: Path) -> None:
    """Refuse a path that no file can have, before there is anything to write.

    Raises
    ------
    UsageError
        It is a folder, or lies below a file.
    """
    if path.is_dir():
        raise UsageError(f"--{flag} {printed(path)} is a folder; the name of a file is needed")
    if any(above.exists() and not above.is_dir() for above in path.parents):
        raise UsageError(f"--{flag} {printed(path)} lies below a file")
