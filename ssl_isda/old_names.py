"""Imports of version 0.1 find what they name in its new place, with a DeprecationWarning.

``ssl_isda.checkpoint`` is ``ssl_isda.runs.checkpoint`` now, and ``MOVED`` has all of them. The finder
comes last on ``sys.meta_path``, so that it is asked only for what is nowhere else.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "batch": "data.batch",
    "batchnorm": "training.batchnorm",
    "checkpoint": "runs.checkpoint",
    "compilation": "training.compilation",
    "covariance": "isda.covariance",
    "diagnostics": "training.diagnostics",
    "distributed": "parallel.distributed",
    "errors": "base.errors",
    "features": "results.features",
    "files": "base.files",
    "interval": "base.options",
    "isda": "isda.terms",
    "isda_config": "isda.config",
    "learned_covariance": "isda.learned",
    "losses": "isda.propositions losses.consistency",
    "models.registry": "models.contract",
    "objective": "training.objective isda.config",
    "optimizer": "optim.sgd",
    "precision": "base.precision",
    "randomness": "base.randomness",
    "registry": "base.registry",
    "regularizer": "training.method",
    "run_folder": "runs.run_folder",
    "schedules": "base.ramps optim.schedules.cosine isda.config",
    "shapes": "base.shapes",
    "step": "base.step",
    "tracking": "runs.tracking base.progress",
    "trainer": "training.trainer",
    "tsne": "results.embedding results.scatter",
    "whole_batch": "parallel.whole_batch",
}
"""Modules of 0.1 and those that hold their names now, all inside ``ssl_isda``."""

RENAMED = {"Classifier": "Network", "Regularizer": "Method"}


def names_of(module: str) -> Callable[[str], Any]:
    """``__getattr__`` for a module of 0.1, and for the package that has its name now."""
    homes = [f"ssl_isda.{home}" for home in MOVED[module.removeprefix("ssl_isda.")].split()]

    def find(name: str) -> Any:
        if not name.startswith("_"):
            for home in map(importlib.import_module, homes):
                for known in (name, RENAMED.get(name, name)):
                    if hasattr(home, known):
                        _warn(f"{module}.{name}", f"{home.__name__}.{known}")
                        return getattr(home, known)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def _warn(old: str, new: str) -> None:
    text = f"{old} has moved: {new} is its name since version 0.2"
    warnings.warn(text, DeprecationWarning, stacklevel=3)


class OldNames:
    """Finds and makes the modules of ``MOVED``."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        is_old = name.startswith("ssl_isda.") and name.removeprefix("ssl_isda.") in MOVED
        return ModuleSpec(name, OldNames) if is_old else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType | None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        module.__getattr__ = names_of(module.__name__)  # type: ignore[method-assign]


def install() -> None:
    """Let this process import them."""
    if OldNames not in sys.meta_path:
        sys.meta_path.append(OldNames)
