"""The methods, one file each. To add one: write its file and import it here."""

from methods import mean_teacher, pi_model, supervised, temporal_ensembling, vat

__all__ = ["mean_teacher", "pi_model", "supervised", "temporal_ensembling", "vat"]
