"""``python -m ssl_isda``: the same as ``run.py``."""

import sys

from ssl_isda.cli import program

sys.exit(program())
