"""The refusal of a folder with images that cannot be read: all of them at once, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from ssl_isda.base.errors import UsageError
from ssl_isda.data.folder.classes import as_read
from ssl_isda.data.folder.listing import FolderListing
from ssl_isda.data.folder.reading import FolderRead
from ssl_isda.data.folder.walk import shown

MOST_NAMED = 10


def refuse_unreadable(read: FolderRead, *, skip: bool) -> None:
    """Refuse a folder with images that cannot be read or, to ``skip`` them, with a class of such alone.

    Raises
    ------
    UsageError
        Names the images, ``MOST_NAMED`` at most, and what can be done about each.
    """
    root, unreadable = read.listing.root, read.unreadable
    if not unreadable:
        return
    if skip:
        _refuse_lost_classes(read)
    elif len(unreadable) == 1:
        ((name, reason),) = unreadable.items()
        raise UsageError(
            f"cannot read the image {shown(root / name)}: {reason}; --skip-unreadable trains without it"
        )
    else:
        more = len(unreadable) - MOST_NAMED
        raise UsageError(
            f"{len(unreadable):,} images of {shown(root)} cannot be read: {_by_reason(unreadable)}"
            f"{f'; and {more:,} more' if more > 0 else ''}; --skip-unreadable trains without them"
        )


def _by_reason(unreadable: Mapping[str, str]) -> str:
    """The first ``MOST_NAMED`` names, those with one reason together."""
    names: dict[str, list[str]] = {}
    for name in sorted(unreadable)[:MOST_NAMED]:
        names.setdefault(unreadable[name], []).append(shown(name))
    return "; ".join(f"{', '.join(those)} ({reason})" for reason, those in names.items())


def _refuse_lost_classes(read: FolderRead) -> None:
    """Where files that cannot be read are all that a class has in train, or in test."""
    listing = read.listing
    for part, before, after in (
        ("train", listing.train, read.train),
        ("test", listing.test, read.test),
    ):
        left = {file.label for file in after}
        odd = [(file.name, file.label) for file in before]
        odd += [(name, _label(listing, part, name)) for name in listing.unreadable]
        for name, label in odd:
            if label not in left and label >= 0:
                raise UsageError(
                    f"{shown(listing.root)}: the class {listing.class_names[label]!r} has no image in "
                    f"{part} that can be read; {shown(name)} is {read.unreadable[name]}"
                )


def _label(listing: FolderListing, part: str, name: str) -> int:
    """Of what is no file, by the class folder that it lies in; -1 where it lies in none."""
    folders = name.split("/")[:-1]
    known = {as_read(name): label for label, name in enumerate(listing.class_names)}
    in_part = folders[:1] == [part] and len(folders) > 1 and listing.names_say_labels
    return known.get(as_read(folders[1]), -1) if in_part else -1
