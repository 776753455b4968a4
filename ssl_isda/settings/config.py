"""The settings of a run: their types, defaults and meaning, and one run's resolved values.

Needs pydantic, imports no torch.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.settings.yaml_files import Given, read_settings, written

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "a name",
    "string_unicode": "text of UTF-8 characters",
    "path_type": "a path",
}


def _usable(path: Path) -> Path:
    """Refuse what no file system takes, and what no UTF-8 file could record."""
    text = str(path)
    if "\0" in text or text.encode(errors="replace").decode() != text:
        raise PydanticCustomError("unusable_path", "Input should be a path of UTF-8 characters")
    return path


UsablePath = Annotated[Path, Field(strict=False), AfterValidator(_usable)]
_Name = Annotated[str, Field(min_length=1)]


class RunConfig(BaseModel):
    """Everything that a run depends on, except for the options of its method."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, **_STRICT)

    method: _Name
    """The semi-supervised method; there is no default."""
    isda: bool = False
    """Add implicit semantic data augmentation to the method."""
    model: Literal["cnn13"] = "cnn13"
    """The network."""
    width: float = Field(1.0, gt=0)
    """Factor on the number of the network's channels; 0.25 suits a laptop."""
    sync_batchnorm: bool = True
    """On several processes: normalize by the whole batch, not by each process's part."""
    seed: int = Field(0, ge=0)
    """Chooses labeled images, initial weights and order."""

    dataset: _Name = "cifar10"
    """The data set; its configs/DATASET.yaml is read."""
    labels: int | None = None
    """Labeled images, the same number for each class; the rest serve without their labels."""
    validation: bool = False
    """Hold out 25 % of the labeled images to choose settings on."""
    split: UsablePath | None = None
    """A split file to use instead of drawing labeled images by the seed."""
    svhn_extra: bool = False
    """svhn: join its 531,131 extra images, without their labels."""
    image_size: int | None = Field(None, ge=1)
    """folder: height and width, in pixels, that images are resized to."""
    preprocessing: Literal["zca", "standardize", "scale", "normalize"] = "normalize"
    """zca whitens; standardize: mean 0 and variance 1 per image; scale: to [-0.5, 0.5]; normalize:
    mean 0 and variance 1 per channel."""
    max_translation: int = Field(2, ge=0)
    """Largest random translation of a training image, in pixels."""
    flip: bool = True
    """Flip half of the training images."""

    epochs: int = Field(400, ge=1)
    """Passes over the unlabeled images."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps, instead of epochs; the schedules end there."""
    batch_size: int = Field(128, ge=1)
    """Labeled images in a step."""
    unlabeled_batch_size: int = Field(128, ge=1)
    """Unlabeled images in a step."""
    learning_rate: float = Field(0.1, gt=0)
    """At the first step; falls to 0 as a cosine."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Nesterov momentum."""
    weight_decay: float = Field(1e-4, ge=0)
    """Factor on the squared weights."""

    lambda_0: float = Field(0.5, ge=0)
    """Strength of the augmentation at the last step."""
    lambda_schedule: Literal["linear", "constant"] = "linear"
    """linear: the strength grows from 0; constant: it is the same all along."""
    eta_1: float = Field(1.0, ge=0)
    """Weight of the semantic consistency of unlabeled images."""
    covariance: Literal["full", "diagonal", "shared", "identity", "learned"] = "full"
    """Form of the class covariances; learned: by gradient descent."""
    uncertainty_weight: float | None = Field(None, ge=0)
    """learned: weight of the loss that keeps the covariances from collapsing."""
    augmentation: Literal["implicit", "explicit"] = "implicit"
    """implicit: closed forms; explicit: sampled features."""
    augmentation_samples: int | None = Field(None, ge=1)
    """explicit: draws for each image."""
    consistency: Literal["upper_bound", "centered_bound", "second_order"] = "upper_bound"
    """implicit: the semantic consistency's closed form; upper_bound is the paper's."""

    data_dir: UsablePath = Path("data")
    """Where data sets lie or are downloaded to."""
    runs_dir: UsablePath = Path("runs")
    """Where run folders go."""
    fresh: bool = False
    """Delete the run folder first, and start over."""
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
    wandb_project: _Name = "ssl-isda"
    """Its project."""


WHERE_AND_HOW = "Where and how it runs"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "What to train": ("method", "isda", "model", "width", "sync_batchnorm", "seed"),
    "Data": (
        *("dataset", "labels", "validation", "split", "svhn_extra", "image_size"),
        *("preprocessing", "max_translation", "flip"),
    ),
    "Schedule": (
        *("epochs", "steps", "batch_size", "unlabeled_batch_size"),
        *("learning_rate", "momentum", "weight_decay"),
    ),
    "ISDA": (
        *("lambda_0", "lambda_schedule", "eta_1", "covariance", "uncertainty_weight"),
        *("augmentation", "augmentation_samples", "consistency"),
    ),
    WHERE_AND_HOW: (
        *("data_dir", "runs_dir", "fresh", "device", "precision", "compile", "threads"),
        *("checkpoint_minutes", "checkpoint_epochs", "snapshots", "wandb", "wandb_project"),
    ),
}
"""The settings as ``--help`` shows them. All but the last group define the experiment: a run can be
resumed only if they agree."""


def isda_config(config: RunConfig) -> IsdaConfig:
    """ISDA's own settings among those of a run.

    Raises
    ------
    UsageError
        They contradict each other.
    """
    try:
        return IsdaConfig(**{name: getattr(config, name) for name in GROUPS["ISDA"]})
    except ValueError as error:
        raise UsageError(str(error)) from error


FLAG_ONLY = frozenset({"fresh"})
"""Settings that no file may hold: a file that deletes whenever it is used again is a trap."""


@dataclass(frozen=True)
class Setting:
    """One thing that can be set."""

    name: str
    type: Any
    """An annotation, with its limits in ``Annotated``."""
    default: object
    description: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether the flag stands alone: ``--isda``, ``--no-isda``."""
        return self.type is bool

    @cached_property
    def members(self) -> tuple[Any, ...]:
        """The plain types that a value may have; ``NoneType`` if it can be unset."""
        return _members(self.type)

    @cached_property
    def choices(self) -> tuple[Any, ...]:
        """What there is to choose from, if it is a choice."""
        literals = (get_args(member) for member in self.members if get_origin(member) is Literal)
        return tuple(choice for choices in literals for choice in choices)

    @property
    def takes_text(self) -> bool:
        """Whether the text of a flag is the value itself."""
        words = any(isinstance(choice, str) for choice in self.choices)
        return words or str in self.members or Path in self.members

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.type, config=_STRICT)

    def check(self, given: Given) -> Any:
        """The value in its own type; the one place where a value is judged.

        Raises
        ------
        UsageError
            Wrong type, out of range, not finite: where it stands, what is right, what was given.
        """
        if given.value == "" and Path in self.members:
            raise UsageError(f"{given.place} must be a path, got nothing")
        try:
            return self._adapter.validate_python(given.value)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
        expected = _EXPECTED.get(problem["type"], problem["msg"].replace("Input should be ", ""))
        hint = nearest(str(given.value), map(str, self.choices))
        if problem["type"] in ("string_type", "path_type") and isinstance(
            given.value, (int, float)
        ):
            hint = f'; put it in quotes: "{given.text}"'
        raise UsageError(f"{given.place} must be {expected}, got {given.text}{hint}")


def _members(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(part for member in get_args(annotation) for part in _members(member))
    return (annotation,)


def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """What can be set in a model whose fields carry their descriptions, by name."""
    return {
        name: Setting(
            name,
            Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation,
            None if info.is_required() else info.default,
            " ".join((info.description or "").split()),
        )
        for name, info in model.model_fields.items()
    }


RUN_SETTINGS: Mapping[str, Setting] = settings_of(RunConfig)
"""The settings that every run has, by name."""


@dataclass(frozen=True)
class Resolved:
    """The settings of a run after all sources have spoken."""

    config: RunConfig
    method_options: Mapping[str, Any]
    """For the method's own ``Config``."""
    sources: Mapping[str, str]
    """Who set each of them: "flag", a file, or "default"."""
    seeds: tuple[int, ...]
    """One run for each, one after another; ``config.seed`` is the first."""
    arguments: tuple[str, ...] = field(default=(), compare=False)
    """The command line that said so, behind the program's name."""

    def for_seed(self, seed: int) -> Resolved:
        """The same run with this seed alone."""
        return replace(self, config=self.config.model_copy(update={"seed": seed}), seeds=(seed,))

    def to_yaml(self) -> str:
        """A file that gives these values again as ``--config``; comments say where each came from."""
        lines = []
        if len(self.seeds) > 1:
            lines.append(f"# the first of --seeds {' '.join(map(str, self.seeds))}")
        values = dict(self.config)
        for title, names in GROUPS.items():
            lines.append(f"# {title}")
            lines += [self._line(name, values[name]) for name in names if name not in FLAG_ONLY]
        if self.method_options:
            lines += ["# Options of the method", "methods:", f"  {written(self.config.method)}:"]
            lines += ["    " + self._line(*option) for option in self.method_options.items()]
        return "\n".join(lines) + "\n"

    def _line(self, name: str, value: object) -> str:
        source = self.sources[name]
        comment = source if source == "default" else f"from {printed(source)}"
        return f"{name}: {written(value)}  # {comment}"


def experiment_settings(resolved: Resolved) -> dict[str, Any]:
    """What must agree for a run to be resumed: all but where and how it runs. Paths are text."""
    where_and_how = GROUPS[WHERE_AND_HOW]
    values = {**dict(resolved.config), **resolved.method_options}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if name not in where_and_how
    }


def differing_settings(stored: Path, resolved: Resolved) -> list[str]:
    """How the experiment differs from the one whose ``to_yaml`` is stored in a file.

    One phrase for each differing key: "labels: 4000 there, 1000 now". A key that the file does not
    have yet, because an older version wrote it, differs only if it is not left at its default.

    Raises
    ------
    UsageError
        The file cannot be read.
    """
    file = read_settings(stored, printed(stored))
    there = {**file.settings, **file.methods.get(resolved.config.method, {})}
    phrases = []
    for name, value in experiment_settings(resolved).items():
        if name in there and there[name].value != value:
            phrases.append(f"{name}: {there[name].text} there, {written(value)} now")
        elif name not in there and resolved.sources[name] != "default":
            phrases.append(f"{name}: not set there, {written(value)} now")
    return phrases
