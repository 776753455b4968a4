"""Loss functions, one file a kind.

They import ``base``, ``isda`` and ``models``' contract, and torch alone.
"""
