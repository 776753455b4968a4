"""The flags of ``run.py``, and how they, the files and the defaults become one set of values.

Flags win over the ``--config`` file, which wins over ``configs/<dataset>.yaml``, which wins over the
defaults in the code; within a file the part of the chosen method wins. Every error is one line that
names its source. Imports no torch: an answer takes a fraction of a second.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

from ssl_isda import __version__
from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown, unknown_name
from ssl_isda.settings.components import read_methods
from ssl_isda.settings.config import (
    FLAG_ONLY,
    GROUPS,
    RUN_SETTINGS,
    Resolved,
    RunConfig,
    Setting,
    isda_config,
)
from ssl_isda.settings.places import folder, settings_file
from ssl_isda.settings.yaml_files import Given, SettingsFile, read_settings, scalar, written

Methods = Mapping[str, Mapping[str, Setting]]
NO_COMMANDS: Mapping[str, str] = {}

_QUESTIONS = ("--help", "-h", "--version", "--print-config")
_UNSET = ("none", "null")
_EXAMPLES = """\
  python run.py --method vat --isda --labels 4000
  python run.py --method vat --isda --labels 4000 --seeds 0 1 2 3 4
  python run.py --config configs/svhn.yaml --method mean_teacher --labels 500
  python run.py --dataset folder --data-dir my_images --method pi_model --isda"""
_WIDTH, _COLUMN = 100, 34


def answer(
    arguments: Sequence[str],
    *,
    commands: Mapping[str, str] = NO_COMMANDS,
) -> str | None:
    """What ``--help``, ``--version`` or ``--print-config`` print; None if none of them is asked for.

    Raises
    ------
    UsageError
        As ``resolve`` does, for ``--print-config``.
    """
    if "--help" in arguments or "-h" in arguments:
        methods = read_methods(folder("methods"))
        return _help(methods, _peek(arguments, "--method"), _datasets(folder("configs")), commands)
    if "--version" in arguments:
        return f"ssl-isda {__version__}"
    if "--print-config" in arguments:
        return resolve(arguments, commands=commands).to_yaml()
    return None


def resolve(
    arguments: Sequence[str],
    *,
    commands: Mapping[str, str] = NO_COMMANDS,
) -> Resolved:
    """The settings of a run.

    Parameters
    ----------
    arguments : the command line, without the program's name
    commands : the words that could stand first instead, and what they do, for errors and help

    Raises
    ------
    UsageError
        One line: what is wrong, where it was set, what would be right.
    """
    methods = read_methods(folder("methods"))
    flags = _read_flags(arguments, methods, commands)
    given = flags.given(RUN_SETTINGS)
    files = [] if flags.config is None else [_read_file(Path(flags.config), flags.config, methods)]

    files.append(_dataset_file(_choose("dataset", given, files), folder("configs"), methods))
    method = _method(_choose("method", given, files), methods)
    given |= flags.given(methods[method])
    _refuse_options_of_others(flags, given, method, methods)
    for file in files:
        layer = {**file.settings, **file.methods.get(method, {})}
        if "epochs" in given and "steps" not in given:
            layer.pop("steps", None)  # of two lengths the nearer one counts
        given = {**layer, **given}
    resolved = _checked(given, {**RUN_SETTINGS, **methods[method]}, flags.seeds)
    return replace(resolved, arguments=tuple(arguments))


def read_command(
    arguments: Sequence[str], settings: Mapping[str, Setting]
) -> tuple[list[str], dict[str, Any]]:
    """What stands behind a command's word: the plain words, and a value for each of ``settings``.

    Raises
    ------
    UsageError
        One line: an unknown flag, a value that is missing, wrong or given twice.
    """
    by_flag = {setting.flag: setting for setting in settings.values()}
    rest, words, flags = list(arguments), [], _Flags()
    while rest:
        if not rest[0].startswith("-"):
            words.append(rest.pop(0))
            continue
        flag, equals, _ = rest[0].partition("=")
        setting = by_flag.get(flag) or by_flag.get(flag.replace("--no-", "--", 1))
        if setting is None or (flag not in by_flag and not setting.is_switch):
            hint = nearest(flag, by_flag)
            raise UsageError(f"unknown flag {shown(flag)}{hint} (--help lists them all)")
        if not setting.is_switch:
            _read_flag(flags, rest, by_flag)
        elif equals:
            raise UsageError(f"{flag} stands alone, without a value")
        else:
            flags.put(setting.name, rest.pop(0), flag in by_flag)
    given = flags.given(settings)
    return words, {n: s.check(given[n]) if n in given else s.default for n, s in settings.items()}


def command_help(usage: str, settings: Mapping[str, Setting]) -> str:
    """``usage`` and a line for each flag of a command."""
    lines = [usage.rstrip("\n"), ""]
    for setting in settings.values():
        lines += _help_line(setting)
    return "\n".join(lines)


# ---- flags


@dataclass
class _Flags:
    """The command line, taken apart but not judged."""

    texts: dict[str, tuple[str, str | bool]] = field(default_factory=dict)
    """By setting: the flag, and its text or whether the switch is on."""
    config: str | None = None
    seeds: tuple[int, ...] = ()

    def put(self, name: str, flag: str, text: str | bool) -> None:
        before, old = self.texts.setdefault(name, (flag, text))
        if old != text:
            raise UsageError(f"{flag} is given twice: {_word(before, old)}, {_word(flag, text)}")

    def given(self, settings: Mapping[str, Setting]) -> dict[str, Given]:
        """What the flags say about ``settings``."""
        named = {name: at for name, at in self.texts.items() if name in settings}
        return {name: _given(settings[name], flag, text) for name, (flag, text) in named.items()}


def _given(setting: Setting, flag: str, text: str | bool) -> Given:
    if isinstance(text, bool):
        return Given(text, written(text), "flag", flag)
    if NoneType in setting.members and text in _UNSET:
        return Given(None, text, "flag", flag)
    value = text if setting.takes_text or not text else scalar(text)
    return Given(value, shown(text), "flag", flag)


def _word(flag: str, text: str | bool) -> str:
    return flag if isinstance(text, bool) else f"{flag} {shown(text)}"


def _read_flags(arguments: Sequence[str], methods: Methods, commands: Mapping[str, str]) -> _Flags:
    options = [option for part in methods.values() for option in part.values()]
    by_flag = {setting.flag: setting for setting in [*options, *RUN_SETTINGS.values()]}
    words, flags = list(arguments), _Flags()
    if words and not words[0].startswith("-"):
        known = f" (known: {', '.join(commands)})" if commands else ""
        raise UsageError(
            f"unknown command {shown(words[0])}{nearest(words[0], commands)}{known}; "
            "without a command run.py trains"
        )
    while words:
        _read_flag(flags, words, by_flag)
    if flags.seeds and "seed" in flags.texts:
        raise UsageError("--seed and --seeds are both given; one of them is enough")
    if {"epochs", "steps"} <= flags.texts.keys():
        raise UsageError("--epochs and --steps are both given; one of them is enough")
    return flags


def _read_flag(flags: _Flags, words: list[str], by_flag: Mapping[str, Setting]) -> None:
    """Take the first of ``words``, with its values, into ``flags``."""
    word = words.pop(0)
    flag, equals, value = word.partition("=")
    off = flag.startswith("--no-") and flag not in by_flag
    setting = by_flag.get("--" + flag[5:] if off else flag)
    if flag in _QUESTIONS:
        return
    if setting and setting.is_switch:
        if equals or (words and not words[0].startswith("-")):
            both = f"{setting.flag} or --no-{setting.flag[2:]}"
            raise UsageError(f"{flag} stands alone: {both}, without a value")
        flags.put(setting.name, flag, not off)
    elif flag == "--seeds":
        texts = [value] if equals else _take_values(words)
        flags.seeds = _seeds(" ".join(texts).replace(",", " ").split(), flags)
    elif flag == "--config":
        flags.config = _config(value if equals else _take_value(flag, words), flags)
    elif setting and not off:
        flags.put(setting.name, flag, value if equals else _take_value(flag, words))
    elif not flag.startswith("-"):
        raise UsageError(f"{shown(word)} belongs to no flag")
    else:
        hint = nearest(flag, [*by_flag, "--config", "--seeds", *_QUESTIONS])
        raise UsageError(f"unknown flag {shown(flag)}{hint} (--help lists them all)")


def _config(text: str, flags: _Flags) -> str:
    if not text:
        raise UsageError("--config must be a file, got nothing")
    if flags.config not in (None, text):
        raise UsageError(f"--config is given twice: {shown(str(flags.config))}, then {shown(text)}")
    return text


def _take_value(flag: str, words: list[str]) -> str:
    if not words or words[0].startswith("--"):
        raise UsageError(f"{flag} needs a value")
    if words[0].startswith("-") and isinstance(scalar(words[0]), str):
        raise UsageError(
            f"{flag} needs a value; one that starts with a dash is written {flag}=-..."
        )
    return words.pop(0)


def _take_values(words: list[str]) -> list[str]:
    end = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
    values, words[:] = words[:end], words[end:]
    return values


def _seeds(texts: list[str], flags: _Flags) -> tuple[int, ...]:
    if not texts:
        raise UsageError("--seeds needs values, such as --seeds 0 1 2")
    if flags.seeds:
        raise UsageError("--seeds is given twice; one list is enough")
    seed = RUN_SETTINGS["seed"]
    seeds = [seed.check(_given(seed, "--seeds", text)) for text in texts]
    if len(set(seeds)) < len(seeds):
        raise UsageError("--seeds names a seed twice; each is one run")
    return tuple(seeds)


def _peek(arguments: Sequence[str], flag: str) -> str | None:
    """The value of ``flag`` in a command line that may be wrong elsewhere."""
    following = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    joined = (word.partition("=")[2] for word in arguments if word.startswith(flag + "="))
    return next(joined, following.get(flag))


# ---- files


def _read_file(path: Path, source: str, methods: Methods) -> SettingsFile:
    """A file whose names are known and whose values, those of other methods too, are valid."""
    file = read_settings(settings_file(path), printed(source))
    for name, given in file.settings.items():
        owners = [method for method, options in methods.items() if name in options]
        if owners:
            raise UsageError(f"{given.place} belongs under 'methods:', '{owners[0]}:'")
        _check_key(name, given, RUN_SETTINGS)
    allowed = {name: s for name, s in RUN_SETTINGS.items() if name not in ("dataset", "method")}
    for method, part in file.methods.items():
        if method not in methods:
            problem = unknown_name("method", method, [*methods])
            raise UsageError(f"{file.source}:{file.method_lines[method]}: {problem}")
        for name, given in part.items():
            _check_key(name, given, {**allowed, **methods[method]}, f" of {method}")
    return file


def _check_key(name: str, given: Given, settings: Mapping[str, Setting], whose: str = "") -> None:
    if name in FLAG_ONLY:
        raise UsageError(f"{given.place} can only be a flag, {settings[name].flag}")
    if name not in settings:
        hint = nearest(name, settings)
        raise UsageError(f"{given.where}: unknown setting{whose} {shown(name)}{hint}")
    settings[name].check(given)


def _dataset_file(dataset: Given | None, configs_dir: Path, methods: Methods) -> SettingsFile:
    name = RUN_SETTINGS["dataset"].default if dataset is None else dataset.value
    known = _datasets(configs_dir)
    if name not in known:
        place = "" if dataset is None else f"{dataset.place}: "
        raise UsageError(f"{place}{unknown_name('data set', str(name), known)}")
    file = f"{name}.yaml"
    return _read_file(configs_dir / file, f"{configs_dir.name}/{file}", methods)


def _datasets(configs_dir: Path) -> list[str]:
    """The data sets: each has a file named after it that says ``dataset: <its name>``."""
    return [
        path.stem
        for path in sorted(configs_dir.glob("*.yaml"))
        if path.is_file()
        and f"dataset: {path.stem}" in path.read_text("utf-8", "replace").splitlines()
    ]


def _choose(name: str, flags: Mapping[str, Given], files: Sequence[SettingsFile]) -> Given | None:
    """Who has the word on ``name``, checked."""
    layers = [flags, *(file.settings for file in files)]
    given = next((layer[name] for layer in layers if name in layer), None)
    if given is not None:
        RUN_SETTINGS[name].check(given)
    return given


# ---- together


def _method(given: Given | None, methods: Methods) -> str:
    if given is None:
        raise UsageError(f"--method is missing; choose one of {', '.join(methods)}")
    if given.value not in methods:
        problem = unknown_name("method", str(given.value), [*methods])
        raise UsageError(f"{given.place}: {problem}")
    return str(given.value)


def _refuse_options_of_others(
    flags: _Flags, given: Mapping[str, Given], method: str, methods: Methods
) -> None:
    for name, (flag, _) in flags.texts.items():
        if name not in given:
            owners = " and ".join(other for other, options in methods.items() if name in options)
            raise UsageError(f"{flag} is an option of {owners}, not of {method}")


def _checked(
    given: Mapping[str, Given], settings: Mapping[str, Setting], seeds: tuple[int, ...]
) -> Resolved:
    values: dict[str, Any] = {
        name: setting.check(given[name]) if name in given else setting.default
        for name, setting in settings.items()
    }
    sources = {name: given[name].source if name in given else "default" for name in settings}
    if seeds:
        values["seed"], sources["seed"] = seeds[0], "flag"
    config = RunConfig(**{name: values.pop(name) for name in RUN_SETTINGS})
    isda_config(config)  # refuses what does not go together
    for name in () if config.isda else GROUPS["ISDA"]:
        if sources[name] == "flag":
            raise UsageError(f"{RUN_SETTINGS[name].flag} is a setting of ISDA: add --isda")
    return Resolved(config, values, sources, seeds or (config.seed,))


# ---- help


def _help(
    methods: Methods, method: str | None, datasets: list[str], commands: Mapping[str, str]
) -> str:
    run = RUN_SETTINGS
    extra = {
        "method": f"one of {', '.join(methods)}",
        "dataset": f"one of {', '.join(datasets)}",
    }
    lines = ["usage: python run.py --method METHOD [--isda] [flags]", "", _EXAMPLES]
    lines += [f"  python run.py {name} {what}" for name, what in commands.items()]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        for name in names:
            lines += _help_line(run[name], extra.get(name))
            if name == "seed":
                lines += _entry("--seeds N N ...", "Several runs, one after another.")
    if method is not None and method in methods:
        lines += ["", f"Options of {method}:"]
        for option in methods[method].values():
            lines += _help_line(option)
        if not methods[method]:
            lines.append("  none")
    lines += ["", "Settings and answers:"]
    lines += _entry("--config FILE", "YAML with any of these settings, in snake_case.")
    lines += _entry("--print-config", "Print all values and who set each, then stop.")
    lines += _entry("--help, --version", "With --method, --help shows the method's options too.")
    lines += ["", *textwrap.wrap(_PRECEDENCE, _WIDTH)]
    return "\n".join(lines)


_PRECEDENCE = (
    "In [brackets]: the default, which configs/DATASET.yaml may change. Flags win over --config, "
    "which wins over configs/DATASET.yaml. 'none' unsets a value."
)


def _help_line(setting: Setting, extra: str | None = None) -> list[str]:
    description = setting.description + (f" Here {extra}." if extra else "")
    if setting.choices:
        head = f"{setting.flag} {'|'.join(map(str, setting.choices))}"
    elif setting.is_switch:
        head = f"--[no-]{setting.flag[2:]}"
    else:
        head = f"{setting.flag} {_metavar(setting)}"
    if setting.default is not None:
        default = written(setting.default)
        if setting.is_switch:
            default = "on" if setting.default else "off"
        description = f"{description} [{default}]".strip()
    return _entry(head, description)


def _metavar(setting: Setting) -> str:
    words = {int: "N", float: "X", Path: "PATH", str: "NAME"}
    return next((words[member] for member in setting.members if member in words), "VALUE")


def _entry(head: str, description: str) -> list[str]:
    wrapped = textwrap.wrap(description, _WIDTH - _COLUMN) or [""]
    head = "  " + head
    if len(head) <= _COLUMN - 2:
        head = f"{head:<{_COLUMN}}{wrapped.pop(0)}".rstrip()
    return [head, *(" " * _COLUMN + line for line in wrapped)]
