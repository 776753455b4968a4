"""The reference of the command line, from the declarations that the command line itself reads."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator

from ssl_isda import cli
from ssl_isda.base.errors import UsageError
from ssl_isda.commands.analyze.command import ANALYSES
from ssl_isda.settings.components import Components, read_components
from ssl_isda.settings.config import GROUPS
from ssl_isda.settings.flags import shown_default, value_word
from ssl_isda.settings.setting import Setting

KINDS = {
    "method": "methods",
    "model": "networks",
    "loss": "supervised losses",
    "optimizer": "optimizers",
    "schedule": "schedules of the learning rate",
    "policy": "augmentations",
    "dataset": "data sets",
    "task": "tasks",
}


def settings_reference() -> str:
    """Every setting of a run by its group, then the options of every part that has some."""
    components = read_components()
    lines = [line for title in GROUPS for line in _group(title, components)]
    for kind, word in KINDS.items():
        parts = {name: options for name, options in components.parts[kind].items() if options}
        if parts:
            lines += [f"## Options of {word}", ""]
        for name, options in sorted(parts.items()):
            lines += [f"### {name}", "", f"Used with `--{kind} {name}`.", ""]
            lines += _definitions(options.values())
    return "\n".join(lines)


def _group(title: str, components: Components) -> Iterator[str]:
    yield from (f"## {title}", "")
    for name, setting in GROUPS[title].items():
        yield from _definitions([setting])
        if name in components.parts:
            known = ", ".join(f"`{part}`" for part in sorted(components.parts[name]))
            yield from (f"    One of {known}.", "")


def _definitions(settings: Iterable[Setting]) -> Iterator[str]:
    for setting in settings:
        default = shown_default(setting)
        after = f" Default: `{default}`." if default else ""
        yield from (f"`{written(setting)}`", f":   {setting.description}{after}", "")


def written(setting: Setting) -> str:
    """The flag with a word for its value: ``--labels N``, ``--[no-]flip``."""
    if setting.is_switch:
        return f"--[no-]{setting.flag[2:]}"
    return f"{setting.flag} {value_word(setting)}"


def commands_reference() -> str:
    """What each command answers to ``--help``."""
    lines = []
    for name in cli.COMMANDS:
        lines += [f"### {name}", "", "```text", helped([name]), "```", ""]
        for analysis in ANALYSES if name == "analyze" else ():
            lines += [
                f"#### analyze {analysis}",
                "",
                "```text",
                helped([name, analysis]),
                "```",
                "",
            ]
    return "\n".join(lines)


def helped(words: list[str]) -> str:
    """What a command prints for ``--help``."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = cli.main([*words, "--help"])
    if code:
        raise UsageError(f"run.py {' '.join(words)} --help ended with exit code {code}")
    return out.getvalue().rstrip()
