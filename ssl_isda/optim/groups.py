"""The parameters of a network in groups: layer-wise rates, and no weight decay where it does harm.

Layer decay: Bao et al., BEiT, ICLR 2022, arXiv:2106.08254; the rate of a stage that lies d stages
below the head is scaled by ``layer_decay`` to the power d.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from ssl_isda.models.contract import Network
from ssl_isda.optim.contract import Group


def groups_of(
    network: Network, *, layer_decay: float = 1.0, decay_norms: bool = True
) -> list[Group]:
    """All parameters of ``network``, each in one group.

    Parameters
    ----------
    layer_decay : factor on the learning rate from each of ``network.stages()`` to the one below it
    decay_norms : False: no weight decay for what has fewer than two dimensions, which are the biases
        and the norms' scales and shifts, and for what a module names in ``no_weight_decay()``, as
        timm's do with class tokens and position embeddings

    Raises
    ------
    ValueError
        ``stages()`` leaves a parameter out or names it twice.
    """
    depth = _depths(network) if layer_decay != 1 else {}
    undecayed = set() if decay_norms else _undecayed(network)
    return merged(
        Group(
            [parameter],
            layer_decay ** depth.get(id(parameter), 0),
            0.0 if id(parameter) in undecayed else None,
        )
        for parameter in network.parameters()
    )


def _depths(network: Network) -> dict[int, int]:
    """How many stages below the head each parameter lies, by its id."""
    stages = network.stages()
    in_stages = [id(parameter) for stage in stages for parameter in stage]
    if sorted(in_stages) != sorted(map(id, network.parameters())):
        raise ValueError(f"{type(network).__name__}.stages() must name each parameter once")
    return {id(p): len(stages) - 1 - k for k, stage in enumerate(stages) for p in stage}


def _undecayed(network: Network) -> set[int]:
    """The ids of the parameters that no weight decay suits."""
    found = {id(parameter) for parameter in network.parameters() if parameter.ndim < 2}
    for module in network.modules():
        named = dict(module.named_parameters())
        names: Iterable[str] = getattr(module, "no_weight_decay", tuple)()
        found |= {id(named[name]) for name in names if name in named}
    return found


def merged(groups: Iterable[Group]) -> list[Group]:
    """Groups that are trained alike become one; the order of their parameters stays."""
    alike: dict[tuple[float, float | None], list[nn.Parameter]] = {}
    for group in groups:
        alike.setdefault((group.rate_scale, group.weight_decay), []).extend(group.parameters)
    return [Group(parameters, *settings) for settings, parameters in alike.items()]
