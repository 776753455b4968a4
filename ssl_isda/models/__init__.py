"""The networks, one file a family. To add one: write its file and import it here.

A network imports ``base``, ``parallel`` and its contract, and torch alone.
"""

from ssl_isda.models.cnn13 import CNN13
from ssl_isda.models.contract import MODELS

__all__ = ["CNN13", "MODELS"]
