"""ISDA's settings: which go together."""

from __future__ import annotations

import pytest

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.settings.resolve import resolve

EXPLICIT = {"augmentation": "explicit", "augmentation_samples": 5}
LEARNED = {"covariance": "learned", "uncertainty_weight": 0.1}


def flags(settings: dict) -> list[str]:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return ["--method=vat", "--isda", *words]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augmentation": "explicit"}, "needs augmentation_samples"),
        ({"augmentation_samples": 5}, "goes with augmentation explicit alone"),
        ({**EXPLICIT, "augmentation_samples": 0}, "1 or more; got 0"),
        ({**EXPLICIT, "consistency": "second_order"}, "second_order is a closed form"),
        ({**EXPLICIT, "consistency": "centered_bound"}, "centered_bound is a closed form"),
        ({"covariance": "learned"}, "needs uncertainty_weight"),
        ({"uncertainty_weight": 0.1}, "goes with covariance learned alone"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        IsdaConfig(**settings)
    if settings.get("augmentation_samples") != 0:  # which its bounds refuse before
        with pytest.raises(UsageError, match=words):
            resolve(flags(settings))


@pytest.mark.parametrize(
    "settings",
    [
        EXPLICIT,
        LEARNED,
        {**EXPLICIT, **LEARNED},
        {**LEARNED, "consistency": "second_order"},
        {"consistency": "centered_bound", "lambda_schedule": "constant"},
    ],
)
def test_settings_that_go_together_are_taken(settings: dict) -> None:
    assert resolve(flags(settings)).isda == IsdaConfig(**settings)


def test_lambda_grows_or_stays() -> None:
    linear, constant = (IsdaConfig(0.4, lambda_schedule=s) for s in ("linear", "constant"))
    assert [linear.strength(t) for t in (0, 0.5, 1)] == [0, 0.2, 0.4]
    assert [constant.strength(t) for t in (0, 0.5, 1)] == [0.4, 0.4, 0.4]
