"""Each method, trained briefly on real digits, beats supervised training on the same labels."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest

from ssl_isda import METHODS, cli

RECIPE = "--dataset digits --model mlp --steps 250 --precision fp32 --wandb disabled"
SEEDS = (0, 1)
ON_BOTH = ("mean_teacher", "pi_model", "pseudo_label", "temporal_ensembling", "vat")
"""The others, which lead by more in so short a run, are trained on the last split alone."""
MARGIN = 1.0
"""Percent of the test images, in the mean over two splits into 20 labels and the rest."""


def errors(method: str, folder: Path, seeds: tuple[int, ...] = SEEDS) -> list[float]:
    """Seed by seed."""
    arguments = f"--method {method} {RECIPE} --seeds {' '.join(map(str, seeds))}".split()
    assert cli.main([*arguments, "--runs-dir", str(folder)]) == 0
    files = sorted(folder.rglob("result.json"))
    return [json.loads(file.read_text())["error"] for file in files]


@pytest.fixture(scope="module")
def supervised_errors(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return errors("supervised", tmp_path_factory.mktemp("supervised"))


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({*METHODS} - {"supervised"}))
def test_beats_supervised_training_on_the_same_labels(
    method: str, supervised_errors: list[float], tmp_path: Path
) -> None:
    assert mean(supervised_errors) > 15, "the baseline leaves room to be beaten"
    seeds = SEEDS if method in ON_BOTH else SEEDS[-1:]
    baseline = supervised_errors[-len(seeds) :]
    assert mean(errors(method, tmp_path, seeds)) < mean(baseline) - MARGIN
