"""ISDA's settings: which go together, and that the command line has the same ones."""

from __future__ import annotations

import dataclasses
from typing import get_args, get_type_hints

import pytest

from ssl_isda.base.errors import UsageError
from ssl_isda.isda.config import IsdaConfig
from ssl_isda.settings.config import GROUPS, RUN_SETTINGS, RunConfig, isda_config

EXPLICIT = {"augmentation": "explicit", "augmentation_samples": 5}
LEARNED = {"covariance": "learned", "uncertainty_weight": 0.1}


def test_the_command_line_has_the_same_settings_defaults_and_choices() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(IsdaConfig)}
    assert sorted(GROUPS["ISDA"]) == sorted(fields)
    assert isda_config(RunConfig(method="vat")) == IsdaConfig()
    hints = get_type_hints(IsdaConfig)
    for name in fields:
        if RUN_SETTINGS[name].choices:
            assert RUN_SETTINGS[name].choices == get_args(hints[name])


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
    if settings.get("augmentation_samples") != 0:  # which the run's own limits refuse before
        with pytest.raises(UsageError, match=words):
            isda_config(RunConfig(method="vat", **settings))


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
    assert isda_config(RunConfig(method="vat", **settings)) == IsdaConfig(**settings)


def test_lambda_grows_or_stays() -> None:
    linear, constant = (IsdaConfig(0.4, lambda_schedule=s) for s in ("linear", "constant"))
    assert [linear.strength(t) for t in (0, 0.5, 1)] == [0, 0.2, 0.4]
    assert [constant.strength(t) for t in (0, 0.5, 1)] == [0.4, 0.4, 0.4]
