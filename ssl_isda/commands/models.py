"""``run.py models``: every network there is, with what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import get_type_hints

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.base.words import shown
from ssl_isda.results.tables import Markup, Table, markdown_table
from ssl_isda.settings.components import read_components
from ssl_isda.settings.options import Options, read_options

USAGE = """\
usage: python run.py models [--json] [--plugin FILE]

Lists every network, as --model names it: its parameters, the multiply-adds of one image in a forward
pass, and the features that its head sees, for 32 x 32 pixels in color and 10 classes, with the options
that a run has by default; and where it is from.

  python run.py models
  python run.py models --json
"""
SHAPE, NUM_CLASSES = (3, 32, 32), 10


class ModelsConfig(Options):
    """How they are listed."""

    as_json: bool = Field(False, alias="json")
    """Print a JSON list of objects instead of a table; null stands for what does not apply."""
    plugin: str | None = None
    """Python file or module whose networks are listed too; its code is run."""


@dataclass(frozen=True)
class Listed:
    """A network; None where it does not take 32 x 32 pixels and 10 classes by default, or stands for all
    networks of a library."""

    name: str
    parameters: int | None = None
    multiply_adds: int | None = None
    """Of convolutions and matrix products; an addition and a multiplication count as one."""
    features: int | None = None
    source: str | None = None


def command(arguments: Sequence[str]) -> int:
    """Answer the words after ``models``."""
    found = read_options(arguments, USAGE, ModelsConfig)
    if found is None:
        return 0
    words, options = found
    if words:
        raise UsageError(f"models takes flags alone, got {shown(words[0])}")
    read_components(options.plugin)  # complains before torch is imported
    from ssl_isda import plugins
    from ssl_isda.models import MODELS

    plugins.load(options.plugin)
    networks = [listed(name) for name in sorted(MODELS)]
    if options.as_json:
        show(json.dumps([asdict(network) for network in networks], indent=1))
    else:
        show(markdown_table(Table([*_rows(networks)])))
    return 0


def listed(name: str) -> Listed:
    """What there is to say about a network; nothing is computed, and no weight takes memory."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ssl_isda.models import MODELS

    try:
        with torch.device("meta"), torch.no_grad():
            network = MODELS[name](MODELS.config(name)(), num_classes=NUM_CLASSES, shape=SHAPE)
            with FlopCounterMode(display=False) as counter:
                network.head(network.eval().features(torch.empty(1, *SHAPE)))
    except Exception:  # a network of a plugin may refuse these images, or to be built, in any way
        return Listed(name, source=_source(MODELS[name]))
    return Listed(
        name,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        multiply_adds=counter.get_total_flops() // 2,
        features=network.head.weight.shape[1],
        source=network.source,
    )


def _source(build: object) -> str | None:
    """Of the class of networks that a function is annotated to return."""
    try:
        returned = get_type_hints(build).get("return")
    except (NameError, TypeError):  # a plugin's annotations may be anything
        return None
    return getattr(returned, "source", None)


def _rows(networks: Sequence[Listed]) -> Iterator[list[Markup]]:
    """Names and numbers in columns of one width, for the terminal."""
    heads = ["network", "parameters", "multiply-adds", "features", "source"]
    name_width = max(len(network.name) for network in networks)
    counts = [[each.parameters, each.multiply_adds, each.features] for each in networks]
    rows = [
        [each.name, *("" if n is None else f"{n:,}" for n in numbers), each.source or ""]
        for each, numbers in zip(networks, counts, strict=True)
    ]
    for name, *numbers, source in (heads, *rows):
        yield [Markup(text) for text in (f"{name:<{name_width}}", *map(_number, numbers), source)]


def _number(text: str) -> str:
    return f"{text:>14}"
