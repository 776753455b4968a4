"""Supervised losses, one file each, and the terms that consistency methods are made of.

They import ``base``, ``torch`` and the contracts of networks, tasks and optimizers. To add one: write
its file and import it here.
"""

from ssl_isda.losses import cross_entropy, label_smoothing
from ssl_isda.losses.contract import LOSSES
from ssl_isda.old_names import names_of

__all__ = ["LOSSES", "cross_entropy", "label_smoothing"]
__getattr__ = names_of(__name__)
