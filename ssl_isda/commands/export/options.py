"""The flags of ``run.py export``. Needs pydantic, imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ssl_isda.settings.config import UsablePath

USAGE = """\
usage: python run.py export RUN [RUN ...] [flags]

Writes into each run's folder what its network makes of the images, and a picture of it:

  features.npz            features, logits, predictions and labels of all test and training images
  tsne.png, tsne.svg      t-SNE of the test images' features; the coordinates stand in tsne.npz
  clusters.json           how well the classes lie apart, in the feature space and in the picture

Several runs on the same data also get one figure together, side by side, the same images in each.

  python run.py export runs/digits-20/vat/seed0 runs/digits-20/vat+isda/seed0
"""


class ExportConfig(BaseModel):
    """How features are exported and drawn."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    points: int = Field(2000, ge=6)
    """Test images in the picture, the same number of each class as far as there are so many."""
    perplexity: float = Field(30.0, ge=1, allow_inf_nan=False)
    """Of t-SNE: how many neighbours a point looks at, roughly; fewer than there are points."""
    out: UsablePath | None = None
    """Where the figure of all runs goes; unset: the current folder, if there are several runs."""
    test_only: bool = False
    """Leave the training images out of features.npz."""
    data_dir: UsablePath | None = None
    """Where the data set lies; unset: where it lay in training."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """auto: a GPU where there is one; unset: as in training."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; unset: as in training."""
    wandb: Literal["auto", "offline", "online", "disabled"] | None = None
    """Show the picture at Weights & Biases, as a run of job type "export"; unset: as in training."""
