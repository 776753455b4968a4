"""The flags of ``generate train``, with those of its pair and of its data set; what its folder is called.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import unknown_name
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import Name, Resolved
from ssl_isda.settings.declarations import Declared, declared
from ssl_isda.settings.flags import as_flag
from ssl_isda.settings.label_words import name_of_data
from ssl_isda.settings.options import Options, Training, read_command
from ssl_isda.settings.places import folder, plugin_files
from ssl_isda.settings.resolve import resolve
from ssl_isda.settings.setting import Setting, UsablePath

FOLDER = "generators"
"""Below the folder of runs."""


class _Own(Options):
    gan: Name = "wgan"
    """The pair of networks: wgan, cgan, acgan, infogan, or one of a plugin."""
    dataset: Name = "cifar10"
    """The data set whose training images it learns."""
    data_dir: UsablePath = Path("data")
    """Where data sets lie or are downloaded to."""
    labels: int | None = Field(None, ge=1)
    """Learn only the labeled images that a run with so many labels and this seed has; unset: all
    training images, each with its label."""
    split: UsablePath | None = None
    """The same, of the split.json of a run."""
    steps: int = Field(20_000, ge=1)
    """Steps of the generator."""
    batch_size: int = Field(64, ge=2)
    """Real images in a step, and as many generated ones."""
    log_steps: int = Field(500, ge=1)
    """Steps between two lines of the log."""
    seed: int = Field(0, ge=0)
    """Chooses labeled images, initial weights, order and noise."""
    checkpoint_minutes: float = Field(10.0, ge=0, allow_inf_nan=False)
    """Minutes between checkpoints."""
    plugin: Name | None = None
    """Python file or module with parts of your own, whose code is run."""


class TrainConfig(Training, _Own):
    """How a generator is trained; what belongs to its pair is declared in the pair's file."""


class Asked(NamedTuple):
    """What a command line of ``generate train`` asks for."""

    config: TrainConfig
    gan_options: dict[str, Any]
    """All options of the pair, by name."""
    data: Resolved
    """A supervised run on the same images: its data set, and the labels that it would have."""
    arguments: tuple[str, ...]

    @property
    def path(self) -> Path:
        """runs/generators/digits-1000/wgan-each_class/seed0"""
        config = self.config
        dataset = name_of_data(config.dataset, config.data_dir.resolve()) or config.dataset
        amount = config.split.stem if config.split else config.labels or "all"
        of_each = "-each_class" if self.gan_options.get("each_class") else ""
        cell = Path(f"{dataset}-{amount}") / f"{config.gan}{of_each}"
        return config.runs_dir / FOLDER / cell / f"seed{config.seed}"


def read_train(arguments: Sequence[str]) -> Asked:
    """The command line of ``generate train``.

    Raises
    ------
    UsageError
        A flag is wrong, or one of another pair; there is no such pair or data set.
    """
    plugin = _plugin_in(arguments)
    gans = gans_by_name(plugin)
    options = [each for gan in gans.values() for each in gan.options.values()]
    of_data = [
        each
        for named in read_components(plugin).parts["dataset"].values()
        for each in named.values()
    ]
    others = {each.name: each for each in (*of_data, *options)}
    words, config, given = read_command(arguments, TrainConfig, others)
    if words:
        raise UsageError(f"generate train takes flags alone, got {words[0]!r}")
    if config.gan not in gans:
        raise UsageError(unknown_name("pair", config.gan, sorted(gans)))
    if config.labels and config.split:
        raise UsageError("--labels and --split are both given; one of them is enough")
    own = gans[config.gan].options
    values = {name: each.default for name, each in own.items()}
    data_flags = []
    for name, value in given.items():
        owner = next((other for other, gan in gans.items() if name in gan.options), "")
        if name in own:
            values[name] = own[name].check(value)
        elif owner:
            raise UsageError(f"{value.name} is an option of {owner}, not of {config.gan}")
        else:
            data_flags.append(as_flag(name, value.value))
    return Asked(config, values, _data(config, data_flags), tuple(arguments))


def gans_by_name(plugin: str | None) -> Mapping[str, Declared]:
    """Every pair, read from its source."""
    paths = [*sorted(folder(FOLDER).glob("*.py")), *(plugin_files(plugin) if plugin else ())]
    parts = [part for path in paths for part in declared(path) if part.registry == "GANS"]
    return {part.name: part for part in parts}


def options_of_gans() -> dict[str, list[Setting]]:
    """For the help: by pair."""
    return {name: [*gan.options.values()] for name, gan in gans_by_name(None).items()}


def _data(config: TrainConfig, flags: Sequence[str]) -> Resolved:
    named = {"labels": config.labels, "split": config.split, "plugin": config.plugin}
    given = [f"--{name}={value}" for name, value in named.items() if value is not None]
    return resolve(
        [
            *("--method=supervised", f"--dataset={config.dataset}", f"--seed={config.seed}"),
            *(f"--data-dir={config.data_dir}", f"--device={config.device}", *given, *flags),
        ]
    )


def _plugin_in(arguments: Sequence[str]) -> str | None:
    from ssl_isda.settings.resolve import peek

    return peek(arguments).get("plugin")
