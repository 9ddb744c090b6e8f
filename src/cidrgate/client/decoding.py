"""Decodes the JSON of responses into values, and checks that every member is there and has its type."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DIGITS", "UnexpectedJsonError", "json_of", "page_of", "value_of"]

DIGITS = "digits"
"""In the metadata of a field: the number is a text of digits in JSON, because it may be larger than 2^53."""

_MOST_DIGITS = 39
"""Digits of the number of all IPv6 addresses."""

_SCALARS = {str: "text", int: "a whole number", bool: "true or false"}
"""The types of members that are the same in JSON, and what they are called."""

_Value = TypeVar("_Value")


class UnexpectedJsonError(ValueError):
    """A response is not what the service sends. No message shows its values, which may be secrets.

    Args:
        what: What the response, or the member, is, such as `not JSON`; None if the member is missing.
        path: The steps to the member; none for the whole response.
    """

    def __init__(self, what: str | None, *path: str) -> None:
        super().__init__(what)
        self.what = what
        self.path = list(path)

    def __str__(self) -> str:
        """Return what is wrong, as the end of a sentence that begins with the response."""
        if not self.path:
            return f"is {self.what}"
        member = "".join(self.path).removeprefix(".")
        return f"has no {member}" if self.what is None else f"has {member} that is {self.what}"


def json_of(text: bytes | str) -> Any:
    """Return what a JSON text says.

    Raises:
        UnexpectedJsonError: If it is not JSON, or is nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnexpectedJsonError("not JSON") from None


def value_of(kind: type[_Value], record: object) -> _Value:
    """Return a JSON object as a value of a dataclass. Members that only a newer service knows are dropped.

    Raises:
        UnexpectedJsonError: If it is no object, lacks a member without a default, or a member has another type than its
            field.

    Example:
        >>> from cidrgate.client.values import CheckInfo
        >>> value_of(CheckInfo, {"account": "a", "address": "8.8.8.8", "allowed": True, "new": 1})
        CheckInfo(account='a', address='8.8.8.8', allowed=True, mode='enforce')
        >>> value_of(CheckInfo, {"account": "a", "address": "8.8.8.8", "allowed": "no"})
        Traceback (most recent call last):
        ...
        cidrgate.client.decoding.UnexpectedJsonError: has allowed that is not true or false
    """
    found = _object(record)
    made: dict[str, object] = {}
    for name, read, required in _members(kind):  # type: ignore[arg-type]
        if required or name in found:
            made[name] = _member(found, name, read)
    return kind(**made)


def page_of(kind: type[_Value], record: object) -> tuple[list[_Value], str | None]:
    """Return the items of a page as values, and the cursor of the next page; None on the last page.

    Raises:
        UnexpectedJsonError: If it is no page of such items.
    """
    found = _object(record)
    items = _member(found, "items", _reader(list[kind]))  # type: ignore[valid-type]
    return items, _member(found, "next_cursor", _reader(str | None))


def _member(found: Mapping[str, Any], name: str, read: Callable[[Any], Any]) -> Any:
    if name not in found:
        raise UnexpectedJsonError(None, f".{name}")
    try:
        return read(found[name])
    except UnexpectedJsonError as error:
        error.path.insert(0, f".{name}")
        raise


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UnexpectedJsonError("no JSON object")
    return value


@cache
def _members(kind: type) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Return the name of each field of a dataclass, how to read it, and whether it must be there."""
    hints = get_type_hints(kind)
    return tuple(
        (
            one.name,
            _number_of_digits if DIGITS in one.metadata else _reader(hints[one.name]),
            one.default is MISSING and one.default_factory is MISSING,
        )
        for one in fields(kind)
    )


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the function that reads what has a type in Python from what it is in JSON."""
    if hint is Any:
        return lambda value: value
    if hint in _SCALARS:
        return _scalar_reader((hint,), _SCALARS[hint])
    if hint is datetime:
        return _time
    if is_dataclass(hint):
        return lambda value: value_of(hint, value)  # type: ignore[arg-type]
    kind, arguments = get_origin(hint), get_args(hint)
    if kind is Literal:  # a newer service may have more values
        return _reader(str)
    if kind is list:
        return _list_reader(_reader(arguments[0]))
    if kind is dict:
        return _dict_reader(_reader(arguments[1]))
    if kind is not UnionType:
        raise TypeError(f"a field of a response cannot be {hint}")
    others = tuple(one for one in arguments if one is not NoneType)
    read = (
        _reader(others[0]) if len(others) == 1 else _scalar_reader(others, " or ".join(_SCALARS[one] for one in others))
    )
    return (lambda value: None if value is None else read(value)) if NoneType in arguments else read


def _scalar_reader(kinds: tuple[type, ...], name: str) -> Callable[[Any], Any]:
    def read(value: object) -> object:
        if type(value) not in kinds:  # True is an int, but no number
            raise UnexpectedJsonError(f"not {name}")
        return value

    return read


def _list_reader(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_all(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise UnexpectedJsonError("not an array")
        made: list[Any] = []
        try:
            for one in value:
                made.append(read(one))
        except UnexpectedJsonError as error:
            error.path.insert(0, f"[{len(made)}]")
            raise
        return made

    return read_all


def _dict_reader(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {name: read(one) for name, one in _object(value).items()}


def _time(value: object) -> datetime:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UnexpectedJsonError("not a time with a time zone")
    return time


def _number_of_digits(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS:
        return int(value)
    raise UnexpectedJsonError("not a number in digits")
