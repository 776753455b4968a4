"""What a run recorded of its images, held against what is there now. Imports no torch.

A digest begins with its version, "2:...", or has none: then it is one of version 0.1, over names and
sizes. Digests of two versions say nothing about each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssl_isda.base.errors import UsageError


def version_of(digest: str) -> str:
    """ "2" of "2:..."; empty for version 0.1."""
    return digest.partition(":")[0] if ":" in digest else ""


def other_images(kept: str, now: Iterable[str]) -> str | None:
    """The digest among ``now`` that is of the kept one's version, if it is another."""
    same_version = [each for each in now if version_of(each) == version_of(kept)]
    return same_version[0] if kept and same_version and kept not in same_version else None


def refuse_other_images(
    kept: str, now: Sequence[str], story: str, place: Path, advice: str
) -> None:
    """Refuse to join what a run has done with images that it was not made on.

    Parameters
    ----------
    kept : the digest that the run recorded; empty where it recorded none
    now : of the images at ``place``, in every version
    story : how the line begins: "RUN began with other images"

    Raises
    ------
    UsageError
        They are other images; names both digests.
    """
    found = other_images(kept, now)
    if found is not None:
        raise UsageError(
            f"{story} than {place} has now (digest {kept} there, {found} now): {advice}"
        )


def usual_digests(digests: Iterable[str]) -> Mapping[str, str]:
    """By version the digest that most of these runs have; of equally many the first one's."""
    counted = Counter(digest for digest in digests if digest)
    usual: dict[str, str] = {}
    for digest, _ in counted.most_common():
        usual.setdefault(version_of(digest), digest)
    return usual
