"""From stored images to batches: sources, splits, preprocessing, augmentation and batches.

What every data set shares is here; the data sets themselves are files of ``ssl_isda.datasets``.
It imports ``base`` and ``parallel``.
"""
