"""Networks that make images: adversarial pairs that are trained here, and the way back from features to
pixels. One file, one kind, one registry line. It may import base, data and ``runs.checkpoint``.
"""

from ssl_isda.generators import acgan as acgan
from ssl_isda.generators import biggan as biggan
from ssl_isda.generators import cgan as cgan
from ssl_isda.generators import infogan as infogan
from ssl_isda.generators import wgan as wgan
from ssl_isda.generators.contract import GANS as GANS
from ssl_isda.generators.contract import GENERATORS as GENERATORS
from ssl_isda.generators.contract import Generator as Generator
