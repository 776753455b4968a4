"""Each method, trained briefly on real digits, beats supervised training on the same 20 labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_isda import cli

RECIPE = "--dataset digits --width 0.125 --steps 420 --precision fp32 --threads 1 --wandb disabled"
METHODS = ["pi_model", "temporal_ensembling", "mean_teacher", "vat"]
MARGIN = 1.0
"""Percent of the test images: five of 450."""


def error(method: str, folder: Path) -> float:
    arguments = f"--method {method} {RECIPE}".split()
    assert cli.main([*arguments, "--runs-dir", str(folder)]) == 0
    (result,) = folder.rglob("result.json")
    return json.loads(result.read_text())["error"]


@pytest.fixture(scope="module")
def supervised_error(tmp_path_factory: pytest.TempPathFactory) -> float:
    return error("supervised", tmp_path_factory.mktemp("supervised"))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_beats_supervised_training_on_the_same_labels(
    method: str, supervised_error: float, tmp_path: Path
) -> None:
    assert supervised_error > 15, "the baseline leaves room to be beaten"
    assert error(method, tmp_path) < supervised_error - MARGIN
