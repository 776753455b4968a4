"""The ground floor: errors, names, steps, randomness, files and progress; everything stands on it.

It imports nothing of this package. ``randomness``, ``step``, ``precision`` and ``shapes`` alone import
torch.
"""
