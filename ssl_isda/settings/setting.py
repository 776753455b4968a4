"""One thing that can be set: its name, type, default and meaning, and the judgement of a value.

Needs pydantic, imports no torch.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ssl_isda.base.errors import UsageError
from ssl_isda.base.words import nearest, shown
from ssl_isda.settings.yaml_files import Given

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "a name",
    "string_unicode": "text of UTF-8 characters",
    "path_type": "a path",
    "tuple_type": "a list",
}


def _usable(path: Path) -> Path:
    """Refuse what no file system takes, and what no UTF-8 file could record."""
    text = str(path)
    if "\0" in text or text.encode(errors="replace").decode() != text:
        raise PydanticCustomError("unusable_path", "Input should be a path of UTF-8 characters")
    return path


UsablePath = Annotated[Path, Field(strict=False), AfterValidator(_usable)]


@dataclass(frozen=True)
class Setting:
    """One thing that can be set."""

    name: str
    type: Any
    """An annotation, with its limits in ``Annotated``."""
    default: object
    description: str
    place: str = field(default="", compare=False)
    """Where it is declared, if that is a part's source: "methods/vat.py:53: epsilon"."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether the flag stands alone: ``--isda``, ``--no-isda``."""
        return set(self.members) - {types.NoneType} == {bool}

    @cached_property
    def item(self) -> Setting | None:
        """Of a list: one of its values."""
        if get_origin(self.type) is not tuple:
            return None
        return replace(self, type=get_args(self.type)[0], default=None)

    @cached_property
    def members(self) -> tuple[Any, ...]:
        """The plain types that a value may have; ``NoneType`` if it can be unset."""
        return _members(self.type)

    @cached_property
    def choices(self) -> tuple[Any, ...]:
        """What there is to choose from, if it is a choice."""
        literals = (get_args(member) for member in self.members if get_origin(member) is Literal)
        return tuple(choice for choices in literals for choice in choices)

    @property
    def takes_text(self) -> bool:
        """Whether the text of a flag is the value itself."""
        words = any(isinstance(choice, str) for choice in self.choices)
        return words or str in self.members or Path in self.members

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.type, config=STRICT)

    def check(self, given: Given) -> Any:
        """The value in its own type; the one place where a value is judged.

        Raises
        ------
        UsageError
            Wrong type, out of range, not finite: where it stands, what is right, what was given.
        """
        if self.item and isinstance(given.value, tuple):
            values = (replace(given, value=value, text=shown(str(value))) for value in given.value)
            return tuple(map(self.item.check, values))
        if given.value == "" and Path in self.members:
            raise UsageError(f"{given.place} must be a path, got nothing")
        try:
            return self._adapter.validate_python(given.value)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
        expected = _EXPECTED.get(problem["type"], problem["msg"].replace("Input should be ", ""))
        hint = nearest(str(given.value), map(str, self.choices))
        if problem["type"] in ("string_type", "path_type") and isinstance(
            given.value, (int, float)
        ):
            hint = f'; put it in quotes: "{given.text}"'
        raise UsageError(f"{given.place} must be {expected}, got {given.text}{hint}")


def _members(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(part for member in get_args(annotation) for part in _members(member))
    return (annotation,)


def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """What can be set in a model whose fields carry their descriptions, by name."""
    return {
        (info.alias or name): Setting(
            info.alias or name,
            Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation,
            None if info.is_required() else info.default,
            " ".join((info.description or "").split()),
        )
        for name, info in model.model_fields.items()
    }
