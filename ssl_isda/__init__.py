"""Implicit semantic data augmentation (ISDA) and the contract of semi-supervised methods, in PyTorch.

    from ssl_isda import ClassCovariance, isda_cross_entropy, semantic_consistency

The names are looked up on first use, so that importing a part without tensors stays fast.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_isda.isda.covariance import ClassCovariance as ClassCovariance
    from ssl_isda.isda.learned import LearnedCovariance as LearnedCovariance
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

__version__ = "0.1.0"

_CLONE = Path(__file__).resolve().parent.parent
if (_CLONE / "run.py").is_file() and (_CLONE / "methods").is_dir():
    __path__.append(str(_CLONE))  # ``ssl_isda.methods`` lies at the top of a clone

_HOME = {
    "ClassCovariance": "ssl_isda.isda.covariance",
    "LearnedCovariance": "ssl_isda.isda.learned",
    "centered_semantic_consistency": "ssl_isda.isda.propositions",
    "isda_cross_entropy": "ssl_isda.isda.propositions",
    "sampled_isda_cross_entropy": "ssl_isda.isda.propositions",
    "sampled_semantic_consistency": "ssl_isda.isda.propositions",
    "second_order_consistency": "ssl_isda.isda.propositions",
    "semantic_consistency": "ssl_isda.isda.propositions",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
