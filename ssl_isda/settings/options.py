"""The words behind a command: its flags as a model of pydantic, and the plain words among them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import shown
from ssl_isda.settings.flags import Parser
from ssl_isda.settings.setting import STRICT, Setting, UsablePath, settings_of
from ssl_isda.settings.yaml_files import Given


class Options(BaseModel):
    """The flags of a command: each field is one, with its help in the text below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, **STRICT)


class Place(Options):
    """Where a run is evaluated now, whatever its settings say."""

    data_dir: UsablePath | None = None
    """Where the data set lies; unset: where it lay in training."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """auto: a GPU where there is one; unset: as in training."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; unset: as in training."""
    plugin: str | None = None
    """Python file or module with the run's parts, whose code is run."""


class Training(Options):
    """Where a training that is no run of a method computes, and where it is shown.

    As the first base class its flags come last.
    """

    runs_dir: UsablePath = Path("runs")
    """Folder of runs, below which its own is made."""
    fresh: bool = False
    """Delete the folder first, and start over."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; unset: as many as PyTorch chooses."""
    wandb: Literal["auto", "offline", "online", "disabled"] = "auto"
    """Weights & Biases; auto: online where you are logged in."""
    wandb_project: Annotated[str, Field(min_length=1)] = "ssl-isda"
    """Its project."""


Chosen = TypeVar("Chosen", bound=Options)
NO_SETTINGS: Mapping[str, Setting] = {}


def read_options(
    arguments: Sequence[str], usage: str, model: type[Chosen]
) -> tuple[list[str], Chosen] | None:
    """What ``read_command`` finds or refuses; None if help was asked for, and shown."""
    if "--help" in arguments or "-h" in arguments:
        parser = Parser(argparse.SUPPRESS, description=usage.rstrip("\n"))
        parser.add(None, settings_of(model).values())
        show(parser.format_help().rstrip("\n"))
        return None
    words, options, _ = read_command(arguments, model)
    return words, options


def read_command(
    arguments: Sequence[str], model: type[Chosen], others: Mapping[str, Setting] = NO_SETTINGS
) -> tuple[list[str], Chosen, dict[str, Given]]:
    """The plain words, which are paths; the command's own flags; and those of ``others`` that are given.

    Raises
    ------
    UsageError
        A flag is unknown or given twice, its value is missing or wrong, or a path is empty.
    """
    own = settings_of(model)
    known = {**own, **others}
    parser = Parser(has_words=True)
    parser.add(None, known.values(), is_shown=False)
    given, words = parser.read(arguments)
    values = {name: known[name].check(value) for name, value in given.items()}
    for word in words:
        if not word or "\0" in word:
            raise UsageError(f"expected a path, got {shown(word) if word else 'nothing'}")
    options = model(**{name: value for name, value in values.items() if name in own})
    return words, options, {name: value for name, value in given.items() if name in others}
