"""What a run says whose loss is no longer finite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl_isda import METHODS
from ssl_isda.base.step import Step
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.isda.terms import class_covariance
from ssl_isda.models.linear import Config, linear
from ssl_isda.training import divergence
from ssl_isda.training.divergence import largest_q, told
from ssl_isda.training.objective import Objective
from tests.commands import SUPERVISED, answer


@pytest.mark.parametrize("form", ["full", "diagonal", "shared", "identity", "learned"])
def test_the_largest_q_is_that_of_the_double_loop(form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 5, generator=generator)
    config = IsdaConfig(covariance=form, uncertainty_weight=1.0 if form == "learned" else None)
    covariance = class_covariance(config, 3, 5)
    covariance.update(torch.randn(40, 5, generator=generator), torch.arange(40) % 3)
    q = [
        (weight[j] - weight[k]) @ covariance.matrix(c) @ (weight[j] - weight[k])
        for c in range(3)
        for j in range(3)
        for k in range(3)
    ]
    assert largest_q(weight, covariance) == pytest.approx(float(max(q)), rel=1e-5)


LARGEST = "and the largest q, (w_j - w_k)^T Sigma_c (w_j - w_k),"
WEAKER = (
    "try a smaller --lambda-0 than 4, --max-exponent 100, or a smaller --learning-rate than 0.1"
)
SLOWER = "try a smaller --learning-rate than 0.1"


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("lambda_0", "size", "says"),
    [
        (None, 1.0, f"; {SLOWER}"),
        (4.0, 1.0, f"lambda is 2 {LARGEST} is 2; {SLOWER}"),
        (4.0, 1e30, f"is 2e+60; {WEAKER}"),
        (4.0, torch.inf, f"is not finite; {WEAKER}"),
        (0.0, torch.inf, f"lambda is 0 {LARGEST} is not finite; {SLOWER}"),
    ],
)
def test_fault_55_it_names_the_strength_and_advises_what_fits(
    lambda_0: float | None, size: float, says: str
) -> None:
    student = linear(Config(), num_classes=2, shape=(2,))
    student.head.weight.data = size * torch.eye(2)
    isda = None if lambda_0 is None else IsdaConfig(lambda_0=lambda_0, covariance="identity")
    method = METHODS["supervised"](None, student=student, num_images=1, num_classes=2)
    objective = Objective(method, isda, 2, 2)
    text = told(student, objective, 0.1, Step(5, 10, 10))
    assert says in text and ("lambda" in text) == (lambda_0 is not None)
    assert text.endswith(SLOWER if "--lambda-0" not in text else WEAKER)


@pytest.mark.fault(55)
def test_fault_55_a_run_with_isda_that_diverges_names_lambda_and_q(tmp_path: Path) -> None:
    code, _, line = answer([*SUPERVISED, "--isda", "--lambda-0", "1e8"], tmp_path)
    assert code == 70 and "where lambda is " in line and "the largest q, (w_j - w_k)^T" in line
    assert (
        "; try a smaller --lambda-0 than 1e+08, --max-exponent 100, or a smaller --learning-rate than 0.1"
        in line
    )


def test_a_run_that_is_well_computes_no_q(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(divergence, "largest_q", None)
    assert answer([*SUPERVISED, "--isda"], tmp_path).code == 0
