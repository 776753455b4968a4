"""The options of each method, read from its source: no method, and so no torch, is imported.

A method's file holds a dataclass ``Config``; each field has a type, a plain default, and a docstring
under it. That is all it takes for an option to be a flag, a YAML key and a line of ``--help``.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ssl_isda.base.errors import UsageError
from ssl_isda.base.options import Interval
from ssl_isda.base.words import printed
from ssl_isda.settings.config import RunConfig, Setting
from ssl_isda.settings.yaml_files import Given

_TYPES = {"bool": bool, "float": float, "int": int, "str": str}


def read_methods(folder: Path) -> dict[str, dict[str, Setting]]:
    """The options of every method that ``folder/__init__.py`` imports, by method and by name.

    Raises
    ------
    UsageError
        A file is missing or is no Python, or a field is not what an option can be.
    """
    package = _parse(_read(folder / "__init__.py"), folder / "__init__.py")
    names = [
        alias.name
        for node in package.body
        if isinstance(node, ast.ImportFrom) and (node.module == folder.name or node.level)
        for alias in node.names
    ]
    paths = {name: folder / f"{name}.py" for name in names}
    methods = {name: dict(_options(_read(path), path)) for name, path in paths.items()}
    _agree_on_switches(methods)
    return methods


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
def _options(source: bytes, path: Path) -> dict[str, Setting]:
    """Parsed once for all runs of a grid."""
    body = _parse(source, path).body
    config = [node for node in body if isinstance(node, ast.ClassDef) and node.name == "Config"]
    fields = config[0].body if config else []
    options = {}
    for node, after in zip(fields, [*fields[1:], None], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            option = _option(node.target.id, node, after, path)
            options[option.name] = option
    return options


def _option(name: str, node: ast.AnnAssign, after: ast.stmt | None, path: Path) -> Setting:
    source = f"{path.parent.name}/{path.name}"
    place = f"{source}:{node.lineno}: {name}"
    if name in RunConfig.model_fields:
        raise UsageError(f"{place} is a setting of every run already; call the option otherwise")
    try:
        annotation = _type(node.annotation)
        default = ast.literal_eval(node.value or ast.Name("nothing"))
    except (ValueError, KeyError):
        raise UsageError(
            f"{place} needs a type of float, int, bool, str, Literal[...], one of these with an "
            f"Interval, or | None, and a plain default; got {_code(node)}"
        ) from None
    setting = Setting(name, annotation, default, _docstring(after))
    setting.check(Given(default, repr(default), source, name, node.lineno))
    return setting


def _code(node: ast.AST) -> str:
    """The code of ``node`` on one line."""
    return repr(" ".join(ast.unparse(node).split()))


def _type(node: ast.expr) -> Any:
    """The type that an annotation names."""
    if isinstance(node, ast.Name):
        return _TYPES[node.id]
    if isinstance(node, ast.Constant) and node.value is None:
        return type(None)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _type(node.left) | _type(node.right)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
        return Literal[ast.literal_eval(node.slice)]
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Annotated"):
        return _bounded(node.slice)
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
    return Annotated[_type(kind), Field(**bounds)]


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _agree_on_switches(methods: dict[str, dict[str, Setting]]) -> None:
    """A flag takes a value, or does not, before its method is known."""
    first: dict[str, tuple[str, bool]] = {}
    for method, options in methods.items():
        for name, option in options.items():
            other, is_switch = first.setdefault(name, (method, option.is_switch))
            if is_switch != option.is_switch:
                raise UsageError(f"{name} is a bool in only one of {other} and {method}; rename it")
