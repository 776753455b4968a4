"""The networks, by name."""

from ssl_isda.models.cnn13 import CNN13
from ssl_isda.models.registry import MODELS

__all__ = ["CNN13", "MODELS"]
