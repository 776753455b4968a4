"""For every test: one thread, and shapes in signatures checked at run time."""

import os
from collections import Counter

import pytest
import torch
from jaxtyping import install_import_hook

# Tiny tensors gain nothing from a second thread, and on a busy machine lose a lot waiting for it.
torch.set_num_threads(1)

# Entered for good, not left at the end of a block: modules are imported once.
install_import_hook(
    ["ssl_isda.isda.covariance", "ssl_isda.isda.propositions"], "beartype.beartype"
).__enter__()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait, for servers, disks and children."""
    return min(4, 1 + (os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of many slow tests first: a worker takes whole files, and none should be left for the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
