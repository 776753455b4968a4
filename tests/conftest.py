"""For every test: one thread, and shapes in signatures checked at run time."""

import copy
import functools
import os
import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook

# Tiny tensors gain nothing from a second thread, and on a busy machine lose a lot waiting for it.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start, too

# Entered for good, not left at the end of a block: modules are imported once.
OF_ISDA = ("covariance", "draws", "labels", "propositions", "sampled", "variances")
CHECKED = (*(f"isda.{name}" for name in OF_ISDA), "losses.consistency")
install_import_hook([f"ssl_isda.{name}" for name in CHECKED], "beartype.beartype").__enter__()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait, for servers, disks and children."""
    return min(4, 1 + (os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of many slow tests first: a worker takes whole files, and none should be left for the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def digits_are_read_once() -> None:
    """Half of a resumed run's time goes into scikit-learn's text file; each run has its own copy."""
    from sklearn import datasets

    read = functools.cache(datasets.load_digits)
    datasets.load_digits = lambda **options: copy.deepcopy(read(**options))


@pytest.fixture(autouse=True)
def no_part_of_a_test_stays() -> Iterator[None]:
    """What a test registers, by a plugin or a page's example, is in no registry of the next test."""
    yield
    loaded = [module for name, module in sys.modules.items() if name.startswith("ssl_isda.")]
    for registry in {id(each): each for module in loaded for each in registries(module)}.values():
        for name in [*registry]:
            if not str(getattr(registry[name], "__module__", "")).startswith("ssl_isda."):
                del registry._entries[name], registry._configs[name]


@functools.cache
def registries(module: ModuleType) -> list[Any]:
    """Those that a module names, as each does from its import on."""
    contract = sys.modules.get("ssl_isda.base.registry")
    return [
        value
        for name, value in vars(module).items()
        if name.isupper() and contract and isinstance(value, contract.Registry)
    ]
