"""What is known of each data set before it is opened. Imports no torch, so errors answer at once."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ssl_isda
from ssl_isda.base.errors import UsageError
from ssl_isda.data.amounts import Amounts
from ssl_isda.data.folder.listing import PLAIN, ListingOptions, list_images

if TYPE_CHECKING:
    from ssl_isda.data.vectors.table import VectorTable


@dataclass(frozen=True)
class DatasetFacts:
    """Sizes of a published data set, in images and pixels.

    ``fewest_per_class`` is the number of training images of its rarest class, ``num_extra_images``
    how many further images can be joined without their labels, ``per_class`` the number of training
    images of each class where they differ, ``num_unlabeled_images`` how many are always joined and have
    no labels.
    """

    num_classes: int
    num_train_images: int
    fewest_per_class: int
    image_size: int
    channels: int
    num_extra_images: int = 0
    per_class: tuple[int, ...] = ()
    num_unlabeled_images: int = 0

    @property
    def train_counts(self) -> tuple[int, ...]:
        """Labeled training images of each class."""
        return self.per_class or (self.fewest_per_class,) * self.num_classes


@dataclass(frozen=True)
class ClassFolders:
    """Of a user's own images: their facts are counted in the folders that ``list_images`` lists."""


@dataclass(frozen=True)
class VectorFiles:
    """Of a user's own vectors: their facts are counted in the file that ``read_vectors`` reads."""


@dataclass(frozen=True)
class MaskFiles:
    """Of images with masks: nothing is known before they are read."""


@dataclass(frozen=True)
class UnseenFolders:
    """Of a published set's class folders: nothing is known before they are listed."""


Facts = DatasetFacts | ClassFolders | VectorFiles | MaskFiles | UnseenFolders
_KINDS = {
    kind.__name__: kind
    for kind in (DatasetFacts, ClassFolders, VectorFiles, MaskFiles, UnseenFolders)
}


def facts_of(dataset: str) -> Facts | None:
    """The facts in the data set's own file; None: nothing is known before it is loaded."""
    folders = (Path(each, "datasets") for each in ssl_isda.__path__)
    return _all_facts(next(folder for folder in folders if folder.is_dir())).get(dataset)


def check_labels(
    dataset: str,
    amounts: Amounts,
    data_dir: Path,
    options: ListingOptions = PLAIN,
    *,
    is_supervised: bool = False,
) -> None:
    """Refuse numbers of labels that ``dataset`` cannot give, before any image is read.

    That every labeled image keeps its label is for a user's own images and supervised training: the
    others would be trained on all of a published data set where somebody forgot to say how many.

    Raises
    ------
    UsageError
        What ``Amounts.of_classes`` refuses; the folder does not have the layout of ``list_images``; or
        vectors cannot be used.
    """
    facts = facts_of(dataset)
    if isinstance(facts, ClassFolders):
        amounts.of_classes(dataset, list_images(data_dir, options).train_counts())
    elif isinstance(facts, VectorFiles):
        amounts.of_classes(dataset, _vectors(data_dir, options).train_counts())
    elif isinstance(facts, DatasetFacts):
        counts = facts.train_counts
        if amounts.takes_all_labels and amounts.imbalance is not None:
            raise UsageError(
                f"{dataset}: --imbalance needs --labels, --labels-per-class or --label-fraction beside it"
            )
        if amounts.takes_all_labels and not is_supervised:
            raise UsageError(
                f"{dataset} needs a number of labels, a multiple of {len(counts)} from {len(counts)} "
                f"to {len(counts) * min(counts)}; or --labels-per-class, or --label-fraction; "
                "supervised training takes all labels where none of these is given"
            )
        amounts.of_classes(dataset, counts)


def bytes_to_load(dataset: str, *, extra: bool) -> int:
    """What loading a published data set takes, files and images at once; 0 where nobody knows.

    ``extra``: with its further images.
    """
    facts = facts_of(dataset)
    if not isinstance(facts, DatasetFacts):
        return 0
    num_images = facts.num_train_images + facts.num_unlabeled_images
    num_images += extra * facts.num_extra_images
    return 2 * num_images * facts.channels * facts.image_size**2


def data_digests(dataset: str, data_dir: Path, options: ListingOptions = PLAIN) -> tuple[str, ...]:
    """What tells a user's images from others, in every version, the one to record first.

    Empty for data of fixed content, and where there is no folder.

    Raises
    ------
    UsageError
        The folder does not have the layout of ``list_images``, or a file cannot be read.
    """
    facts = facts_of(dataset)
    if isinstance(facts, VectorFiles) and data_dir.exists():
        return _vectors(data_dir, options).digests
    if not isinstance(facts, ClassFolders) or not data_dir.is_dir():
        return ()
    return list_images(data_dir, options).digests


def _vectors(data_dir: Path, options: ListingOptions) -> VectorTable:
    from ssl_isda.data.vectors.files import read_vectors  # needs NumPy

    return read_vectors(data_dir, options)


@functools.cache
def _all_facts(folder: Path) -> dict[str, Facts]:
    """``FACTS = {"name": DatasetFacts(...)}`` of every file, read from its source."""
    facts: dict[str, Facts] = {}
    for path in sorted(folder.glob("*.py")):
        try:
            statements = ast.parse(path.read_bytes()).body
        except (SyntaxError, ValueError, OSError) as error:
            raise UsageError(f"{path}: not valid Python: {error}") from None
        for node in statements:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FACTS":
                facts |= _evaluated(node.value)
    return facts


def _evaluated(table: ast.expr) -> dict[str, Facts]:
    assert isinstance(table, ast.Dict), ast.unparse(table)
    return {
        ast.literal_eval(name): _KINDS[call.func.id](
            *map(ast.literal_eval, call.args),
            **{str(word.arg): ast.literal_eval(word.value) for word in call.keywords},
        )
        for name, call in zip(table.keys, table.values, strict=True)
        if name is not None and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
