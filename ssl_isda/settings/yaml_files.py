"""Strict YAML: a flat mapping with options under their owners, each value with the line it stands in.

Files are composed into nodes and never constructed, so no tag can run code and no alias can grow.
Plain words read as in YAML 1.2 and JSON: only ``true`` and ``false`` are booleans, ``1e-3`` is a
number, ``010`` is ten; ``yes``, ``off``, ``1:30`` and dates are text.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, printed, shown
from ssl_isda.settings.places import known_names

if TYPE_CHECKING:
    from yaml import Node

LARGEST_FILE = 65_536
"""Bytes; a settings file has about a thousand, and answers should come at once."""

PARTS = {
    "method": "methods",
    "model": "models",
    "loss": "losses",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "policy": "augmentations",
    "dataset": "datasets",
    "task": "tasks",
}
"""Under which word a file has the options of what each of these settings chooses."""
MOVED = {
    "width": ("model", "cnn13"),
    "momentum": ("optimizer", "sgd"),
    "weight_decay": ("optimizer", "sgd"),
    "svhn_extra": ("dataset", "svhn"),
    "image_size": ("dataset", "folder"),
}
"""Settings of every run in version 0.1, and whose options they are now."""
RENAMED = {"view": "policy"}
"""Settings that had another name before 0.2.0 was released; both are read."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.?(nan|inf|infinity)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Given:
    """A value as somebody wrote it."""

    value: object
    """As its text reads: a bool, an int, a float, None or a str; a tuple of these for a list; an empty
    list for anything larger."""
    text: str
    """The value in words, for an error line."""
    source: str
    """Who set it: "flag" or a file."""
    name: str
    """The key, or the flag with its dashes."""
    line: int = 0
    """Its line in the file; 0 for a flag."""

    @property
    def where(self) -> str:
        """How an error line about a file begins: "my.yaml:3"."""
        return f"{self.source}:{self.line}"

    @property
    def place(self) -> str:
        """How an error line names it: "--labels", or "my.yaml:3: labels"."""
        return f"{self.where}: {printed(self.name)}" if self.line else self.name


@dataclass
class SettingsFile:
    """What one file sets: for every run, and for each part by its kind and name."""

    source: str
    settings: dict[str, Given] = field(default_factory=dict)
    parts: dict[tuple[str, str], dict[str, Given]] = field(default_factory=dict)
    """By the setting that chooses the part, and its name: ("method", "vat")."""
    part_lines: dict[tuple[str, str], int] = field(default_factory=dict)

    def layer(self, used: Collection[tuple[str, str]]) -> dict[str, Given]:
        """What it says about a run of these parts; what stands under the method comes last.

        Settings that version 0.1 had for every run, at the left or under a method, count for the part
        whose options they are now; other parts have options of these names too.
        """
        kinds = [*reversed(PARTS)]
        ordered = sorted(used, key=lambda part: (kinds.index(part[0]), part[1]))
        layers = [(part[0] == "method", self.parts.get(part, {})) for part in ordered]
        moved = {name for name, part in MOVED.items() if part not in used}
        return {
            name: given
            for is_of_every_run, layer in ((True, self.settings), *layers)
            for name, given in layer.items()
            if not (is_of_every_run and name in moved)
            if not (is_of_every_run and name in MOVED and given.value is None)
        }


def scalar(text: str) -> object:
    """What a plain word stands for: a bool, None, an int, a float, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _NOT_FINITE.fullmatch(text):
        return math.nan if match[2].lower() == "nan" else float(f"{match[1]}inf")
    return text


def written(value: object) -> str:
    """The inverse of reading: ``value`` as one line of YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    text = str(value)
    if _PLAIN.fullmatch(text) and scalar(text) == text:
        return text
    import yaml

    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf)
    return quoted.rstrip("\n")


def read_settings(path: Path, source: str) -> SettingsFile:
    """The settings in a file, unchecked but for its form.

    Parameters
    ----------
    path : where the file lies
    source : how errors and the resolved config call it

    Raises
    ------
    UsageError
        It cannot be read, is no UTF-8, no YAML, or not a mapping of names to plain values with
        ``PARTS``; a key stands in it twice.
    """
    top = pairs(compose(path, source), source)
    file = SettingsFile(source)
    for kind, word in PARTS.items():
        _, part = top.pop(word, (0, None))
        for name, (line, options) in pairs(part, source).items() if part else ():
            file.parts[kind, name] = _all_given(pairs(options, source), source)
            file.part_lines[kind, name] = line
    file.settings = _all_given(top, source)
    return file


def compose(path: Path, source: str) -> Node:
    """The nodes of a YAML file, nothing of it constructed.

    Raises
    ------
    UsageError
        It cannot be read, is no UTF-8, no YAML, or empty.
    """
    return _composed(_text(path, source), source)


_COMMON = re.compile(r"[ \"#$'()+-=@-{}~\n]*")
"""ASCII without tabs, tags, anchors and blocks, which PyYAML and libyaml refuse in different places."""


@functools.lru_cache(32)
def _composed(text: str, source: str) -> Node:
    """A text once, for all runs that it is a file of."""
    import yaml

    try:
        root = _composed_fast(text) or yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}" if mark else source
        raise UsageError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UsageError(
            f"{source}:{line}: not valid YAML: a control character, #x{error.character:02x}"
        ) from None
    except RecursionError:
        raise UsageError(f"{source}: not valid settings: brackets nested too deep") from None
    if root is None:
        raise UsageError(f"{source} is empty; it needs lines such as 'labels: 4000'")
    return root


def _composed_fast(text: str) -> Node | None:
    """By libyaml, ten times faster, what runs themselves write; None of anything that the two parsers
    might read differently, and of faults, of which the slow one tells more."""
    import yaml

    if not _COMMON.fullmatch(text):
        return None
    try:
        root: Node | None = yaml.compose(text, Loader=yaml.CBaseLoader)
    except (AttributeError, yaml.YAMLError, RecursionError):
        return None
    return root


def _text(path: Path, source: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        there = (p.name for p in path.parent.glob("*.y*ml"))
        hint = nearest(path.name, there) or nearest(path.stem, known_names())
        raise UsageError(f"{source}: no such file{hint}") from None
    except IsADirectoryError:
        raise UsageError(f"{source} is a folder; a file is needed") from None
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise UsageError(f"{source}: more than {LARGEST_FILE // 1024} KB, too large for settings")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{source}:{line}: byte 0x{content[error.start]:02x} is not UTF-8; save it as UTF-8"
        ) from None


def pairs(node: Node, source: str) -> dict[str, tuple[int, Node]]:
    """The line and the node of each value in a mapping.

    Raises
    ------
    UsageError
        It is no mapping, a key is not one word or stands there twice, or something has a tag.
    """
    import yaml

    where = f"{source}:{node.start_mark.line + 1}"
    _refuse_tag(node, where)
    if isinstance(node, yaml.ScalarNode) and node.value == "" and not node.style:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{where}: 'name: value' lines are needed here, got {_words(node)}")
    found: dict[str, tuple[int, Node]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        _refuse_tag(key, f"{source}:{line}")
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError(f"{source}:{line}: a key is one word, got {_words(key)}")
        if key.value in found:
            first = found[key.value][0]
            raise UsageError(
                f"{source}:{line}: {shown(key.value)} is set twice, first in line {first}"
            )
        found[key.value] = (line, value)
    return found


def _all_given(values: dict[str, tuple[int, Node]], source: str) -> dict[str, Given]:
    for old, new in RENAMED.items():
        if {old, new} <= values.keys():
            raise UsageError(
                f"{source}:{values[old][0]}: {old} is another name of {new}, set there too"
            )
    now = {RENAMED.get(name, name): value for name, value in values.items()}
    return {name: given(name, node, source, line) for name, (line, node) in now.items()}


def given(name: str, node: Node, source: str, line: int) -> Given:
    """What stands in ``line`` as the value of ``name``.

    Raises
    ------
    UsageError
        It has a tag.
    """
    import yaml

    _refuse_tag(node, f"{source}:{line}")
    if isinstance(node, yaml.SequenceNode) and all(
        isinstance(item, yaml.ScalarNode) for item in node.value
    ):
        items = tuple(given(name, item, source, line).value for item in node.value)
        return Given(items, _words(node), source, name, line)
    if not isinstance(node, yaml.ScalarNode):
        return Given([], _words(node), source, name, line)
    value = scalar(node.value) if not node.style else node.value
    text = shown(value) if isinstance(value, str) else shown(node.value)[1:-1] or "nothing"
    return Given(value, text, source, name, line)


def _refuse_tag(node: Node, where: str) -> None:
    import yaml

    plain = {
        yaml.ScalarNode: yaml.BaseLoader.DEFAULT_SCALAR_TAG,
        yaml.SequenceNode: yaml.BaseLoader.DEFAULT_SEQUENCE_TAG,
        yaml.MappingNode: yaml.BaseLoader.DEFAULT_MAPPING_TAG,
    }
    if node.tag != plain[type(node)]:
        raise UsageError(f"{where}: tags such as {shown(node.tag)} are not allowed here")


def _words(node: Node) -> str:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return shown(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
