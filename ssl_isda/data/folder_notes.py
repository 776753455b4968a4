"""What a person should know of a data folder before a run begins, one line each. Imports no torch."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from ssl_isda.data.folder_classes import listed
from ssl_isda.data.folder_walk import ImageFile, Walk, shown

MOST_EXAMPLES = 3


def passed_over(walk: Walk) -> list[str]:
    """The files that are no images by their names, and what is hidden, counted in one line."""
    plain, hidden = walk.without_extension, walk.hidden
    phrases = []
    if plain:
        files = "file that has" if len(plain) == 1 else "files that have"
        phrases.append(f"{len(plain):,} {files} no image's extension ({_few(plain)})")
    if hidden:
        phrases.append(
            f"{len(hidden):,} that {'is' if len(hidden) == 1 else 'are'} hidden ({_few(hidden)})"
        )
    return [f"passed over {' and '.join(phrases)}"] if phrases else []


def respelled(class_names: Sequence[str], places: Mapping[str, int]) -> list[str]:
    """The classes of test whose names train spells in a way that looks different."""
    pairs = [(name, class_names[place]) for name, place in places.items()]
    return [
        f"test/{shown(name)} is taken for the class {shown(known)!r}"
        for name, known in pairs
        if unicodedata.normalize("NFC", name) != unicodedata.normalize("NFC", known)
    ]


def lacking(class_names: Sequence[str], test: Sequence[ImageFile]) -> list[str]:
    """The classes that no test image has."""
    found = {file.label for file in test}
    absent = [name for label, name in enumerate(class_names) if label not in found]
    if not absent:
        return []
    if len(absent) == 1:
        return [f"test has no image of the class {listed(absent)}, which has no error of its own"]
    return [
        f"test has no image of {len(absent)} classes, which have no error of their own: {listed(absent)}"
    ]


def _few(names: Sequence[str]) -> str:
    distinct = sorted(set(names))
    named = ", ".join(shown(name) for name in distinct[:MOST_EXAMPLES])
    return f"{named}, ..." if len(distinct) > MOST_EXAMPLES else named
