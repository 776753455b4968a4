"""Supervised losses, one file each, and the terms that consistency methods are made of.

They import ``base``, ``parallel``, ``torch`` and the contracts of networks, tasks and optimizers. To add
one: write its file and import it here.
"""

from ssl_isda.losses import (
    center,
    cross_entropy,
    distributionnet,
    disturb_label,
    focal,
    label_smoothing,
    large_margin,
    lq,
)
from ssl_isda.losses.contract import LOSSES
from ssl_isda.old_names import names_of

__all__ = [
    "LOSSES",
    "center",
    "cross_entropy",
    "distributionnet",
    "disturb_label",
    "focal",
    "label_smoothing",
    "large_margin",
    "lq",
]
__getattr__ = names_of(__name__)
