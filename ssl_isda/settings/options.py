"""The words behind a command: its flags as a model of pydantic, and the plain words among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import shown
from ssl_isda.settings.flags import command_help, read_command
from ssl_isda.settings.setting import settings_of


class Options(BaseModel):
    """The flags of a command: each field is one, with its help in the text below it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


Chosen = TypeVar("Chosen", bound=Options)


def read_options(
    arguments: Sequence[str], usage: str, model: type[Chosen]
) -> tuple[list[str], Chosen] | None:
    """The plain words, which are paths, and the flags; None if help was asked for, and shown.

    Raises
    ------
    UsageError
        A flag is unknown or its value is wrong, or a path is empty.
    """
    settings = settings_of(model)
    if "--help" in arguments or "-h" in arguments:
        show(command_help(usage, settings))
        return None
    words, values = read_command(arguments, settings)
    for word in words:
        if not word or "\0" in word:
            raise UsageError(f"expected a path, got {shown(word) if word else 'nothing'}")
    return words, model(**values)
