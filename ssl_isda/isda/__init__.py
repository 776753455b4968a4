"""The paper's mathematics: class covariances, the propositions as losses, and the terms of the objective.

It imports ``base`` and ``parallel``; torch and numpy are all that it needs.
"""

from ssl_isda.old_names import names_of

__getattr__ = names_of(__name__)
