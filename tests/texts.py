"""Texts of subclasses of `str`: members of enumerations, texts of other libraries, and some that lie."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain(str):
    """A subclass that changes nothing."""


class Printing(str):
    """A subclass that prints something else."""

    def __str__(self) -> str:
        return "another"

    def __repr__(self) -> str:
        return "another"

    def __format__(self, form: str) -> str:
        return "another"

    def encode(self, *_args: object) -> bytes:
        return b"another"


class Lying(Printing):
    """A subclass that equals only what it should not, and has no length."""

    def __eq__(self, other: object) -> bool:
        return str.__ne__(self, other)

    def __ne__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return 0

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> object:  # type: ignore[override]
        raise AssertionError("it was iterated")


def member(text: str) -> str:
    """Return the member of an enumeration of texts."""
    (found,) = cast("type[StrEnum]", StrEnum("Texts", {"MEMBER": text}))
    return found


def mixed_member(text: str) -> str:
    """Return the member of an enumeration that prints its name."""
    (found,) = cast("type[Enum]", Enum("Mixed", {"MEMBER": text}, type=str))
    return cast("str", found)


HONEST: dict[str, Callable[[str], str]] = {
    "subclass": Plain,
    "StrEnum": member,
    "str and Enum": mixed_member,
    "numpy": np.str_,
    "prints another text": Printing,
}
"""The makers of texts that compare as the text that they are."""

EVERY: dict[str, Callable[[str], str]] = {**HONEST, "lies": Lying}
