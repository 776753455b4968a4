"""How the flags of ``run.py``, the files and the defaults become one set of values.

Flags win over the ``--config`` file, which wins over the file that it names as ``config:``, which wins
over ``configs/<dataset>.yaml``, which wins over the defaults in the code; within a file the part of the
chosen method wins. Every error is one line that
names its source. Imports no torch: an answer takes a fraction of a second.
"""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_isda import __version__
from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.settings.components import Components, read_components
from ssl_isda.settings.config import (
    FLAG_ONLY,
    GROUPS,
    ISDA_SETTINGS,
    RUN_SETTINGS,
    Resolved,
    RunConfig,
)
from ssl_isda.settings.flags import Parser
from ssl_isda.settings.label_words import AMOUNTS
from ssl_isda.settings.places import folder, known_names, settings_file
from ssl_isda.settings.setting import Setting
from ssl_isda.settings.start import decided_by_weights
from ssl_isda.settings.yaml_files import MOVED, PARTS, Given, SettingsFile, read_settings

NO_COMMANDS: Mapping[str, str] = {}
WARM_UPS = {"warmup_steps", "warmup_epochs"}
POLICY_OF_FEATURES = "vector_noise"
"""What --policy is unless somebody says otherwise, where a frozen backbone makes features of images."""
SHOWN_IN_FOLDERS = ("model", "loss", "policy", "task")
"""Choices by which run folders differ where they are not the data set's own."""

_USAGE = "python run.py --method METHOD [--isda] [flags]"
_EXAMPLES = """\
  python run.py --method vat --isda --labels 4000
  python run.py --method vat --isda --labels 4000 --seeds 0 1 2 3 4
  python run.py --config configs/svhn.yaml --method mean_teacher --labels 500
  python run.py --dataset folder --data-dir my_images --method pi_model --isda"""
_PRECEDENCE = (
    "In [brackets]: the default, which configs/DATASET.yaml may change. Flags win over --config, "
    "which wins over configs/DATASET.yaml. 'none' unsets a value."
)
_SEEDS = Setting("seeds", tuple[int, ...], None, "Several runs, one after another.")
_ANSWERS = (
    Setting(
        "config", Path | None, None, "YAML with any of these settings, in snake_case; or its name."
    ),
    Setting("print_config", bool, None, "Print all values and who set each, then stop."),
    Setting("help", bool, None, "Print this; with --method, the method's options too."),
    Setting("version", bool, None, "Print the version."),
)


def answer(arguments: Sequence[str], *, commands: Mapping[str, str] = NO_COMMANDS) -> str | None:
    """What ``--help``, ``--version`` or ``--print-config`` print; None if none of them is asked for.

    ``--print-config`` refuses what ``resolve`` does.
    """
    if "--help" in arguments or "-h" in arguments:
        chosen = peek(arguments)
        return _parser(read_components(chosen.get("plugin")), chosen, commands).format_help()
    if "--version" in arguments:
        return f"ssl-isda {__version__}"
    if "--print-config" in arguments:
        return resolve(arguments, commands=commands).to_yaml()
    return None


def resolve(
    arguments: Sequence[str],
    *,
    commands: Mapping[str, str] = NO_COMMANDS,
    components: Components | None = None,
) -> Resolved:
    """The settings of a run.

    Parameters
    ----------
    arguments : the command line, without the program's name
    commands : the words that could stand first instead, and what they do, for errors and help
    components : what ``read_components`` gave for their plugin, if it was asked before

    Raises
    ------
    UsageError
        One line: what is wrong, where it was set, what would be right.
    """
    components = components or read_components(peek(arguments).get("plugin"))
    flags = _read_flags(arguments, components, commands)
    files = _config_files(flags["config"], components, flags) if "config" in flags else []
    layers = [flags, *(file.settings for file in files)]
    chosen = {"dataset": _name("dataset", layers, components)}
    files.append(_dataset_file(chosen["dataset"], components, flags))
    chosen["method"] = _name("method", [*layers, files[-1].settings], components)
    layers = [flags, *(file.layer(chosen.items()) for file in files)]
    last = _of_features(layers)
    for kind in (kind for kind in PARTS if kind not in chosen):
        chosen[kind] = _name(kind, [*layers, last], components)
    options = components.of_run(chosen)
    _refuse_options_of_others(flags, chosen, options.keys(), components)
    layers = [flags, *(file.layer(options) for file in files)]
    layers.insert(-1, decided_by_weights(layers, options))
    resolved = _checked(_joined([*layers, last]), options)
    usual = {**last, **files[-1].layer(chosen.items())}
    unusual = _unusual(chosen, usual, resolved.options)
    return replace(resolved, unusual=unusual, arguments=tuple(arguments))


def peek(arguments: Sequence[str]) -> dict[str, str]:
    """The parts and the plugin that flags name, in a command line that may be wrong elsewhere."""
    try:
        given, _ = _peeking_parser().parse_known_args(list(arguments))
    except UsageError:
        return {}
    return {name: str(flag.value) for name, flag in vars(given).items() if flag.value is not None}


# ---- flags


@functools.cache
def _peeking_parser() -> Parser:
    parser = Parser()
    parser.add(None, [RUN_SETTINGS[name] for name in (*PARTS, "plugin")])
    return parser


@functools.lru_cache(1)
def _reading_parser(components: Components) -> Parser:
    """One for all runs of a grid: to build it takes longer than to read a command line."""
    return _parser(components, {}, NO_COMMANDS)


def _parser(
    components: Components, chosen: Mapping[str, str], commands: Mapping[str, str]
) -> Parser:
    """Of all settings, and of the options of all parts; help shows those of the chosen ones."""
    known = {kind: ", ".join(sorted(parts)) for kind, parts in components.parts.items()}
    description = [
        _EXAMPLES,
        *(f"  python run.py {name} {what}" for name, what in commands.items()),
    ]
    parser = Parser(_USAGE, "\n".join(description), "\n".join(textwrap.wrap(_PRECEDENCE, 100)))
    for title, group in GROUPS.items():
        settings = [
            replace(each, description=f"{each.description} Here one of {known[name]}.")
            if known.get(name)
            else each
            for name, each in group.items()
        ]
        parser.add(title, settings + [_SEEDS] * ("seed" in group))
    options = {option.name: option for _, _, option in components.options()}
    for kind, name in components.used(
        {kind: chosen.get(kind, RUN_SETTINGS[kind].default) for kind in PARTS}
    ):
        own = components.parts[kind].get(name, {})
        free = [option for option in own.values() if options.pop(option.name, None)]
        if own or chosen.get(kind) in components.parts[kind]:
            parser.add(f"Options of {name}", free)
    parser.add("Settings and answers", _ANSWERS)
    parser.add(None, options.values(), is_shown=False)
    return parser


def _read_flags(
    arguments: Sequence[str], components: Components, commands: Mapping[str, str]
) -> dict[str, Given]:
    if arguments and not arguments[0].startswith("-"):
        known = f" (known: {', '.join(commands)})" if commands else ""
        raise UsageError(
            f"unknown command {shown(arguments[0])}{nearest(arguments[0], commands)}{known}; "
            "without a command run.py trains"
        )
    flags, _ = _reading_parser(components).read(arguments)
    for one, other in (("seed", "seeds"), ("epochs", "steps"), ("warmup_steps", "warmup_epochs")):
        if {one, other} <= flags.keys():
            first, second = (
                RUN_SETTINGS[n].flag if n in RUN_SETTINGS else f"--{n}" for n in (one, other)
            )
            raise UsageError(f"{first} and {second} are both given; one of them is enough")
    if "config" in flags and not flags["config"].value:
        raise UsageError("--config must be a file, got nothing")
    return flags


def _refuse_options_of_others(
    flags: Mapping[str, Given],
    chosen: Mapping[str, str],
    used: Collection[tuple[str, str]],
    components: Components,
) -> None:
    for name, flag in flags.items():
        owners = components.owners(name)
        if owners and not any(owner in used for owner in owners):
            kind = owners[0][0]
            first, *rest = (part for _, part in owners)
            named = " and ".join([first, *rest] if len(rest) < 2 else [first, "others"])
            raise UsageError(f"{flag.name} is an option of {named}, not of {chosen[kind]}")


# ---- files


def _config_files(
    given: Given, components: Components, flags: Mapping[str, Given]
) -> list[SettingsFile]:
    """The file that is named, then the one that it names itself as ``config:``, and so on."""
    files: list[SettingsFile] = []
    paths: list[Path] = []
    named: Given | None = given
    while named:
        if not isinstance(named.value, str) or not named.value:
            raise UsageError(f"{named.place} must be a file, got {named.text}")
        beside = paths[-1].parent / named.value if paths else Path(named.value)
        paths.append(settings_file(beside if os.path.isfile(beside) else Path(named.value)))
        if paths[-1] in paths[:-1]:
            raise UsageError(f"{named.place}: {named.text} leads back to itself")
        if files and not os.path.isfile(paths[-1]):
            hint = nearest(Path(named.value).stem, known_names())
            raise UsageError(f"{named.place}: {named.text} is no file{hint}")
        files.append(_read_file(paths[-1], named.value, components, flags))
        named = files[-1].settings.pop("config", None)
    return files


def _dataset_file(dataset: str, components: Components, flags: Mapping[str, Given]) -> SettingsFile:
    """The file that comes with a data set; one of a plugin has none."""
    path = folder("configs") / f"{dataset}.yaml"
    source = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        return SettingsFile(source)
    file = _read_file(path, source, components, flags)
    if named := file.settings.get("config"):
        raise UsageError(f"{named.place} has no place in the file of a data set")
    return file


def _read_file(
    path: Path, source: str, components: Components, flags: Mapping[str, Given]
) -> SettingsFile:
    """A file whose names are known and whose values, those of other parts too, are valid."""
    file = read_settings(path, printed(source))
    _refuse_other_plugin(file.settings.pop("plugin", None), flags.get("plugin"))
    moved = {name: components.parts[kind][part][name] for name, (kind, part) in MOVED.items()}
    for name, given in file.settings.items():
        if name == "config":  # the file that this one builds on
            continue
        owners = components.owners(name)
        if owners and name not in MOVED:
            kind, part = owners[0]
            raise UsageError(f"{given.place} belongs under '{PARTS[kind]}:', '{part}:'")
        _check_key(given, {**RUN_SETTINGS, **moved})
    of_a_method = {
        name: setting
        for name, setting in {**RUN_SETTINGS, **moved}.items()
        if name not in ("dataset", "method", "plugin")
    }
    for (kind, part), options in file.parts.items():
        try:
            own = components.of(kind, part)
        except UsageError as error:
            line = file.part_lines[kind, part]
            raise UsageError(f"{file.source}:{line}: {error}") from None
        allowed = {**of_a_method, **own} if kind == "method" else own
        for given in options.values():
            _check_key(given, allowed, f" of {part}")
    return file


def _refuse_other_plugin(named: Given | None, flag: Given | None) -> None:
    """A file must not decide which code is run."""
    if named and named.value is not None and (flag is None or flag.value != named.value):
        raise UsageError(
            f"{named.place} would run the code of {named.text}, which only a flag can allow: "
            f"add --plugin {printed(str(named.value))}"
        )


def _check_key(given: Given, settings: Mapping[str, Setting], whose: str = "") -> None:
    if given.name in FLAG_ONLY and given.name in settings:
        raise UsageError(f"{given.place} can only be a flag, {settings[given.name].flag}")
    if given.name not in settings:
        hint = nearest(given.name, settings)
        raise UsageError(f"{given.where}: unknown setting{whose} {shown(given.name)}{hint}")
    if given.value is not None or given.name not in MOVED:
        settings[given.name].check(given)


# ---- together


def _name(kind: str, layers: Sequence[Mapping[str, Given]], components: Components) -> str:
    """The part that the first layer chooses which has a word about it; it exists."""
    given = next((layer[kind] for layer in layers if kind in layer), None)
    default = RUN_SETTINGS[kind].default
    if given is None and default is None:
        known = ", ".join(sorted(components.parts[kind]))
        raise UsageError(f"--{kind} is missing; choose one of {known}")
    if given is None:
        return str(default)
    name = str(RUN_SETTINGS[kind].check(given))
    try:
        components.of(kind, name)
    except UsageError as error:
        raise UsageError(f"{given.place}: {error}") from None
    return name


def _joined(layers: Sequence[Mapping[str, Given]]) -> dict[str, Given]:
    """Each setting as the first of the layers says; of two lengths of a run or of its warm-up, and of two
    ways of saying how many labels it has, the nearer one counts."""
    given: dict[str, Given] = {}
    for layer in layers:
        dropped = {"steps"} if "epochs" in given and "steps" not in given else set()
        if WARM_UPS & given.keys():
            dropped |= WARM_UPS
        if _amounts(given) or "labels" in given:  # labels: none keeps all of them
            dropped |= {*AMOUNTS}
        if len(rivals := _amounts(layer)) > 1:
            one, other = rivals[0].place, rivals[1].place
            raise UsageError(f"{one} and {other} are both given; one of them is enough")
        given = {**{n: g for n, g in layer.items() if n not in dropped}, **given}
    return given


def _amounts(layer: Mapping[str, Given]) -> list[Given]:
    """What a layer says about the number of labels."""
    return [layer[name] for name in AMOUNTS if name in layer and layer[name].value is not None]


def _checked(
    given: Mapping[str, Given], options: Mapping[tuple[str, str], Mapping[str, Setting]]
) -> Resolved:
    seeds = _seeds(given["seeds"]) if "seeds" in given else ()
    run = _values(RUN_SETTINGS, given)
    values = {part: _values(settings, given) for part, settings in options.items()}
    names = [*run, *(name for part in values.values() for name in part)]
    sources = {name: given[name].source if name in given else "default" for name in names}
    if seeds:
        run["seed"], sources["seed"] = seeds[0], "flag"
    try:
        isda = IsdaConfig(**{name: run.pop(name) for name in ISDA_SETTINGS})
    except ValueError as error:
        raise UsageError(str(error)) from error
    config = RunConfig.model_construct(**run)
    if config.imbalance_unlabeled is not None and config.imbalance is None:
        place = given["imbalance_unlabeled"].place
        raise UsageError(f"{place} needs --imbalance, the ratio of the labeled images")
    if sources["generated_share"] == "flag" and config.generated is None:
        raise UsageError("--generated-share needs --generated, whose images it is a share of")
    if config.extend and config.fresh:
        raise UsageError("--extend goes on with a run that --fresh deletes: leave one of them out")
    for name in () if config.isda else ISDA_SETTINGS:
        if sources[name] == "flag":
            raise UsageError(f"{RUN_SETTINGS[name].flag} is a setting of ISDA: add --isda")
    return Resolved(config, isda, values, sources, seeds or (config.seed,))


def _values(settings: Mapping[str, Setting], given: Mapping[str, Given]) -> dict[str, Any]:
    return {n: s.check(given[n]) if n in given else s.default for n, s in settings.items()}


def _seeds(given: Given) -> tuple[int, ...]:
    assert isinstance(given.value, tuple)
    seeds = tuple(
        RUN_SETTINGS["seed"].check(replace(given, value=v, text=shown(str(v)))) for v in given.value
    )
    if not seeds:
        raise UsageError("--seeds needs values, such as --seeds 0 1 2")
    if len(set(seeds)) < len(seeds):
        raise UsageError("--seeds names a seed twice; each is one run")
    return seeds


def _of_features(layers: Sequence[Mapping[str, Given]]) -> dict[str, Given]:
    """What a frozen backbone decides unless another layer does."""
    freeze = next((layer["freeze"].value for layer in layers if "freeze" in layer), None)
    name = POLICY_OF_FEATURES
    return {"policy": Given(name, name, "default", "policy")} if freeze else {}


def _unusual(
    chosen: Mapping[str, str],
    layer: Mapping[str, Given],
    options: Mapping[tuple[str, str], Mapping[str, Any]],
) -> tuple[str, ...]:
    """The chosen parts that are not what the data set's own settings choose, ``layer``; and a library's
    network in any case, as the library and the name: "timm_resnet18"."""
    usual = {
        kind: layer[kind].value if kind in layer else RUN_SETTINGS[kind].default
        for kind in SHOWN_IN_FOLDERS
    }
    named = {kind: options[kind, chosen[kind]].get("name") for kind in SHOWN_IN_FOLDERS}
    return tuple(
        f"{chosen[kind]}_{name}" if name else chosen[kind]
        for kind, name in named.items()
        if name or chosen[kind] != usual[kind]
    )
