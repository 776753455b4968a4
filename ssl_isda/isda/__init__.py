"""The paper's mathematics: class covariances, the propositions as losses, and the terms of the objective.

It imports ``base`` and ``parallel``; torch and numpy are all that it needs.
"""
