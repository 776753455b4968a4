"""Optimizers, one file each, and the schedules of the learning rate in a folder of their own.

They import ``base``, the networks' contract and torch alone. To add one: write its file and import it
here.
"""

from ssl_isda.optim import adamw, sgd
from ssl_isda.optim.contract import OPTIMIZERS, SCHEDULES
from ssl_isda.optim.schedules import cosine, cosine_7_16, multistep

__all__ = ["OPTIMIZERS", "SCHEDULES", "adamw", "cosine", "cosine_7_16", "multistep", "sgd"]
