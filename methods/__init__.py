"""The methods, one file each. To add one: write its file and import it here.

A method imports ``ssl_isda``, never another method or a data set.
"""

from . import mean_teacher, pi_model, pseudo_label, supervised, temporal_ensembling, vat

__all__ = ["mean_teacher", "pi_model", "pseudo_label", "supervised", "temporal_ensembling", "vat"]
