"""The networks, one file a family. To add one: write its file and import it here.

A network imports ``base``, ``parallel`` and its contract, and torch alone.
"""

from ssl_isda.models.cnn13 import CNN13
from ssl_isda.models.contract import MODELS, Network, Prediction
from ssl_isda.models.deeplab import DeepLabV3
from ssl_isda.models.densenet import DenseNet
from ssl_isda.models.densenet265 import densenet265
from ssl_isda.models.leaky_wide_resnet import LeakyWideResNet
from ssl_isda.models.linear import Linear
from ssl_isda.models.mlp import MLP
from ssl_isda.models.pspnet import PSPNet
from ssl_isda.models.pyramidnet import PyramidNet
from ssl_isda.models.resnet import ResNet
from ssl_isda.models.resnext import ResNeXt
from ssl_isda.models.se_resnet import SEResNet
from ssl_isda.models.shake_shake import ShakeShakeNet
from ssl_isda.models.small_fcn import SmallFCN
from ssl_isda.models.timm_networks import TimmNetwork
from ssl_isda.models.torchvision_networks import TorchvisionNetwork
from ssl_isda.models.wide_resnet import WideResNet

__all__ = [
    "CNN13",
    "MLP",
    "MODELS",
    "DeepLabV3",
    "DenseNet",
    "LeakyWideResNet",
    "Linear",
    "Network",
    "PSPNet",
    "Prediction",
    "PyramidNet",
    "ResNeXt",
    "ResNet",
    "SEResNet",
    "ShakeShakeNet",
    "SmallFCN",
    "TimmNetwork",
    "TorchvisionNetwork",
    "WideResNet",
    "densenet265",
]
