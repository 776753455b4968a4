"""Schedules of the learning rate, one file each: pure functions of the step, with no state to save.

They import ``base`` and the contract in ``optim`` alone. To add one: write its file and import it here.
"""

from ssl_isda.optim.schedules import cosine, cosine_7_16, multistep, polynomial

__all__ = ["cosine", "cosine_7_16", "multistep", "polynomial"]
