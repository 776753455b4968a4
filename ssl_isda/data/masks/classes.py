"""The classes of a folder of masks: their names, and their colours where masks are pictures.

``classes.txt`` has a line for each class, the first one being class 0: its name, and behind it a colour
such as ``#804080`` where masks are in colour or predictions should be. A line ``void #000000`` names
the colour of pixels without a class; ids that are no class, other than 255, are refused. Lines that
begin with ``# `` and empty ones are passed over. Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ssl_isda.base.errors import UsageError
from ssl_isda.base.void import VOID
from ssl_isda.data.folder.walk import shown

FILE_NAME = "classes.txt"
VOID_NAME = "void"
Colour = tuple[int, int, int]
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class MaskClasses:
    """Names by class, and the colours that masks have, where they are pictures."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    """One for each class; those that ``classes.txt`` names, or the masks' palette, or
    ``default_palette``."""
    ids: dict[Colour, int]
    """Of masks in colour: the class of each colour, ``VOID`` of that without a class. Empty where the
    file names no colours."""


def read_classes(root: Path) -> MaskClasses | None:
    """What ``classes.txt`` in ``root`` says; None where it is not there.

    Raises
    ------
    UsageError
        It cannot be read, has no class or too many, names one twice, or a line has no name.
    """
    path = root / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {shown(path)}: {error}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    entries = [_entry(path, *each) for each in lines if each[1] and not each[1].startswith("# ")]
    return _checked(path, entries)


def _entry(path: Path, number: int, line: str) -> tuple[str, Colour | None]:
    words = line.split()
    colour = _colour(words.pop()) if _COLOUR.fullmatch(words[-1]) else None
    if not words:
        raise UsageError(f"{shown(path)}, line {number}: a colour without the name of its class")
    if words[-1].startswith("#"):
        raise UsageError(
            f"{shown(path)}, line {number}: {shown(words[-1])} is no colour; #804080 is one"
        )
    return " ".join(words), colour


def _colour(word: str) -> Colour:
    return int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16)


def _checked(path: Path, entries: list[tuple[str, Colour | None]]) -> MaskClasses:
    names = tuple(name for name, _ in entries if name != VOID_NAME)
    if not 2 <= len(names) <= VOID:
        raise UsageError(
            f"{shown(path)} names {len(names)} classes; 2 to {VOID} are needed, one a line"
        )
    known = [each for each in entries if each[1] is not None]
    colours_named = [_hexadecimal(colour) for _, colour in known if colour is not None]
    for what, words in (("class", [name for name, _ in entries]), ("colour", colours_named)):
        twice = next((word for word in words if words.count(word) > 1), None)
        if twice is not None:
            raise UsageError(f"{shown(path)} has the {what} {shown(twice)} twice")
    without = [name for name, colour in entries if colour is None]
    if known and without:
        raise UsageError(
            f"{shown(path)}: {shown(without[0])} has no colour; either all lines have one, or none"
        )
    ids = {colour: _id(names, name) for name, colour in known if colour is not None}
    colours = tuple(colour for name, colour in known if name != VOID_NAME and colour is not None)
    return MaskClasses(names, colours or default_palette(len(names)), ids)


def _id(names: tuple[str, ...], name: str) -> int:
    return VOID if name == VOID_NAME else names.index(name)


def _hexadecimal(colour: Colour) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)


def default_palette(num_classes: int) -> tuple[Colour, ...]:
    """Well separated colours, black first: those of the PASCAL VOC masks, made of the bits of the id."""
    return tuple(_of_bits(number) for number in range(num_classes))


def _of_bits(number: int) -> Colour:
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]
