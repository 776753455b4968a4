"""The networks, one file a family. To add one: write its file and import it here.

A network imports ``base``, ``parallel`` and its contract, and torch alone.
"""

from ssl_isda.models.cnn13 import CNN13
from ssl_isda.models.contract import MODELS, Network, Prediction
from ssl_isda.models.linear import Linear
from ssl_isda.models.mlp import MLP
from ssl_isda.models.resnet import ResNet

__all__ = ["CNN13", "MLP", "MODELS", "Linear", "Network", "Prediction", "ResNet"]
