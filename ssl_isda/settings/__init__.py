"""How flags, files and defaults become one checked set of values, each with the place that set it.

It imports ``base`` alone, and no torch, so that help and errors answer at once.
"""
