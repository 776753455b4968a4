"""One run's folder: its checkpoint, log, metrics, result and memory, and W&B as a view of them.

It imports ``base``, ``parallel`` and ``settings``.
"""
