"""The numbers that ImageNet's 1,000 classes have, found by the names of a run's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import printed

NUM_CLASSES = 1000
OF_TWO_CLASSES = ("cardigan", "crane", "maillot")
"""Names that ImageNet gives to two of its classes each, such as a dog and a jacket."""


def imagenet_numbers(class_names: Sequence[str]) -> tuple[int, ...]:
    """The number of each class, by a WordNet number such as n02123045, or by a name such as tabby.

    Upper case, ``_``, ``-`` and what follows a comma make no difference. A run on all 1,000 classes in
    their own order may have names that two of them share.

    Raises
    ------
    UsageError
        A class is not among them, or its name is that of two.
    """
    known = _numbers_by_name()
    found = [known.get(_plain(name)) for name in class_names]
    in_order = all(number in (place, None) for place, number in enumerate(found))
    if len(found) == NUM_CLASSES and in_order:
        return tuple(range(NUM_CLASSES))
    if None in found:
        first = class_names[found.index(None)]
        why = "two classes have" if _plain(first) in OF_TWO_CLASSES else "no class has"
        raise UsageError(
            f"--generator biggan: {found.count(None)} of the run's {len(found)} classes are not found in "
            f"ImageNet ({why} the name {printed(first)!r} there): give --generator-classes, one number "
            "from 0 to 999 for each class of the run in their order"
        )
    return tuple(number for number in found if number is not None)


def _numbers_by_name() -> Mapping[str, int]:
    from pytorch_pretrained_biggan.utils import IMAGENET
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.DEFAULT.meta["categories"]
    found = {_plain(name): number for number, name in enumerate(names)}
    found |= {f"n{offset:08}": number for offset, number in IMAGENET.items()}
    return {name: number for name, number in found.items() if name not in OF_TWO_CLASSES}


def _plain(name: str) -> str:
    return " ".join(name.partition(",")[0].lower().replace("_", " ").replace("-", " ").split())
