"""Semi-supervised learning with implicit semantic data augmentation (ISDA), in PyTorch.

    import ssl_isda

    run = ssl_isda.train(dataset="digits", method="vat", isda=True, steps=200)
    model = ssl_isda.load(run.path)
    classifier = ssl_isda.SemiSupervisedClassifier(isda=True).fit(X, y)  # y == -1: unlabeled

The public names stand in one place below, where type checkers read them too. They are imported on first
use, so that a part without tensors starts fast. Beside the floors, which are folders, there are four
files: ``api`` is the Python interface, ``cli`` the command line, ``plugins`` imports the methods and data
sets, and ``old_names`` keeps the imports of 0.1.
"""

from __future__ import annotations

import ast
import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_isda import old_names

if TYPE_CHECKING:
    from ssl_isda.api import Model as Model
    from ssl_isda.api import Predictions as Predictions
    from ssl_isda.api import Run as Run
    from ssl_isda.api import load as load
    from ssl_isda.api import train as train
    from ssl_isda.base.errors import RunError as RunError
    from ssl_isda.base.errors import UsageError as UsageError
    from ssl_isda.data.images.image_data import DATASETS as DATASETS
    from ssl_isda.data.images.image_data import ImageData as ImageData
    from ssl_isda.data.vectors.vector_data import VectorData as VectorData
    from ssl_isda.data.views import AUGMENTATIONS as AUGMENTATIONS
    from ssl_isda.estimator.classifier import SemiSupervisedClassifier as SemiSupervisedClassifier
    from ssl_isda.isda.covariance import ClassCovariance as ClassCovariance
    from ssl_isda.isda.learned import LearnedCovariance as LearnedCovariance
    from ssl_isda.isda.modules import ISDALoss as ISDALoss
    from ssl_isda.isda.modules import SemanticConsistency as SemanticConsistency
    from ssl_isda.isda.propositions import augmented_logits as augmented_logits
    from ssl_isda.isda.propositions import (
        centered_semantic_consistency as centered_semantic_consistency,
    )
    from ssl_isda.isda.propositions import isda_cross_entropy as isda_cross_entropy
    from ssl_isda.isda.propositions import sampled_isda_cross_entropy as sampled_isda_cross_entropy
    from ssl_isda.isda.propositions import (
        sampled_semantic_consistency as sampled_semantic_consistency,
    )
    from ssl_isda.isda.propositions import second_order_consistency as second_order_consistency
    from ssl_isda.isda.propositions import semantic_consistency as semantic_consistency
    from ssl_isda.losses import LOSSES as LOSSES
    from ssl_isda.models import MODELS as MODELS
    from ssl_isda.optim import OPTIMIZERS as OPTIMIZERS
    from ssl_isda.optim import SCHEDULES as SCHEDULES
    from ssl_isda.tasks import TASKS as TASKS
    from ssl_isda.training.method import METHODS as METHODS

__version__ = "0.2.0"

_CLONE = Path(__file__).resolve().parent.parent
if (_CLONE / "run.py").is_file() and (_CLONE / "methods").is_dir():
    __path__.append(str(_CLONE))  # ``ssl_isda.methods`` lies at the top of a clone

old_names.install()


@functools.cache
def _homes() -> dict[str, str]:
    """The module of each public name, read from the imports that type checkers see."""
    body = ast.parse(Path(__file__).read_bytes()).body
    (table,) = (node for node in body if isinstance(node, ast.If) and "TYPE" in ast.dump(node.test))
    lines = (node for node in table.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(line.module) for line in lines for alias in line.names}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return ["__version__", *_homes()]
    if name.startswith("_") or name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_homes()[name]), name)
    if name.isupper():  # a registry, with all parts in it that come with the package
        importlib.import_module("ssl_isda.plugins").load()
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
