"""Shapes in signatures: jaxtyping's, where it is installed; mere documentation where it is not.

``Float[Tensor, "n a"]`` is checked at run time under pytest only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Float, Int
else:
    try:
        from jaxtyping import Float, Int
    except ImportError:

        class _Unchecked:
            def __getitem__(self, item: tuple[Any, str]) -> Any:
                return item[0]

        Float = Int = _Unchecked()

__all__ = ["Float", "Int"]
