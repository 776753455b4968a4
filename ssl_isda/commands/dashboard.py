"""``run.py dashboard``: the W&B page on which seeds become a mean and a band.

Needs wandb-workspaces. ``specification`` touches no network; saving it does.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show
from ssl_isda.runs.metrics import METRICS, Metric
from ssl_isda.settings.options import Options, read_options

USAGE = """\
usage: python run.py dashboard --entity NAME [flags]

Makes a workspace in a project at Weights & Biases: runs are grouped by cell and by the digest of their
images, and each metric is shown as the mean over the seeds with a band of one standard deviation.

  python run.py dashboard --entity my_team
"""
NAME, X_AXIS = "ssl-isda", "epoch"


class DashboardConfig(Options):
    """Where the workspace goes."""

    entity: Annotated[str, Field(min_length=1)] | None = None
    """Your name or your team's at W&B."""
    project: Annotated[str, Field(min_length=1)] = "ssl-isda"
    """Its project."""
    print: bool = False
    """Print the specification instead of sending it."""


def command(arguments: Sequence[str]) -> int:
    """Make the workspace that the words after ``dashboard`` ask for; the exit code."""
    found = read_options(arguments, USAGE, DashboardConfig)
    if found is None:
        return 0
    words, options = found
    if words or options.entity is None:
        raise UsageError("dashboard needs --entity NAME, your name or your team's at W&B")
    workspace = specification(options.entity, options.project)
    if options.print:
        show(as_json(workspace))
        return 0
    try:
        workspace.save()
    except Exception as error:  # not logged in, no network, no such project: W&B's own words
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"W&B did not take the workspace ({type(error).__name__}: {reason}); is `wandb login` "
            f"done, and does {options.entity}/{options.project} hold a run?"
        ) from error
    show(f"dashboard: {workspace.url}")
    return 0


def specification(entity: str, project: str) -> Any:
    """A ``wandb_workspaces.workspaces.Workspace``: runs grouped by cell and by the digest of their
    images, each panel the mean over the seeds with a band of one standard deviation, over epochs.

    Raises
    ------
    UsageError
        wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.expr as expr
        import wandb_workspaces.workspaces as workspaces
        from wandb_workspaces.reports.v2.interface import LinePlot
    except ImportError as error:
        raise UsageError(
            "run.py dashboard needs the package wandb-workspaces: pip install wandb-workspaces"
        ) from error

    def panel(metric: Metric) -> Any:
        return LinePlot(
            title=metric.meaning,
            x=X_AXIS,
            y=[metric.name],
            title_x=X_AXIS,
            title_y=metric.unit,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            smoothing_type="none",
        )

    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            workspaces.Section(name=name, panels=[*map(panel, metrics)], is_open=True)
            for name, metrics in itertools.groupby(METRICS, lambda metric: metric.section)
        ],
        settings=workspaces.WorkspaceSettings(x_axis=X_AXIS, smoothing_type="none", max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            groupby=[expr.Metric("Group"), expr.Config("data_digest")]
        ),
    )


def as_json(workspace: Any) -> str:
    """What would be sent to W&B, for reading."""
    sent = workspace._to_model().model_dump(mode="json", by_alias=True)
    return json.dumps(sent["spec"], indent=2)
