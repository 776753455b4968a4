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
        and the norms' scales and shifts

    Raises
    ------
    ValueError
        ``stages()`` leaves a parameter out or names it twice.
    """
    stages = network.stages()
    in_stages = [id(parameter) for stage in stages for parameter in stage]
    if sorted(in_stages) != sorted(map(id, network.parameters())):
        raise ValueError(f"{type(network).__name__}.stages() must name each parameter once")
    depth = {id(p): len(stages) - 1 - k for k, stage in enumerate(stages) for p in stage}
    return merged(
        Group(
            [parameter],
            layer_decay ** depth[id(parameter)],
            0.0 if not decay_norms and parameter.ndim < 2 else None,
        )
        for parameter in network.parameters()
    )


def merged(groups: Iterable[Group]) -> list[Group]:
    """Groups that are trained alike become one; the order of their parameters stays."""
    alike: dict[tuple[float, float | None], list[nn.Parameter]] = {}
    for group in groups:
        alike.setdefault((group.rate_scale, group.weight_decay), []).extend(group.parameters)
    return [Group(parameters, *settings) for settings, parameters in alike.items()]
