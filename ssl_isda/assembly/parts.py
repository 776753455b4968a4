"""How the parts of a run are looked up by the settings, with their own options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ssl_isda.base.registry import Registry
from ssl_isda.settings.config import Resolved


def options_of(registry: Registry[Any], name: str, resolved: Resolved) -> Any:
    """The part's own ``Config``, as the settings of the run have it."""
    config, values = registry.config(name), resolved.values
    return config(
        **{each.name: values[each.name] for each in fields(config) if each.name in values}
    )


def chosen(registry: Registry[Any], kind: str, resolved: Resolved) -> Callable[..., Any]:
    """The part that the setting ``kind`` names, with its options; the rest is still to be given."""
    name = getattr(resolved.config, kind)
    return functools.partial(registry[name], options_of(registry, name, resolved))
