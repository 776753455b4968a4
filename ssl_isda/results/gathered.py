"""Many runs in one file, a line for each cell: what a repository can keep of thousands of runs.

A line is a JSON object: ``settings``, all but the seed and where the runs were; and by seed, in the
order of ``seeds``, ``errors`` (%), ``losses`` (the supervised loss of the last epoch) and ``splits`` (the
first characters of the digest of the labeled images); ``data_digest``, ``commit``, ``versions`` and
``precision`` once.
Runs that failed have a line of their own: ``settings``, and by seed in ``failed`` what their logs say.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed
from ssl_isda.results.run_files import SplitFacts
from ssl_isda.results.run_settings import NOT_OF_THE_EXPERIMENT, with_defaults
from ssl_isda.results.runs import Run
from ssl_isda.runs.metrics import ERROR_RATE

SUFFIX = ".jsonl"
KEPT_OF_A_DIGEST = 12
_BY_SEED = ("seeds", "errors", "losses", "splits")
_FAILED = "failed"
_ONCE = ("data_digest", "commit", "versions", "precision")
_NEEDED = ("dataset", "data_dir", "labels", "method", "isda")
_WHERE_NAMED = ("data_dir",)
"""What is no part of an experiment, but names its column."""


def gathered(runs: Sequence[Run]) -> str:
    """The finished and failed runs as such a file, sorted by settings, and in a cell by seed."""
    cells: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: int(str(run.settings.get("seed", 0)))):
        if run.state in ("finished", "failed"):
            once = _facts_of(run) if run.state == "finished" else {}
            cells[json.dumps({"settings": _settings(run), **once}, default=str)].append(run)
    return "".join(f"{_line(shared, cells[shared])}\n" for shared in sorted(cells))


def _facts_of(run: Run) -> dict[str, Any]:
    """What is told of it once; the name of its headline, where that is not the error."""
    found = {name: run.result.get(name) for name in _ONCE}
    return found if run.headline == ERROR_RATE else {**found, "headline": run.headline.name}


def _settings(run: Run) -> Mapping[str, object]:
    return {
        name: value
        for name, value in sorted(run.settings.items())
        if name not in NOT_OF_THE_EXPERIMENT or name in _WHERE_NAMED
    }


def _line(shared: str, runs: Sequence[Run]) -> str:
    cell = json.loads(shared)
    if runs[0].state == "failed":
        return json.dumps(
            {**cell, _FAILED: {run.seed: run.problem for run in runs}}, ensure_ascii=False
        )
    by_seed: dict[str, object] = {
        "seeds": [run.seed for run in runs],
        "errors": [round(run.error, 6) for run in runs],
        "losses": [_rounded(run.last_loss) for run in runs],
        "splits": [run.split.digest[:KEPT_OF_A_DIGEST] if run.split else "" for run in runs],
    }
    return json.dumps({"settings": cell.pop("settings"), **by_seed, **cell}, ensure_ascii=False)


def _rounded(loss: float | None) -> float | None:
    return None if loss is None else float(f"{loss:.4g}")


def read_gathered(file: Path) -> list[Run]:
    """The runs of such a file.

    Raises
    ------
    UsageError
        It cannot be read, or a line is none that ``gathered`` writes.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
        return [run for number, line in enumerate(lines, 1) for run in _runs(file, number, line)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{printed(file)} cannot be read: {error}") from error


def _runs(file: Path, number: int, line: str) -> list[Run]:
    where = f"{printed(file)}:{number}"
    try:
        cell = json.loads(line)
        settings = with_defaults({n: _hashable(value) for n, value in cell["settings"].items()})
        if missing := [name for name in _NEEDED if name not in settings]:
            raise KeyError(", ".join(missing))
        if _FAILED in cell:
            return [_failed(where, settings, int(s), str(why)) for s, why in cell[_FAILED].items()]
        columns = [cell[name] for name in _BY_SEED]
        once = {name: cell.get(name) for name in (*_ONCE, "headline")}
        return [_run(where, settings, once, *each) for each in zip(*columns, strict=True)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{where} is no cell that analyze collect wrote: {error!r}") from error


def _run(
    where: str,
    settings: Mapping[str, object],
    once: Mapping[str, Any],
    seed: int,
    error: float,
    loss: float | None,
    split: str,
) -> Run:
    return Run(
        f"{where}, seed {int(seed)}",
        state="finished",
        settings={**settings, "seed": int(seed)},
        epochs=() if loss is None else ({"supervised_loss": loss},),
        result={**once, once.get("headline") or ERROR_RATE.name: float(error)},
        split=SplitFacts(seed, "", split, 0, 0) if split else None,
    )


def _failed(where: str, settings: Mapping[str, object], seed: int, why: str) -> Run:
    path = f"{where}, seed {seed}"
    return Run(path, state="failed", problem=why, settings={**settings, "seed": seed})


def _hashable(value: object) -> object:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
