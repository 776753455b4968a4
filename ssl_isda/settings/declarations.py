"""Options as the source of a part declares them: nothing is imported, and so no torch.

A part's file holds a dataclass ``Config``; each field has a type, a plain default, and a docstring
under it. That is all it takes for an option to be a flag, a YAML key and a line of ``--help``.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.base.words import printed
from ssl_isda.settings.setting import Setting
from ssl_isda.settings.yaml_files import Given

_TYPES = {"bool": bool, "float": float, "int": int, "str": str}


@dataclass(frozen=True, eq=False)
class Declared:
    """A part that a source registers."""

    registry: str
    """Its registry's name: "METHODS"."""
    name: str
    place: str
    """Where that stands: "methods/vat.py:71"."""
    options: Mapping[str, Setting]
    texts: frozenset[str]
    """All that stands in quotes in the source."""


def declared(path: Path) -> tuple[Declared, ...]:
    """The parts that a file registers at its top level, each with the options of its ``Config``.

    Raises
    ------
    UsageError
        The file cannot be read, is no Python, or a field is not what an option can be.
    """
    source = _read(path)
    return _declared(source, path) if b".register(" in source else ()


def declared_class(path: Path, name: str) -> dict[str, Setting]:
    """The options of one class of a file; ``declared`` says what is refused."""
    return _options(_parse(_read(path), path), path, name)


def options_of(config: type[Any]) -> dict[str, Setting]:
    """The options of a dataclass that exists already, whose source is not needed."""
    hints = typing.get_type_hints(config, include_extras=True)
    return {
        field.name: Setting(field.name, _as_fields(hints[field.name]), field.default, "")
        for field in dataclasses.fields(config)
    }


def _as_fields(annotation: Any) -> Any:
    """The annotation with its Interval as the bounds that pydantic reads."""
    if get_origin(annotation) is Annotated:
        kind, interval = get_args(annotation)
        return Annotated[kind, Field(**dataclasses.asdict(interval))]
    if isinstance(annotation, type) or get_origin(annotation) in (Literal, tuple):
        return annotation
    return functools.reduce(lambda a, b: a | b, map(_as_fields, get_args(annotation)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{printed(path)}: cannot be read: {error.strerror}") from None


def _parse(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{printed(path)}:{line}" if line else printed(path)
        raise UsageError(f"{where}: not valid Python: {getattr(error, 'msg', error)}") from None


@functools.cache
def _declared(source: bytes, path: Path) -> tuple[Declared, ...]:
    """Parsed once for all runs, which then share the parts."""
    module = _parse(source, path)
    constants = (node.value for node in ast.walk(module) if isinstance(node, ast.Constant))
    texts = frozenset(value for value in constants if isinstance(value, str))
    return tuple(
        Declared(registry, name, f"{_named(path)}:{line}", _options(module, path, config), texts)
        for registry, name, config, line in _registrations(module)
    )


def _registrations(module: ast.Module) -> Iterator[tuple[str, str, str, int]]:
    """Registry, name, class of options and line of each ``REGISTRY.register("name")``."""
    for node in module.body:
        for call in (each for each in ast.walk(node) if isinstance(each, ast.Call)):
            words = [*call.args, *(word.value for word in call.keywords)]
            name = words[0].value if words and isinstance(words[0], ast.Constant) else None
            if isinstance(call.func, ast.Attribute) and call.func.attr == "register" and name:
                registry = ast.unparse(call.func.value).rpartition(".")[2]
                config = ast.unparse(words[1]) if len(words) > 1 else "Config"
                yield registry, str(name), config, call.lineno


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _options(module: ast.Module, path: Path, config: str) -> dict[str, Setting]:
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    fields = next((node.body for node in classes if node.name == config), [])
    aliases = {ast.unparse(n.targets[0]): n.value for n in module.body if isinstance(n, ast.Assign)}
    options = {}
    for node, after in zip(fields, [*fields[1:], None], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            options[node.target.id] = _option(node.target.id, node, after, path, aliases)
    return options


def _option(
    name: str,
    node: ast.AnnAssign,
    after: ast.stmt | None,
    path: Path,
    aliases: Mapping[str, ast.expr],
) -> Setting:
    place = f"{_named(path)}:{node.lineno}: {name}"
    try:
        annotation = _type(node.annotation, aliases)
        default = ast.literal_eval(node.value or ast.Name("nothing"))
    except (ValueError, KeyError):
        raise UsageError(
            f"{place} needs a type of float, int, bool, str, Literal[...], tuple[..., ...], one of "
            f"these with an Interval, or | None, and a plain default; got {_code(node)}"
        ) from None
    setting = Setting(name, annotation, default, _docstring(after), place)
    setting.check(Given(default, repr(default), _named(path), name, node.lineno))
    return setting


def _code(node: ast.AST) -> str:
    """The code of ``node`` on one line."""
    return repr(" ".join(ast.unparse(node).split()))


def _type(node: ast.expr, aliases: Mapping[str, ast.expr]) -> Any:
    """The type that an annotation names."""
    if isinstance(node, ast.Name):
        return _type(aliases[node.id], {}) if node.id in aliases else _TYPES[node.id]
    if isinstance(node, ast.Constant) and node.value is None:
        return type(None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _type(node.left, aliases) | _type(node.right, aliases)
    if not isinstance(node, ast.Subscript):
        raise ValueError(node)
    generic = ast.unparse(node.value)
    if generic.endswith("Literal"):
        return Literal[ast.literal_eval(node.slice)]
    if generic.endswith("Annotated"):
        return _bounded(node.slice)
    if generic == "tuple" and isinstance(node.slice, ast.Tuple):
        return types.GenericAlias(tuple, (_type(node.slice.elts[0], aliases), ...))
    raise ValueError(node)


def _bounded(node: ast.expr) -> Any:
    """What ``Annotated[type, Interval(...)]`` names."""
    if not (isinstance(node, ast.Tuple) and len(node.elts) == 2):
        raise ValueError(node)
    kind, interval = node.elts
    if not (isinstance(interval, ast.Call) and ast.unparse(interval.func).endswith("Interval")):
        raise ValueError(interval)
    bounds = {str(word.arg): ast.literal_eval(word.value) for word in interval.keywords}
    if interval.args or not bounds.keys() <= Interval.__dataclass_fields__.keys():
        raise ValueError(interval)
    return Annotated[_type(kind, {}), Field(**bounds)]


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""
