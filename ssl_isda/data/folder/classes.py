"""The classes that folders are named after, compared as a person reads their names. Imports no torch.

Two names are one class if they differ in nothing that can be seen: in the Unicode form of a letter (a
Mac writes 'é' as two characters), in spaces, or in invisible characters; or in capitals alone, unless
they are single letters, which are classes of their own where letters are recognised.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest

MOST_NAMED = 10


def as_read(name: str) -> str:
    """What two names of one class have in common."""
    seen = "".join(c for c in name if unicodedata.category(c) != "Cf")
    plain = " ".join(unicodedata.normalize("NFC", seen).split())
    if len(plain) == 1:
        return plain
    return unicodedata.normalize("NFC", plain.lower())


def refuse_look_alikes(where: str, names: Sequence[str]) -> None:
    """Refuse classes that a person would take for one.

    Raises
    ------
    UsageError
        Shows two of them, and how they differ.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(as_read(name), name)
        if other != name:
            raise UsageError(
                f"{where} has two classes whose names look alike: {_told_apart(other)} and "
                f"{_told_apart(name)} (they differ in {_difference(other, name)}): join them, or "
                "rename one"
            )


def places(where: str, train: Sequence[str], test: Sequence[str]) -> Mapping[str, int]:
    """The place of each class of the test part among those of the training part.

    Raises
    ------
    UsageError
        A class is in test and not in train; the text names both lists.
    """
    known = {as_read(name): place for place, name in enumerate(train)}
    unknown = [name for name in test if as_read(name) not in known]
    if unknown:
        raise UsageError(
            f"{where}: class {listed(unknown[:1])} is in test but not in train"
            f"{f' ({len(unknown)} such classes)' if len(unknown) > 1 else ''}"
            f"{nearest(unknown[0], train)} (train: {listed(train)}; test: {listed(test)})"
        )
    return {name: known[as_read(name)] for name in test}


def listed(names: Sequence[str]) -> str:
    """At most ``MOST_NAMED`` names, and the number of the rest."""
    named = ", ".join(_quoted(name) for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _quoted(name: str) -> str:
    return repr(name) if name.isprintable() else ascii(name)


def _told_apart(name: str) -> str:
    return _quoted(name) if name == unicodedata.normalize("NFC", name) else ascii(name)


def _difference(one: str, other: str) -> str:
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return "the Unicode form of a letter"
    if "".join(one.split()).lower() == "".join(other.split()).lower():
        return "spaces" if one.split() == other.split() else "capitals"
    return "characters that cannot be seen, or in capitals"
