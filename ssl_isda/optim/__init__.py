"""Optimizers, one file each, and the schedules of the learning rate in a folder of their own.

They import ``base`` and torch alone.
"""
