"""One run's folder: its checkpoint, log, metrics, result and memory, and W&B as a view of them; and the
runs that a grid file stands for.

It imports ``base``, ``parallel`` and ``settings``.
"""
