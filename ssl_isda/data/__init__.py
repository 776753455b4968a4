"""From stored images to batches: sources, splits, preprocessing, augmentation and batches.

What every data set shares is here; the data sets themselves are files of ``ssl_isda.datasets``. The kinds
of data are ``images``, ``masks`` and ``vectors``; ``folder`` finds a user's own files, ``augmentations``
makes views. It imports ``base`` and ``parallel``.
"""
