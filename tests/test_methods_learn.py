"""Each method, trained briefly on real digits, beats supervised training on the same labels."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest

from ssl_isda import METHODS, cli

RECIPE = "--dataset digits --model mlp --steps 250 --precision fp32 --wandb disabled --seeds 0 1"
MARGIN = 1.0
"""Percent of the test images, in the mean over two splits into 20 labels and the rest."""


def error(method: str, folder: Path) -> float:
    """In the mean over the seeds."""
    arguments = f"--method {method} {RECIPE}".split()
    assert cli.main([*arguments, "--runs-dir", str(folder)]) == 0
    return mean(json.loads(file.read_text())["error"] for file in folder.rglob("result.json"))


@pytest.fixture(scope="module")
def supervised_error(tmp_path_factory: pytest.TempPathFactory) -> float:
    return error("supervised", tmp_path_factory.mktemp("supervised"))


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({*METHODS} - {"supervised"}))
def test_beats_supervised_training_on_the_same_labels(
    method: str, supervised_error: float, tmp_path: Path
) -> None:
    assert supervised_error > 15, "the baseline leaves room to be beaten"
    assert error(method, tmp_path) < supervised_error - MARGIN
