"""The settings of a run: their types, defaults and meaning, and one run's resolved values.

Needs pydantic, imports no torch. What belongs to one part (a method, a network, an optimizer) is
declared beside that part, and read by ``ssl_isda.settings.components``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ssl_isda.base.words import printed
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.settings.declarations import declared_class
from ssl_isda.settings.places import folder
from ssl_isda.settings.setting import STRICT, Setting, UsablePath, settings_of
from ssl_isda.settings.yaml_files import PARTS, read_settings, written

Name = Annotated[str, Field(min_length=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, **STRICT)


class WhatToTrain(_Settings):
    """Names of parts, and what concerns them all."""

    method: Name
    """The semi-supervised method; there is no default."""
    isda: bool = False
    """Add implicit semantic data augmentation to the method."""
    model: Name = "cnn13"
    """The network."""
    loss: Name = "cross_entropy"
    """The loss of labeled images."""
    optimizer: Name = "sgd"
    """What takes the steps."""
    schedule: Name = "cosine"
    """How the learning rate changes over the run."""
    task: Name = "classification"
    """What is learned of an image."""
    weights: UsablePath | None = None
    """Start from the network of this run folder, or from this file of a state dict."""
    freeze: Literal["backbone"] | None = None
    """Train the last layer alone, on features of all images that are computed once: backbone."""
    sync_batchnorm: bool = True
    """On several processes: normalize by the whole batch, not by each process's part."""
    seed: int = Field(0, ge=0)
    """Chooses labeled images, initial weights and order."""


class Data(_Settings):
    """The images, and what is done to them."""

    dataset: Name = "cifar10"
    """The data set; its configs/DATASET.yaml is read."""
    labels: int | None = None
    """Labeled images, the same number for each class; the rest serve without their labels."""
    labels_per_class: int | None = Field(None, ge=1)
    """Labeled images of each class, with --imbalance of the first one; instead of --labels."""
    label_fraction: float | None = Field(None, gt=0, le=1)
    """Share of each class's images that are labeled, at least one; instead of --labels."""
    imbalance: float | None = Field(None, ge=1)
    """Train on a long tail: the first class has this many times the images of the last one."""
    imbalance_unlabeled: float | None = Field(None, ge=1)
    """The same of the unlabeled images, if it differs."""
    validation: bool = False
    """Hold out 25 % of the labeled images to choose settings on."""
    split: UsablePath | None = None
    """A split file to use instead of drawing labeled images by the seed."""
    preprocessing: Literal["zca", "standardize", "scale", "normalize", "imagenet", "network"] = (
        "normalize"
    )
    """zca whitens; standardize: mean 0 and variance 1 per image; scale: to [-0.5, 0.5]; normalize:
    mean 0 and variance 1 per channel; imagenet: by the constants of its recipes; network: as for the
    weights that the network starts from."""
    max_translation: int = Field(2, ge=0)
    """Largest random translation of a training image, in pixels."""
    flip: bool = True
    """Flip half of the training images."""
    resized_crop: Literal["none", "strong", "all"] = "none"
    """Random resized crops in place of translation, for images of 64 pixels and more: of all views but
    weak ones, or of all."""
    smallest_crop: float = Field(0.08, gt=0, le=1)
    """Of a resized crop, the smallest share of the image's area."""
    policy: Name = "weak"
    """The augmentation of labeled images, and of unlabeled ones where the method names none; those
    that its file names can be set, too."""
    generated: UsablePath | None = None
    """Folder of generate train, or of its seeds: its images of all classes join every labeled batch."""
    generated_share: float = Field(0.1667, gt=0, lt=1)
    """Of --generated: the share of a labeled batch that is generated."""


class Schedule(_Settings):
    """How long, in which steps."""

    epochs: int = Field(400, ge=1)
    """Passes over the unlabeled images."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps, instead of epochs; the schedules end there."""
    batch_size: int = Field(128, ge=1)
    """Labeled images in a step."""
    unlabeled_batch_size: int = Field(128, ge=1)
    """Unlabeled images in a step."""
    partial_batches: bool = False
    """End each pass with a smaller batch, if images are left; else labeled ones go into the next pass,
    unlabeled ones are left out."""
    learning_rate: float = Field(0.1, gt=0)
    """At the first step, before schedule and warm-up change it."""
    warmup_steps: int | None = Field(None, ge=1)
    """Steps in which the learning rate grows linearly to what the schedule says; unset: none."""
    warmup_epochs: float | None = Field(None, gt=0)
    """The same in epochs, also parts of one."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate from each stage of the network to the one below it; the head has the
    whole."""
    decay_norms: bool = True
    """Weight decay of biases and of the norms' scales and shifts, too."""
    evaluation_ema: float | None = Field(None, ge=0, lt=1)
    """Test the average of the network over the steps, with this decay a step, such as 0.999; unset:
    the network itself."""


class WhereAndHow(_Settings):
    """What may change when a run is resumed; all else defines the experiment."""

    data_dir: UsablePath = Path("data")
    """Where data sets lie or are downloaded to."""
    runs_dir: UsablePath = Path("runs")
    """Where run folders go."""
    fresh: bool = False
    """Delete the run folder first, and start over."""
    extend: bool = False
    """Go on with a finished run to more --steps or --epochs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where it is faster."""
    compile: bool = False
    """Compile the network by torch.compile, on a GPU into CUDA graphs; takes a minute first."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; unset: as many as PyTorch chooses."""
    checkpoint_minutes: float = Field(10.0, ge=0)
    """Minutes between checkpoints."""
    checkpoint_epochs: int | None = Field(None, ge=1)
    """Epochs between checkpoints, beside the minutes; unset: the minutes alone."""
    snapshots: int | None = Field(None, ge=1)
    """Moments of the training, evenly spread, whose networks are kept for analyze tightness."""
    wandb: Literal["auto", "offline", "online", "disabled"] = "auto"
    """Weights & Biases; auto: online where you are logged in."""
    wandb_project: Name = "ssl-isda"
    """Its project."""
    plugin: Name | None = None
    """Python file or module with parts of your own, whose code is run."""


class RunConfig(WhereAndHow, Schedule, Data, WhatToTrain):
    """Everything that a run depends on, except for ISDA's settings and the options of its parts."""


WHERE_AND_HOW = "Where and how it runs"
ISDA_SETTINGS = declared_class(folder("isda") / "config.py", "IsdaConfig")
GROUPS: Mapping[str, Mapping[str, Setting]] = {
    "What to train": settings_of(WhatToTrain),
    "Data": settings_of(Data),
    "Schedule": settings_of(Schedule),
    "ISDA": ISDA_SETTINGS,
    WHERE_AND_HOW: settings_of(WhereAndHow),
}
"""The settings that every run has, as ``--help`` shows them."""
RUN_SETTINGS: Mapping[str, Setting] = {
    name: setting for group in GROUPS.values() for name, setting in group.items()
}
FORMER_DEFAULTS = {"streaming": False}
"""What files of older versions say of settings that were left alone and are unset today."""
FLAG_ONLY = frozenset({"fresh", "extend", "plugin"})
"""Settings that no file may decide: a file that deletes whenever it is used again, or that runs code,
is a trap."""


@dataclass(frozen=True)
class Resolved:
    """The settings of a run after all sources have spoken."""

    config: RunConfig
    isda: IsdaConfig
    """ISDA's own settings, whether or not ``config.isda`` turns it on."""
    options: Mapping[tuple[str, str], Mapping[str, Any]]
    """Of each part that is used, by its kind and name: ("model", "cnn13")."""
    sources: Mapping[str, str]
    """Who set each of them: "flag", a file, or "default"."""
    seeds: tuple[int, ...]
    """One run for each, one after another; ``config.seed`` is the first."""
    unusual: tuple[str, ...] = ()
    """The parts that tell its folder from that of the data set's usual run: ("wrn_28_2",)."""
    arguments: tuple[str, ...] = field(default=(), compare=False)
    """The command line that said so, behind the program's name."""

    @property
    def values(self) -> dict[str, Any]:
        """Every setting and option by its name."""
        parts = [option for part in self.options.values() for option in part.items()]
        return {**dict(self.config), **vars(self.isda), **dict(parts)}

    def for_seed(self, seed: int) -> Resolved:
        """The same run with this seed alone."""
        return replace(self, config=self.config.model_copy(update={"seed": seed}), seeds=(seed,))

    def to_yaml(self) -> str:
        """A file that gives these values again as ``--config``; comments say where each came from."""
        lines = []
        if len(self.seeds) > 1:
            lines.append(f"# the first of --seeds {' '.join(map(str, self.seeds))}")
        values = self.values
        unsaid = FLAG_ONLY - {"plugin"} if values["plugin"] else FLAG_ONLY
        for title, names in GROUPS.items():
            lines.append(f"# {title}")
            lines += [self._line(name, values[name]) for name in names if name not in unsaid]
        lines.append("# Options of the parts")
        for kind, part in PARTS.items():
            used = {n: options for (k, n), options in self.options.items() if k == kind and options}
            lines += [f"{part}:"] * bool(used)
            for name, options in used.items():
                lines.append(f"  {written(name)}:")
                lines += ["    " + self._line(*option) for option in options.items()]
        return "\n".join(lines) + "\n"

    def _line(self, name: str, value: object) -> str:
        source = self.sources[name]
        comment = source if source == "default" else f"from {printed(source)}"
        return f"{name}: {written(value)}  # {comment}"


def experiment_settings(resolved: Resolved) -> dict[str, Any]:
    """What must agree for a run to be resumed: all but where and how it runs. Paths are text."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in resolved.values.items()
        if name not in GROUPS[WHERE_AND_HOW]
    }


def differing_settings(stored: Path, resolved: Resolved) -> list[str]:
    """The phrases of ``differences``."""
    return [*differences(stored, resolved).values()]


def differences(stored: Path, resolved: Resolved) -> dict[str, str]:
    """How the experiment differs from the one whose ``to_yaml`` is stored in a file.

    By differing key one phrase: "labels: 4000 there, 1000 now". A key that the file does not
    have yet, because an older version wrote it, differs only if it is not left at its default.

    Raises
    ------
    UsageError
        The file cannot be read.
    """
    there = read_settings(stored, printed(stored)).layer(resolved.options)
    phrases = {}
    for name, value in experiment_settings(resolved).items():
        if name in there and value is None and there[name].value == FORMER_DEFAULTS.get(name):
            continue
        if name in there and there[name].value != value:
            phrases[name] = f"{name}: {there[name].text} there, {written(value)} now"
        elif name not in there and resolved.sources[name] != "default":
            phrases[name] = f"{name}: not set there, {written(value)} now"
    return phrases
