"""Vectors instead of images: rows of numbers, their preparation, and the augmentations made for them.

vector_data -> standardization -> augmentation. It imports ``base``, ``parallel`` and ``data``.
"""
