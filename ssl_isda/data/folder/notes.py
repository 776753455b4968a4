"""What a person should know of a data folder before a run begins, one line each. Imports no torch."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from ssl_isda.data.folder.classes import listed
from ssl_isda.data.folder.walk import ImageFile, Walk, shown

MOST_EXAMPLES = 3
Content = tuple[ImageFile, str]
"""A file and the SHA-256 of its bytes."""


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
        f"the class {listed([name])} of test is taken for {listed([known])} of train"
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


def copies(
    train: Sequence[ImageFile], test: Sequence[ImageFile], hashes: Mapping[str, str]
) -> list[str]:
    """The same bytes in train and test, or in two classes: one line for each kind, with examples.

    Copies within a class, and of labeled images among the unlabeled ones, do no harm.

    Parameters
    ----------
    hashes : what tells the bytes of each file from others, by its name
    """
    counts = Counter(hashes[file.name] for file in (*train, *test))
    if len(counts) == len(train) + len(test):
        return []
    copied = [(f, h) for f in train if counts[h := hashes[f.name]] > 1]
    in_test = [(f, h) for f in test if counts[h := hashes[f.name]] > 1]
    labeled = [each for each in copied if each[0].label >= 0]
    unlabeled = [each for each in copied if each[0].label < 0]
    return [
        *_shared(in_test, labeled, "train"),
        *_shared(in_test, unlabeled, "unlabeled"),
        *_in_two_classes(labeled, "train"),
        *_in_two_classes(in_test, "test"),
    ]


def left_out(unreadable: Mapping[str, str]) -> list[str]:
    """The images that are left out because they cannot be read, counted in one line."""
    if not unreadable:
        return []
    images = "image that" if len(unreadable) == 1 else "images that"
    named = ", ".join(shown(name) for name in sorted(unreadable)[:MOST_EXAMPLES])
    more = ", ..." if len(unreadable) > MOST_EXAMPLES else ""
    return [f"left out {len(unreadable):,} {images} cannot be read: {named}{more}"]


def _shared(test: Sequence[Content], others: Sequence[Content], part: str) -> list[str]:
    known = {content: file.name for file, content in reversed(others)}
    pairs = [(file.name, known[content]) for file, content in test if content in known]
    if not pairs:
        return []
    images = "1 image of test is" if len(pairs) == 1 else f"{len(pairs):,} images of test are"
    return [f"{images} in {part} too, byte for byte: {_examples(pairs)}"]


def _in_two_classes(contents: Sequence[Content], part: str) -> list[str]:
    first: dict[str, ImageFile] = {}
    pairs: dict[str, tuple[str, str]] = {}
    for file, content in contents:
        other = first.setdefault(content, file)
        if other.label != file.label:
            pairs.setdefault(content, (other.name, file.name))
    if not pairs:
        return []
    images = "1 image of" if len(pairs) == 1 else f"{len(pairs):,} images of"
    verb = "lies" if len(pairs) == 1 else "lie"
    return [f"{images} {part} {verb} in two classes, byte for byte: {_examples([*pairs.values()])}"]


def _examples(pairs: Sequence[tuple[str, str]]) -> str:
    named = ", ".join(f"{shown(one)} = {shown(other)}" for one, other in pairs[:MOST_EXAMPLES])
    return f"{named}, ..." if len(pairs) > MOST_EXAMPLES else named


def _few(names: Sequence[str]) -> str:
    distinct = sorted({name.rpartition("/")[2] for name in names})
    named = ", ".join(shown(name) for name in distinct[:MOST_EXAMPLES])
    return f"{named}, ..." if len(distinct) > MOST_EXAMPLES else named
