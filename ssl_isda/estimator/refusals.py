"""What an estimator refuses, told as callers of scikit-learn expect it: a ``ValueError`` of one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ssl_isda.base.errors import UsageError


class UnusableInput(UsageError, ValueError):
    """Data or hyper-parameters that cannot be used; says what was given and what would be right."""


@contextmanager
def told_to_callers() -> Iterator[None]:
    """Within the block a refusal becomes ``UnusableInput``, and names arguments instead of flags."""
    try:
        yield
    except UnusableInput:
        raise
    except UsageError as error:
        raise UnusableInput(as_arguments(str(error))) from error


OTHERWISE = {
    "--runs-dir": "folder",
    "--fresh": 'settings={"fresh": True}',
    "--extend": 'settings={"extend": True}',
}
"""What flags about run folders are here."""


def as_arguments(text: str) -> str:
    """``--batch-size must be`` as ``batch_size must be``."""
    for flag, argument in OTHERWISE.items():
        text = text.replace(flag, argument)
    return re.sub(r"--([a-z][a-z0-9-]*)", lambda flag: flag[1].replace("-", "_"), text)
