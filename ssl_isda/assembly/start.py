"""The weights that a run starts from."""

from __future__ import annotations

from pathlib import Path

from ssl_isda import plugins
from ssl_isda.assembly.trained import evaluated_network
from ssl_isda.assembly.workspace import of_a_library
from ssl_isda.base.errors import UsageError
from ssl_isda.models.library import LibraryConfig
from ssl_isda.settings.config import Resolved
from ssl_isda.settings.options import Place
from ssl_isda.training.exported import is_exported
from ssl_isda.training.weights import Weights, read_weights


def starting_weights(resolved: Resolved) -> Weights | None:
    """What ``--weights`` names: the network that a run's method tests, also as exported, or a file; or
    the file of ``--pretrained``.

    Raises
    ------
    UsageError
        It is not there or cannot be used.
    """
    plugins.load(resolved.config.plugin)
    config, library = resolved.config, of_a_library(resolved)
    if library and library.pretrained:
        return read_weights(_pretrained_file(resolved, library))
    if config.weights is None:
        return None
    if not (config.weights.is_dir() or is_exported(config.weights)):
        return read_weights(config.weights)
    place = Place(data_dir=None, device="cpu", threads=None, plugin=config.plugin)
    network, preparation, _ = evaluated_network(config.weights, place)
    return Weights(config.weights, network.state_dict(), preparation.class_names)


def _pretrained_file(resolved: Resolved, library: LibraryConfig) -> Path:
    if resolved.config.weights is not None:
        raise UsageError("--pretrained and --weights are both given; one of them is enough")
    try:
        return library.weights_file()
    except ValueError as error:
        raise UsageError(f"--pretrained: {error}") from error
