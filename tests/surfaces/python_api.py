"""The Python API: every name of `PUBLIC_MODULES`, as a type checker reads it, one line for each thing to rely on.

The sources and stubs are read, and nothing is imported, so the description is the same for every Python and for every
version of a framework. Docstrings are left out.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe

from tests.edges.places import modules

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EDGES", "PUBLIC_MODULES", "describe", "mentioned_types", "public_names"]

SOURCE = Path(__file__).parents[2] / "src"

EDGES = tuple(
    f"cidrgate.middleware.{path.stem}" for path in sorted((SOURCE / "cidrgate" / "middleware").glob("[!_]*.py"))
)
"""The modules of the edges, one for each framework."""

PUBLIC_MODULES = (
    "cidrgate",
    "cidrgate.arrow.duckdb",
    "cidrgate.arrow.pandas",
    "cidrgate.arrow.polars",
    "cidrgate.authorize",
    "cidrgate.client",
    "cidrgate.errors",
    "cidrgate.event_log",
    "cidrgate.foresight",
    "cidrgate.gate",
    "cidrgate.lists",
    "cidrgate.manager",
    "cidrgate.manager.metrics",
    *EDGES,
    *(f"cidrgate.middleware.{name}" for name in sorted(modules())),
    "cidrgate.replay",
    "cidrgate.replay.spark",
    "cidrgate.service",
    "cidrgate.traffic",
    "cidrgate.values",
)
"""The modules whose `__all__` is public. docs/compatibility.md lists the same; every other module is private."""

_SPECIAL = frozenset(
    f"__{name}__"
    for name in (
        *("aenter", "aexit", "aiter", "anext", "bool", "call", "contains", "enter", "eq", "exit", "getitem", "hash"),
        *("init", "init_subclass", "iter", "len", "new", "next", "or", "reversed", "str"),
    )
)
"""Methods that a program calls by an operator or a statement."""


@cache
def package() -> Any:
    """The package, read without importing it."""
    return griffe.load("cidrgate", search_paths=[SOURCE], resolve_aliases=True, allow_inspection=False)


def public_names() -> Iterator[tuple[str, Any]]:
    """Every public name with what it names; a thing that several modules hand on comes once for each of them."""
    for module in PUBLIC_MODULES:
        found = _module(module)
        for name in sorted(_exported(module)):
            yield f"{module}.{name}", found.members[name]


def _module(name: str) -> Any:
    inner = name.partition(".")[2]
    return package()[inner] if inner else package()


def _exported(module: str) -> set[str]:
    if module == "cidrgate":
        # Its names are loaded when they are first used, and its stub imports them.
        return {name for name, one in package().members.items() if one.is_alias and _in_stub(one)} | {
            "__version__",
            "get_include",
        }
    return {str(name) for name in _module(module).exports or ()}


def _in_stub(alias: Any) -> bool:
    stub = (SOURCE / "cidrgate" / "__init__.pyi").read_text()
    return f" {alias.name} as {alias.name}" in stub


def describe() -> str:
    """The description of the Python API."""
    first: dict[str, str] = {}
    lines = []
    for path, thing in public_names():
        target = thing.final_target if thing.is_alias else thing
        known = first.setdefault(target.path, path)
        if known != path:
            lines.append(f"{path} is {known}")
        else:
            lines.extend(_described(path, target))
    return "\n".join(lines) + "\n"


def _described(path: str, thing: Any) -> Iterator[str]:
    if thing.is_class:
        yield from _class(path, thing)
    elif thing.is_function:
        yield from _function(path, thing)
    elif thing.is_module:
        raise TypeError(f"{path} is a module: name it in PUBLIC_MODULES, or leave it out of __all__")
    else:
        yield _attribute(path, thing)


def _class(path: str, thing: Any) -> Iterator[str]:
    bases = [f"{base}" for base in thing.bases if not _hidden(base)]
    made = _decorations(thing)
    yield f"class {path}({', '.join(bases)})" + (f"  # {made}" if made else "")
    for name, target in _members(thing):
        if target.is_function:
            yield from _function(f"{path}.{name}", target)
        elif target.is_class:
            yield from _class(f"{path}.{name}", target)
        else:
            yield _attribute(f"{path}.{name}", target)


def _members(thing: Any) -> Iterator[tuple[str, Any]]:
    """The members of a class that the package defines, inherited ones included."""
    for name, one in sorted(thing.all_members.items()):
        target = one.final_target if one.is_alias else one
        if target.path.startswith("cidrgate.") and (not name.startswith("_") or name in _SPECIAL):
            yield name, target


def _decorations(thing: Any) -> str:
    return ", ".join(" ".join(f"{one.value}".split()) for one in thing.decorators)


def _function(path: str, thing: Any) -> Iterator[str]:
    if thing.is_attribute or "property" in thing.labels:
        yield _attribute(path, thing)
        return
    kinds = "".join(f"@{name} " for name in ("classmethod", "staticmethod") if name in thing.labels)
    kinds += "async " if "async" in thing.labels else ""
    for one in thing.overloads or [thing]:
        yield f"{kinds}{path}{_parameters(one, method=path.count('.') > 1 and thing.parent.is_class)} -> {one.returns}"


def _parameters(thing: Any, *, method: bool) -> str:
    shown = []
    kind = griffe.ParameterKind
    star = False
    given = list(thing.parameters)
    if method and "staticmethod" not in thing.labels:
        given = given[1:]
    for number, one in enumerate(given):
        if one.kind is kind.keyword_only and not star:
            shown.append("*")
            star = True
        name = {kind.var_positional: "*", kind.var_keyword: "**"}.get(one.kind, "") + one.name
        star |= one.kind is kind.var_positional
        text = name if one.annotation is None else f"{name}: {one.annotation}"
        if one.default is not None and one.kind not in (kind.var_positional, kind.var_keyword):
            text += f" = {_default(one.default)}"
        shown.append(text)
        following = given[number + 1].kind if number + 1 < len(given) else None
        if one.kind is kind.positional_only and following is not kind.positional_only:
            shown.append("/")
    return f"({', '.join(shown)})"


def _attribute(path: str, thing: Any) -> str:
    if "property" in thing.labels:
        return f"property {path}: {thing.annotation}" + (" (settable)" if "writable" in thing.labels else "")
    text = path if thing.annotation is None else f"{path}: {thing.annotation}"
    if thing.value is None or (thing.parent.is_class and "class-attribute" not in thing.labels):
        return text
    value = _default(thing.value)
    return text if value is None else f"{text} = {value}"


def _default(value: Any) -> str | None:
    """A default, for a field of a dataclass too; None if it has none."""
    if isinstance(value, griffe.ExprCall) and f"{value.function}" in ("field", "dataclasses.field"):
        given = {one.name: one.value for one in value.arguments if isinstance(one, griffe.ExprKeyword)}
        if "default_factory" in given:
            return f"{given['default_factory']}()"
        return _value(given["default"]) if "default" in given else None
    return _value(value)


def _value(value: Any) -> str:
    """A default or a constant: the number behind the name of one, because the number is what callers get."""
    if isinstance(value, griffe.ExprName):
        try:
            found = package()[value.canonical_path.partition(".")[2]]
            found = found.final_target if found.is_alias else found
        except KeyError:
            return f"{value}"
        if found.is_attribute and found.value is not None:
            return _value(found.value)
    return " ".join(f"{value}".split())


def mentioned_types() -> Iterator[tuple[str, str]]:
    """Every class of the package that the signature of a public name mentions, with the name that mentions it.

    An alias stands for what it names, and whatever has the methods of a protocol fits it: users need neither name.
    """
    seen = set()
    for path, thing in public_names():
        target = thing.final_target if thing.is_alias else thing
        if target.path not in seen:
            seen.add(target.path)
            yield from ((path, name) for name in _mentioned(target))


def _mentioned(thing: Any) -> Iterator[str]:
    expressions: list[Any] = []
    if thing.is_function:
        for one in [thing, *(thing.overloads or ())]:
            expressions += [one.returns, *(parameter.annotation for parameter in one.parameters)]
    elif thing.is_attribute:
        expressions.append(thing.value if f"{thing.annotation}".endswith("TypeAlias") else thing.annotation)
    elif thing.is_class:
        expressions += [base for base in thing.bases if not _hidden(base)]
        for _, member in _members(thing):
            yield from _mentioned(member)
    for expression in expressions:
        if isinstance(expression, griffe.Expr):
            for part in expression.iterate(flat=True):
                if isinstance(part, griffe.ExprName) and part.canonical_path.startswith("cidrgate."):
                    yield from _named(part)


def _named(name: griffe.ExprName) -> Iterator[str]:
    """The class that a name means, or the classes that an alias means."""
    found = package()[name.canonical_path.partition(".")[2]]
    found = found.final_target if found.is_alias else found
    if found.is_attribute:
        yield from _mentioned(found)
    elif found.is_class and not any(f"{base}".rpartition(".")[2].startswith("Protocol") for base in found.bases):
        yield str(found.path)


def _hidden(base: Any) -> bool:
    return f"{base}".rpartition(".")[2].startswith("_")
