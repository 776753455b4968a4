"""The methods, one file each. To add one: write its file and import it here.

A method imports ``ssl_isda``, never another method or a data set.
"""

from . import (
    adamatch,
    dash,
    fixmatch,
    flexmatch,
    freematch,
    ict,
    mean_teacher,
    mixmatch,
    pi_model,
    pseudo_label,
    remixmatch,
    softmatch,
    supervised,
    temporal_ensembling,
    uda,
    vat,
)

__all__ = [
    "adamatch",
    "dash",
    "fixmatch",
    "flexmatch",
    "freematch",
    "ict",
    "mean_teacher",
    "mixmatch",
    "pi_model",
    "pseudo_label",
    "remixmatch",
    "softmatch",
    "supervised",
    "temporal_ensembling",
    "uda",
    "vat",
]
