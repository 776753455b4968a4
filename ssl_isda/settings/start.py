"""What the weights that a network starts from decide of a run's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ssl_isda.settings.setting import Setting
from ssl_isda.settings.yaml_files import Given

LEFT_TO_THE_NETWORK = ("image_size", "interpolation")
"""Options of a data set whose images are resized; unset they are those of the network's weights."""


def decided_by_weights(
    layers: Sequence[Mapping[str, Given]],
    options: Mapping[tuple[str, str], Mapping[str, Setting]],
) -> dict[str, Given]:
    """For a library's network that starts from weights: images are prepared and resized as theirs were,
    unless a flag or a file of the user's says otherwise.

    Parameters
    ----------
    layers : what is given, the nearest first
    options : of the parts that are used, by kind and name
    """
    names = {name for part in options.values() for name in part}
    if "pretrained" not in names:
        return {}
    given = {name: _first(layers, name) for name in ("pretrained", "weights")}
    why = next((f"--{name}" for name, value in given.items() if value), None)
    if why is None:
        return {}
    left = [name for name in LEFT_TO_THE_NETWORK if name in names]
    decided = {"preprocessing": "network", **dict.fromkeys(left)}
    return {name: Given(value, str(value).lower(), why, name) for name, value in decided.items()}


def _first(layers: Sequence[Mapping[str, Given]], name: str) -> object:
    return next((layer[name].value for layer in layers if name in layer), None)
