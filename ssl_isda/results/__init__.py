"""Finished runs read again: statistics, tables, figures and features, which the commands share.

It imports ``base``, ``settings`` and ``runs``, and no torch.
"""
