"""From the arguments of an estimator to the settings of a run. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ssl_isda.api import flags
from ssl_isda.estimator.refusals import UnusableInput
from ssl_isda.settings.components import read_components
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.resolve import resolve

FIXED: Mapping[str, Any] = {"dataset": "vectors", "data_dir": "vectors", "wandb": "disabled"}
"""What a user's array says already, and what no array needs."""
DEFAULTS: Mapping[str, Any] = {"precision": "fp32", "threads": 1}
"""The fastest for networks of this size; ``settings`` may say otherwise."""
NO_SETTINGS = {
    *("labels", "labels_per_class", "label_fraction", "validation", "split", "test_fraction"),
    *("imbalance", "imbalance_unlabeled", "seed", "seeds", "config", "print_config", "runs_dir"),
    *("label_column", "help", "version", "task", "freeze"),
}
"""Flags that choose data, labels or runs, which X, y and random_state do here."""
LARGEST_SEED = 2**31 - 1


def resolved_settings(arguments: Mapping[str, Any], seed: int) -> Resolved:
    """The settings of the run.

    Parameters
    ----------
    arguments : of the estimator, by name

    Raises
    ------
    UsageError
        An argument or one of ``settings`` cannot be used.
    """
    settings = {} if arguments["settings"] is None else arguments["settings"]
    if not isinstance(settings, Mapping):
        raise UnusableInput(
            f"settings is a mapping of flags to values, or None; got {type(settings).__name__}"
        )
    own = _own(arguments, settings)
    _check_settings(settings, own)
    given = {**FIXED, **DEFAULTS, **own, **settings, "seed": seed}
    return resolve(flags({name: _plain(value) for name, value in given.items()}))


def _own(arguments: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument under the name of its flag; an option belongs to the network or the view chosen."""
    same = ("method", "isda", "steps", "batch_size", "unlabeled_batch_size", "learning_rate")
    own = {name: arguments[name] for name in (*same, "device") if arguments[name] is not None}
    if not isinstance(arguments["isda"], (bool, np.bool_)):
        raise UnusableInput(f"isda is True or False; got {arguments['isda']!r}")
    if arguments["isda"]:
        own["lambda_0"] = arguments["lambda_0"]
    components = read_components(settings.get("plugin"))
    chosen = {
        "model": settings.get("model", "mlp"),
        "policy": settings.get("policy", "vector_noise"),
        "method": own.get("method"),
    }
    options = {
        option
        for kind, name in chosen.items()
        for option in components.parts[kind].get(str(name), {})
    }
    optional = {"hidden": arguments["hidden"], "features": arguments["features"]}
    optional |= {"noise_std": arguments["noise"], "input_noise": 0.0}
    if "noise_std" not in options:
        optional.pop("input_noise")
    return own | {name: value for name, value in optional.items() if name in options}


def _check_settings(settings: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    if "epochs" in settings and "steps" in own:
        raise UnusableInput("settings: epochs goes with steps=None, which leaves the length to it")
    for name in settings:
        if not isinstance(name, str) or "-" in name:
            raise UnusableInput(
                f"settings names flags with underscores, such as consistency_weight; got {name!r}"
            )
        if name in own and name != "input_noise":
            said = "noise" if name == "noise_std" else name
            raise UnusableInput(f"settings: {name} is an argument of the classifier, {said}=...")
        if name in {*FIXED, *NO_SETTINGS}:
            raise UnusableInput(
                f"settings: {name} is no setting here, where X, y, folder and random_state say it"
            )


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def drawn_seed(random_state: Any, *, in_folder: bool) -> int:
    """The seed of the run: an integer itself, a number that a generator draws, or for None one that
    NumPy's global generator draws; in a folder 0, so that the same fit goes on.

    Raises
    ------
    UnusableInput
        It is none of these.
    """
    is_number = isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool)
    if is_number and random_state >= 0:
        return int(random_state)
    if random_state is None and in_folder:
        return 0
    try:
        return int(check_random_state(random_state).randint(LARGEST_SEED))
    except ValueError as error:
        raise UnusableInput(
            "random_state is None, an integer of 0 or more, or a RandomState of NumPy; "
            f"got {random_state!r}"
        ) from error
