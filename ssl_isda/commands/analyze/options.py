"""The flags of the analyses. Needs pydantic, imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ssl_isda.settings.options import Options, Place
from ssl_isda.settings.setting import UsablePath

COMPARISON_USAGE = """\
usage: python run.py analyze comparison [RUNS ...] [--out DIR]

Shows what ISDA changes: every method with it beside the same without it, the mean difference paired by
seed with its 95 % confidence interval. Settings of ISDA that vary, such as lambda_0, become rows, and a
number that takes three values or more becomes a curve. It reads run folders and changes nothing in them.
RUNS are run folders, or folders above them; without any, the folder runs is read. Without --out the
table is printed and no file is written.

With --baseline every cell is a row beside the one that has these settings and differs in nothing else,
with the p of Student's paired t-test and Holm's, which holds for all rows of a baseline at once: losses,
networks and augmentations can be compared like that, as in Table 5.

  python run.py analyze comparison runs/sensitivity_small --out docs/results/sensitivity_small
  python run.py analyze comparison runs/table5_small --baseline loss=cross_entropy dropout=0 isda=false

With --columns the table has a column for each value of a setting of ISDA, such as lambda_0, and a row for
everything else: grids of many cells on one page. With --training-loss the rows also say at which loss of
the labeled images training ended.

  comparison.md           the table, and what is not counted
  comparison.json         its numbers, each seed's among them
  differences.svg         the differences with their intervals
  curves.svg              test error against lambda_0, against the number of samples, ...
"""

POWER_USAGE = """\
usage: python run.py analyze power [RUNS ...] --effect POINTS

Says before the next runs how many pairs would see an effect of so many points of test error, from the
paired differences of the runs that are there, and which effect these could have seen. RUNS and --baseline
are as in analyze comparison.

  python run.py analyze power runs/evidence_digits --effect 0.5
"""

COLLECT_USAGE = """\
usage: python run.py analyze collect RUNS --out DIR
       python run.py analyze collect RUNS ... --out FILE.jsonl

Copies what tables and figures are made of, without weights, from every finished or failed run below the
folder RUNS to the same place below DIR: settings, split, metrics, times, log and result. It names the
runs that it leaves out. report and analyze comparison read DIR as they read RUNS.

  python run.py analyze collect runs/table6_small --out docs/results/table6_small

With --out FILE.jsonl one file takes them all, a line for each cell with the errors of its seeds: for
grids of thousands of runs. The same commands read it. RUNS may be several folders and such files, so
that a grid that was run in parts, or on several machines, comes together; a run that is there twice is
written once.

  python run.py analyze collect runs/evidence_digits --out docs/results/evidence/digits.jsonl
  python run.py analyze collect kept.jsonl runs/the_rest --out kept.jsonl
"""

TIGHTNESS_USAGE = """\
usage: python run.py analyze tightness RUN [flags]

Fig. 9 of the paper: how far the upper bounds lie above the expectations that they bound, over a training.
RUN was trained with --isda --snapshots N. Each of the N steps is taken again as it was, on its own batch
with its own lambda, and compared with explicit draws: Prop. 1 on the labeled images, Prop. 2 on the
unlabeled ones. Nothing else in the folder changes.

  python run.py --dataset digits --method vat --isda --snapshots 20
  python run.py analyze tightness runs/digits-20/vat+isda/seed0

  tightness.md, .json     bound, expectation and their ratios at each moment
  tightness.svg           the same as curves
"""

STRENGTH_USAGE = """\
usage: python run.py analyze strength [RUNS ...] [--out DIR]

Says how strong ISDA was at the end of runs, from their checkpoints. What a lambda amounts to depends on
the features and weights with which a network answers it: the table has (lambda/2) q, the nats that
Prop. 1 adds to the logit of a wrong class, as a mean over classes, and what it is made of. RUNS are run
folders, or folders above them; without any, the folder runs is read. Nothing in them changes. Without
--out the table is printed and no file is written.

  python run.py analyze strength runs/evidence_controls_digit_pairs

  strength.md, .jsonl     a row for each cell of runs
"""

COST_USAGE = """\
usage: python run.py analyze cost [flags]

Table 3 of the paper: the operations and the time that ISDA adds to a training step of each network, with
10 and with 100 classes, in supervised training and in temporal ensembling, the cheapest method that has
both propositions. The paper's own rows stand below each network that it has, and those of the others at
the end. Images are noise; no data set is needed.

  python run.py analyze cost --threads 1
  python run.py analyze cost --model resnet32 densenet_bc_100_12 --methods supervised --threads 1

With --config it counts instead what the runs of a settings file, with and without ISDA, or of a grid will
cost on a GPU, and measures nothing.

  python run.py analyze cost --config resnet32_cifar10
  python run.py analyze cost --config table2 --gpu a100 --share 0.2
  python run.py analyze cost --config imagenet_resnet50 --gpus 8
"""

REDRAW_USAGE = """\
usage: python run.py analyze redraw FOLDER [FOLDER ...] [--out DIR]

Makes tables and figures again from the numbers that were kept of them: the same bytes each time, without
weights or data. Of several folders with tsne.npz the pictures stand side by side.

  python run.py analyze redraw docs/results/tightness

  tightness.json  ->  tightness.md, tightness.svg
  cost.json       ->  cost.md
  strength.jsonl  ->  strength.md
  tsne.npz        ->  tsne.png, tsne.svg
"""


class ComparisonConfig(Options):
    """What is compared, and where it goes."""

    baseline: tuple[str, ...] = ()
    """Compare with the cell of these settings, each as NAME=VALUE, in place of with and without ISDA."""

    columns: str | None = None
    """The setting of ISDA whose values are the table's columns; unset: each cell is a row."""

    training_loss: bool = False
    """One more column says at which training loss the cells stopped."""

    out: UsablePath | None = None
    """Where the table and the figures go, over older ones; unset: the table is printed."""


class PowerConfig(Options):
    """What is to be seen."""

    effect: Annotated[float, Field(gt=0)] | None = None
    """The difference to be seen, in points of test error."""

    baseline: tuple[str, ...] = ()
    """Compare with the cell of these settings, each as NAME=VALUE, in place of with and without ISDA."""


class CollectConfig(Options):
    """Where results go."""

    out: UsablePath | None = None
    """The folder that results are copied to."""


class RedrawConfig(Options):
    """Where tables and figures go."""

    out: UsablePath | None = None
    """Where they go, over older ones; unset: the folder, or the current one if there are several."""


class TightnessConfig(Place):
    """How bounds are compared with draws."""

    samples: int = Field(1000, ge=10)
    """Draws for each image."""
    out: UsablePath | None = None
    """Where the table and the figure go; unset: the run's folder."""


class StrengthConfig(Place):
    """Where strengths go."""

    out: UsablePath | None = None
    """Where the table and its numbers go, over older ones; unset: the table is printed."""


OF_PLANS = frozenset({"gpu", "gpus", "share", "launch_us"})
"""Flags of ``analyze cost`` that count with --config alone; all others but --out are for steps that are
timed."""


class CostConfig(Options):
    """What is counted and timed, and how."""

    config: UsablePath | None = None
    """A settings file or a grid, or its name: only the cost of its runs on --gpu."""
    gpu: Literal["v100", "a100", "h100", "rtx_3090", "rtx_4090"] = "h100"
    """With --config: the GPU, whose peak in half precision its maker states."""
    gpus: int = Field(1, ge=1)
    """With --config: GPUs that share each run, by torchrun."""
    share: float = Field(0.2, gt=0, le=1, allow_inf_nan=False)
    """With --config: the share of that peak which a run reaches; an assumption."""
    launch_us: float = Field(10.0, ge=0, allow_inf_nan=False)
    """With --config: microseconds that each kernel takes at least; an assumption."""

    model: tuple[str, ...] = ("cnn13",)
    """The networks, one after another."""
    methods: tuple[Literal["supervised", "temporal_ensembling"], ...] = (
        "supervised",
        "temporal_ensembling",
    )
    """The trainings."""
    width: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Factor on the number of the networks' channels."""
    batch_size: int = Field(128, ge=1)
    """Labeled images in a step, and as many unlabeled ones."""
    rounds: int = Field(11, ge=1)
    """Pairs of steps that are timed."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where it is faster."""
    out: UsablePath | None = None
    """Where cost.md and cost.json go, or planned_cost.md and planned_cost.json; unset: the table is
    printed."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; unset: as many as PyTorch chooses."""
