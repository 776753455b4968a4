"""Test images drawn from a user's own images, where no others are there. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

from ssl_isda.data.folder.walk import ImageFile


def drawn_for_test(
    files: Sequence[ImageFile], hashes: Mapping[str, str], fraction: float
) -> list[ImageFile]:
    """``fraction`` of each class's images, rounded down but at least one where the class has two.

    Within a class, images stand in the order of the SHA-256 of their content, and the first ones are
    taken: the same ones for every seed, method and number of labels. Of exact copies of an image all
    are taken or none, so a class of one image, or of copies of one, gives none.

    Parameters
    ----------
    files : the labeled images
    hashes : SHA-256, hexadecimal, of the content of each, by name
    """
    classes: dict[int, list[ImageFile]] = defaultdict(list)
    for file in files:
        classes[file.label].append(file)
    drawn: list[ImageFile] = []
    for members in classes.values():
        ordered = sorted(members, key=lambda file: (hashes[file.name], file.name))
        drawn += ordered[: _num_drawn([hashes[file.name] for file in ordered], fraction)]
    return sorted(drawn, key=lambda file: file.name)


def places_for_test(labels: Sequence[int], hashes: Sequence[bytes], fraction: float) -> list[int]:
    """The same of what has no names: the places that are drawn, ascending.

    Parameters
    ----------
    labels, hashes : the class and the SHA-256 of the content of each
    """
    classes: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        classes[label].append(place)
    drawn: list[int] = []
    for members in classes.values():
        ordered = sorted(members, key=lambda place: (hashes[place], place))
        drawn += ordered[: _num_drawn([hashes[place] for place in ordered], fraction)]
    return sorted(drawn)


def _num_drawn(ordered: Sequence[str] | Sequence[bytes], fraction: float) -> int:
    """How many of the hashes; decimal arithmetic, as for the labels."""
    wanted = max(1, int(Fraction(str(fraction)) * len(ordered)))
    ends = [k for k in range(1, len(ordered)) if ordered[k - 1] != ordered[k]]
    return min(ends, key=lambda end: (abs(end - wanted), end), default=0)
