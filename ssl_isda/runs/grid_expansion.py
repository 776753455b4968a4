"""From a grid file to the runs that it stands for, each an ordinary command of ``run.py``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from ssl_isda.base.errors import UsageError
from ssl_isda.runs.grid_file import Block, GridFile
from ssl_isda.runs.run_folder import RunFolder
from ssl_isda.settings.components import Components, read_components
from ssl_isda.settings.config import ISDA_SETTINGS, Resolved
from ssl_isda.settings.flags import as_flag, as_text
from ssl_isda.settings.label_words import AMOUNTS, IN_FOLDERS
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.yaml_files import Given

MOST_RUNS = 10_000
IN_THE_RUNS_OWN_PATH = frozenset(
    {"dataset", *IN_FOLDERS, "method", "isda", "seed", "runs_dir", "generated"}
)
"""Settings by which run folders differ anyway."""
RIVALS = (frozenset({"epochs", "steps"}), frozenset(AMOUNTS))
"""Ways of saying how long a run is, and how many labels it has."""


@dataclass(frozen=True)
class GridRun:
    """One run of a grid."""

    resolved: Resolved

    @property
    def arguments(self) -> tuple[str, ...]:
        """What stands behind ``run.py``."""
        return self.resolved.arguments

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.resolved)

    @property
    def path(self) -> Path:
        return self.folder.path


@dataclass(frozen=True)
class _Draft:
    """A run whose place among the others is not known yet."""

    block: Block
    words: Mapping[str, Given]
    """By name: what the file and the command line set; ISDA's settings only where it is on."""
    resolved: Resolved

    @property
    def identity(self) -> object:
        """Equal for equal settings, whoever set them."""
        return tuple(self.resolved.values.items())


def expand(grid: GridFile, flags: Mapping[str, Given]) -> list[GridRun]:
    """The runs of a grid in the order of the file, each once.

    Where settings beside data set, labels, method, ISDA and seed vary, the run folders get a part for
    each in front, as in ``runs/lambda_0=0.1/cifar10-4000/vat+isda/seed0``.

    Parameters
    ----------
    flags : what the command line sets for every run, over what the file says

    Raises
    ------
    UsageError
        A combination that no command could have, two different runs in one folder, or too many.
    """
    num_runs = sum(math.prod(map(len, _axes(block, flags).values())) for block in grid.blocks)
    if num_runs > MOST_RUNS:
        raise UsageError(f"{grid.source}: {num_runs:,} runs; a grid has at most {MOST_RUNS:,}")
    plugin = flags["plugin"].value if "plugin" in flags else None
    components = read_components(None if plugin is None else str(plugin))
    drafts: dict[object, _Draft] = {}
    for block in grid.blocks:
        axes = _axes(block, flags)
        for values in itertools.product(*axes.values()):
            words = _over(grid.settings, dict(zip(axes, values, strict=True)), flags)
            draft = _draft(grid, block, words, components)
            drafts.setdefault(draft.identity, draft)
    varying = _varying_settings([*drafts.values()], flags)
    runs: dict[Path, GridRun] = {}
    for draft in drafts.values():
        run = _placed(grid, draft, varying)
        if run.path in runs:
            raise UsageError(
                f"{draft.block.where}: two different runs would have one folder, {run.path}"
            )
        runs[run.path] = run
    return [*runs.values()]


def _over(*layers: Mapping[str, Given]) -> dict[str, Given]:
    """What the layers say, each over those before; of rivals the later one counts."""
    words: dict[str, Given] = {}
    for layer in layers:
        other = {
            name for rivals in RIVALS if rivals & layer.keys() for name in rivals - layer.keys()
        }
        words = {**{name: words[name] for name in words if name not in other}, **layer}
    return words


def _axes(block: Block, flags: Mapping[str, Given]) -> dict[str, tuple[Given, ...]]:
    return {name: values for name, values in block.axes.items() if name not in flags}


def _draft(
    grid: GridFile, block: Block, words: Mapping[str, Given], components: Components
) -> _Draft:
    plain = {name: given for name, given in words.items() if name not in ISDA_SETTINGS}
    try:
        resolved = resolve(_arguments(grid, plain), components=components)
        if not resolved.config.isda or plain.keys() == words.keys():
            return _Draft(block, plain, resolved)
        resolved = resolve(_arguments(grid, words), components=components)
        return _Draft(block, words, resolved)
    except UsageError as error:
        raise UsageError(f"{block.where}: {error}") from error


def _varying_settings(drafts: Sequence[_Draft], flags: Mapping[str, Given]) -> list[str]:
    """Axes with several values among the runs that have the setting, in the order of the file."""
    names = dict.fromkeys(name for draft in drafts for name in draft.block.axes)
    values = [draft.resolved.values for draft in drafts]
    return [
        name
        for name in names
        if name not in IN_THE_RUNS_OWN_PATH
        and name not in flags
        and len({each[name] for each in values if name in each}) > 1
    ]


def _placed(grid: GridFile, draft: _Draft, varying: Sequence[str]) -> GridRun:
    """The run with a folder of its own."""
    parts = [
        f"{name}={quote(as_text(draft.words[name].value), safe='+,')}"
        for name in varying
        if name in draft.block.axes and name in draft.words
    ]
    words, resolved = dict(draft.words), draft.resolved
    if parts:
        runs_dir = resolved.config.runs_dir.joinpath(*parts)
        words["runs_dir"] = Given(str(runs_dir), str(runs_dir), "flag", "--runs-dir")
        resolved = replace(
            resolved,
            config=resolved.config.model_copy(update={"runs_dir": runs_dir}),
            sources={**resolved.sources, "runs_dir": "flag"},
            arguments=tuple(_arguments(grid, words)),
        )
    return GridRun(resolved)


def _arguments(grid: GridFile, words: Mapping[str, Given]) -> list[str]:
    config = [] if grid.config is None or "config" in words else _flag("--config", grid.config)
    return [*config, *itertools.chain.from_iterable(map(_words, words.items()))]


def _words(item: tuple[str, Given]) -> Iterator[str]:
    name, given = item
    if isinstance(given.value, bool):
        yield as_flag(name, given.value)
    else:
        yield from _flag(f"--{name.replace('_', '-')}", as_text(given.value))


def _flag(flag: str, text: str) -> list[str]:
    return [f"{flag}={text}"] if text.startswith("-") or not text else [flag, text]
