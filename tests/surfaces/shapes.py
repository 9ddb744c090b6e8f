"""The shape of JSON: the names and types of what objects hold, for records of the command line and of the log."""

from __future__ import annotations

from typing import Any

__all__ = ["shape"]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def shape(value: Any) -> Any:
    """The shape of a value: a type, a list with the shape of its items, or the shape of each member.

    Example:
        >>> shape({"account": "acct-1", "items": [{"id": 1, "label": None}, {"id": 2, "label": "office"}]})
        {'account': 'string', 'items': [{'id': 'integer', 'label': 'null | string'}]}
    """
    if isinstance(value, dict):
        return {name: shape(one) for name, one in sorted(value.items())}
    if isinstance(value, list | tuple):
        found: list[Any] = []
        for one in map(shape, value):
            found = [merged(found[0], one)] if found else [one]
        return found
    return _TYPES[type(value)]


def merged(one: Any, other: Any) -> Any:
    """The shape of values that have either shape."""
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted({*one, *other})
        return {
            name: merged(one[name], other[name])
            if name in one and name in other
            else merged("absent", one.get(name, other.get(name)))
            for name in names
        }
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])] if one and other else one or other
    if isinstance(one, str) and isinstance(other, str):
        return " | ".join(sorted({*one.split(" | "), *other.split(" | ")}))
    words, rest = (one, other) if isinstance(one, str) else (other, one)
    return {"either": words, "or": rest} if isinstance(words, str) else [one, other]
