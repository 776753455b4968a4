"""The report as results.csv: a row for every run, whatever became of it."""

from __future__ import annotations

import csv
import io

from ssl_isda.commands.report.contents import (
    Report,
    command,
    commit,
    last_error,
    machine,
    selected_error,
    versions,
)
from ssl_isda.results.curves import images_per_second, training_seconds
from ssl_isda.results.runs import Run
from ssl_isda.settings.config import FLAG_ONLY, GROUPS

_SETTINGS = [name for names in GROUPS.values() for name in names if name not in FLAG_ONLY]


def results_csv(report: Report) -> str:
    """Errors in percent, times in seconds; empty where a run does not say."""
    rows = [_row(run) for run in report.runs]
    options = sorted({name for run in report.runs for name in run.settings} - {*_SETTINGS})
    names = dict.fromkeys([*rows[0], *_SETTINGS, *options])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    for run, row in zip(report.runs, rows, strict=True):
        settings = {name: run.settings.get(name) for name in (*_SETTINGS, *options)}
        writer.writerow({name: harmless(value) for name, value in {**settings, **row}.items()})
    return text.getvalue()


def harmless(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value


def _row(run: Run) -> dict[str, object]:
    is_finished = run.state == "finished"
    split = run.split
    return {
        "run": run.path,
        "state": run.state,
        "problem": run.problem,
        "error": run.error if is_finished else None,
        "last_epoch_error": last_error(run),
        "selected_error": selected_error(run),
        "averaged_epochs": run.result.get("averaged_epochs"),
        "finished_epochs": len(run.epochs),
        "training_seconds": training_seconds(run),
        "images_per_second": images_per_second(run),
        "machine": machine(run),
        "num_labeled": split and split.num_labeled,
        "num_validation": split and split.num_validation,
        "split_seed": split and split.seed,
        "split_digest": split and split.digest,
        "data_checksum": split and split.checksum,
        "commit": commit(run),
        "versions": versions(run),
        "finished": run.result.get("finished"),
        "command": command(run),
    }
