"""Command lines, taken apart by argparse but not judged: every value stays the text that was typed."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, shown
from ssl_isda.settings.setting import Setting
from ssl_isda.settings.yaml_files import RENAMED, Given, scalar, written

_UNSET = ("none", "null")
_WIDTH, _COLUMN = 100, 34


class Parser(argparse.ArgumentParser):
    """A parser of settings: no abbreviations, no defaults, one-line errors, our help.

    Parameters
    ----------
    usage, description, epilog : what help says before and after the flags
    has_words : whether plain words may stand between the flags, so that no switch takes one for a value
    """

    def __init__(
        self, usage: str = "", description: str = "", epilog: str = "", *, has_words: bool = False
    ) -> None:
        super().__init__(
            usage=usage,
            description=description,
            epilog=epilog,
            add_help=False,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=_Formatter,
        )
        self.has_words = has_words
        self.flags: list[str] = []
        self.words: list[str] = []

    def add(
        self, title: str | None, settings: Collection[Setting], *, is_shown: bool = True
    ) -> None:
        """A group of flags, one for each setting."""
        group = self.add_argument_group(title, None if settings else "  none")
        for setting in settings:
            self.flags.append(setting.flag)
            off = [f"--no-{setting.flag[2:]}"] if setting.is_switch else []
            off += [f"--{old}" for old, new in RENAMED.items() if new == setting.name]
            group.add_argument(
                setting.flag,
                *off,
                action=_Taken,
                setting=setting,
                nargs="*" if setting.item else 0 if setting.is_switch and self.has_words else "?",
                help=_help(setting) if is_shown else argparse.SUPPRESS,
            )

    def read(self, arguments: Sequence[str]) -> tuple[dict[str, Given], list[str]]:
        """What each setting is given, by its name, and the plain words.

        Raises
        ------
        UsageError
            A flag is unknown, lacks its value, or is given twice; a word where none may stand.
        """
        self.words = _with_negative_numbers(arguments)
        found, words = self.parse_known_args(self.words)
        for word in [*words, *(word for word in arguments if word == "--")]:
            if word.startswith("-"):
                flag = word.partition("=")[0]
                hint = nearest(flag, self.flags)
                raise UsageError(f"unknown flag {shown(flag)}{hint} (--help lists them all)")
            if not self.has_words:
                raise UsageError(f"{shown(word)} belongs to no flag")
        return vars(found), words

    def error(self, message: str) -> NoReturn:
        """Of what is left to argparse: a switch with a value."""
        flag = message.removeprefix("argument ").partition("/")[0].partition(":")[0]
        raise UsageError(f"{flag} stands alone, without a value")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_COLUMN, width=_WIDTH)
        self._action_max_length = _COLUMN - 2  # one column for all groups and commands

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not isinstance(action, _Taken):
            return super()._format_action_invocation(action)
        setting = action.setting
        if setting.is_switch:
            is_answer = setting.default is None and NoneType not in setting.members
            return setting.flag if is_answer else f"--[no-]{setting.flag[2:]}"
        return f"{setting.flag} {value_word(setting)}"


class _Taken(argparse.Action):
    """Keeps the text of a flag; the same flag with another text is refused."""

    def __init__(self, *, setting: Setting, **rest: Any) -> None:
        super().__init__(**rest)
        self.setting = setting

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        flag, words = str(option_string), getattr(parser, "words", [])
        if f"{flag}=--" in words:
            values = "--"  # which argparse takes for the end of all flags
        if values in (None, []) and not self.setting.is_switch:
            raise UsageError(f"{flag} needs a value{_about_dashes(flag, words)}")
        now = self._given(flag, values)
        before = getattr(namespace, self.setting.name, now)
        if before.text != now.text:
            raise UsageError(f"{now.name} is given twice: {_typed(before)}, {_typed(now)}")
        setattr(namespace, self.setting.name, now)

    def _given(self, flag: str, values: Any) -> Given:
        setting = self.setting
        if setting.is_switch and NoneType in setting.members and values in _UNSET:
            return Given(None, values, "flag", flag)
        if setting.is_switch and values:
            both = f"{setting.flag} or --no-{setting.flag[2:]}"
            raise UsageError(f"{flag} stands alone: {both}, without a value")
        if setting.is_switch:
            return Given(flag == setting.flag, written(flag == setting.flag), "flag", flag)
        return from_text(setting, " ".join(values) if setting.item else values, flag)


def _with_negative_numbers(arguments: Sequence[str]) -> list[str]:
    """The same words, where a number such as -1e-3 cannot be taken for a flag."""
    words: list[str] = []
    for word in arguments:
        is_number = word.startswith("-") and not isinstance(scalar(word), str)
        if is_number and words and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _about_dashes(flag: str, words: Sequence[str]) -> str:
    following = words[words.index(flag) + 1 :] if flag in words else []
    if following and following[0].startswith("-") and not following[0].startswith("--"):
        return f"; one that starts with a dash is written {flag}=-..."
    return ""


def from_text(setting: Setting, text: str, flag: str) -> Given:
    """What a flag gives its setting by this text."""
    if setting.item:
        item, texts = setting.item, text.replace(",", " ").split()
        values = tuple(from_text(item, each, flag).value for each in texts)
        return Given(values, shown(text), "flag", flag)
    if NoneType in setting.members and text in _UNSET:
        return Given(None, text, "flag", flag)
    value = text if setting.takes_text or not text else scalar(text)
    return Given(value, shown(text), "flag", flag)


def as_flag(name: str, value: object) -> str:
    """The word of a command line that says this: ``--labels=40``, ``--isda``, ``--no-flip``."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}={as_text(value)}"


def as_text(value: object) -> str:
    """The value as a flag takes it."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(as_text, value))
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(given: Given) -> str:
    return given.name if isinstance(given.value, bool) else f"{given.name} {given.text}"


def value_word(setting: Setting) -> str:
    """What stands for the value of a flag in help: N, PATH, or the choices."""
    if setting.choices:
        return "|".join(map(str, setting.choices))
    words = {int: "N", float: "X", Path: "PATH", str: "NAME"}
    members = (setting.item or setting).members
    word = next((words[member] for member in members if member in words), "VALUE")
    return f"{word} {word} ..." if setting.item else word


def shown_default(setting: Setting) -> str:
    """The default as help shows it; empty where a setting has none."""
    if setting.is_switch and setting.default is not None:
        return "on" if setting.default else "off"
    if setting.item and isinstance(setting.default, tuple):
        return " ".join(map(written, setting.default))
    return "" if setting.default is None else written(setting.default)


def _help(setting: Setting) -> str:
    default = shown_default(setting)
    in_brackets = f" [{default}]" if default else ""
    return f"{setting.description}{in_brackets}".strip().replace("%", "%%")
