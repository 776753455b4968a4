"""``run.py export``: features, t-SNE and cluster quality of trained runs.

It imports ``settings``, ``runs`` and ``results``.
"""
