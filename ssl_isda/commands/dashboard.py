"""The W&B page on which seeds become a mean and a band: a workspace, built here, kept by W&B.

Needs wandb-workspaces. ``specification`` touches no network; saving it does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.progress import show

USAGE = """\
usage: python run.py dashboard --entity NAME [flags]

Makes a workspace in a project at Weights & Biases: runs grouped by cell, for each metric the mean over
the seeds with a band of one standard deviation.

  python run.py dashboard --entity my_team
"""


class DashboardConfig(BaseModel):
    """Where the workspace goes."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)

    entity: Annotated[str, Field(min_length=1)] | None = None
    """Your name or your team's at W&B."""
    project: Annotated[str, Field(min_length=1)] = "ssl-isda"
    """Its project."""
    print: bool = False
    """Print the specification instead of sending it."""


def command(arguments: Sequence[str]) -> int:
    """Make the workspace that the words after ``dashboard`` ask for; the exit code.

    Raises
    ------
    UsageError
        A flag is wrong, the package is missing, or W&B refuses.
    """
    from ssl_isda.settings.config import settings_of
    from ssl_isda.settings.resolve import command_help, read_command

    settings = settings_of(DashboardConfig)
    if "--help" in arguments or "-h" in arguments:
        show(command_help(USAGE, settings))
        return 0
    words, values = read_command(arguments, settings)
    options = DashboardConfig(**values)
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


NAME = "ssl-isda"
X_AXIS = "epoch"
SECTIONS = {
    "Error": {"test_error": "Test error (%)", "validation_error": "Validation error (%)"},
    "Losses": {
        "supervised_loss": "Supervised loss",
        "semantic_loss": "Semantic consistency",
        "consistency_loss": "Consistency loss of the method",
    },
    "Schedules": {
        "lambda": "lambda: strength of the augmentation",
        "consistency_weight": "Weight of the method's consistency",
        "learning_rate": "Learning rate",
    },
    "Diagnostics": {
        "pseudo_label_accuracy": "Pseudo-label accuracy (%)",
        "confident_share": "Confident predictions (%)",
        "agreement": "Agreement of student and teacher (%)",
        "mean_variance": "Mean variance of the class statistics",
        "gradient_norm_supervised": "Gradient norm, supervised",
        "gradient_norm_semantic": "Gradient norm, semantic",
        "gradient_norm_consistency": "Gradient norm, consistency",
    },
    "Speed": {"images_per_second": "Images per second"},
}
"""What is shown: by section, the metric and the title of its panel."""


def specification(entity: str, project: str) -> Any:
    """A ``wandb_workspaces.workspaces.Workspace``: runs grouped by cell, each panel the mean over the
    seeds with a band of one standard deviation, over epochs.

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

    def panel(metric: str, title: str) -> Any:
        return LinePlot(
            title=title,
            x=X_AXIS,
            y=[metric],
            title_x=X_AXIS,
            title_y=title,
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            smoothing_type="none",
        )

    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            workspaces.Section(
                name=name, panels=[panel(*each) for each in shown.items()], is_open=True
            )
            for name, shown in SECTIONS.items()
        ],
        settings=workspaces.WorkspaceSettings(x_axis=X_AXIS, smoothing_type="none", max_runs=100),
        runset_settings=workspaces.RunsetSettings(groupby=[expr.Metric("Group")]),
    )


def as_json(workspace: Any) -> str:
    """What would be sent to W&B, for reading."""
    sent = workspace._to_model().model_dump(mode="json", by_alias=True)
    return json.dumps(sent["spec"], indent=2)
