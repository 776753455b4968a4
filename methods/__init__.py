"""The methods, one file each. To add one: write its file and import it here.

A method imports ``ssl_isda``, never another method or a data set.
"""

from . import (
    fixmatch,
    flexmatch,
    freematch,
    mean_teacher,
    pi_model,
    pseudo_label,
    softmatch,
    supervised,
    temporal_ensembling,
    vat,
)

__all__ = [
    "fixmatch",
    "flexmatch",
    "freematch",
    "mean_teacher",
    "pi_model",
    "pseudo_label",
    "softmatch",
    "supervised",
    "temporal_ensembling",
    "vat",
]
