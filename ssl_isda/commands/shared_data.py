"""One ``Workspace`` for runs of one process that follow each other and read the same data alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ssl_isda.data.facts import MaskFiles, facts_of
from ssl_isda.settings.config import Resolved

if TYPE_CHECKING:
    from ssl_isda.assembly.workspace import Workspace

_KEPT: ContextVar[dict[object, Workspace] | None] = ContextVar("kept", default=None)


@contextmanager
def data_shared() -> Iterator[None]:
    """Within the block the last workspace is kept for runs that need one like it."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def workspace_for(resolved: Resolved, digests: Sequence[str]) -> Workspace:
    """One made for this run or, within ``data_shared``, for the run before.

    A user's own data are the same if their digests are, which are computed anew for each run. Data of
    which nothing is known are read for each run.

    Parameters
    ----------
    digests : of the data as they are now; empty for those of fixed content
    """
    from ssl_isda.assembly.workspace import Workspace, read_alike

    kept = _KEPT.get()
    if kept is None or isinstance(facts_of(resolved.config.dataset), MaskFiles | None):
        return Workspace(resolved)
    key = (read_alike(resolved), tuple(digests))
    if key not in kept:
        kept.clear()  # two data sets may not fit into memory
        kept[key] = Workspace(resolved)
    kept[key].set_threads()
    return kept[key]
