"""A classifier in the manner of scikit-learn, for rows of numbers of which few have a label.

It trains by the same trainer as every run, in memory or in a run folder. It imports scikit-learn, which
nothing else above the data sets does, and the floors from ``base`` to ``commands``.
"""
