"""Integers on the command line: their digits alone, for every option and argument that takes one."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

__all__ = ["integer", "read_plainly"]

_DIGITS = re.compile("0|-?[1-9][0-9]{0,30}")


def integer(text: str) -> int:
    """Parse an integer. Python alone also reads `1_3`, `+4`, ` 4` and `04`.

    Raises:
        ValueError: If the text is not an integer.

    Example:
        >>> integer("13")
        13
    """
    if _DIGITS.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a whole number; write its digits alone, such as 13")
    return int(text)


def read_plainly(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the parameter of a command, which reads its integers with `integer` if it takes some."""
    annotation = parameter.annotation
    kind, *told = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    inner = get_args(kind)
    if int not in (kind, *inner, *(one for each in inner for one in get_args(each))):
        return parameter
    if hasattr(parameter.default, "parser"):
        return parameter.replace(default=_with_parser(parameter.default))
    made = tuple(_with_parser(one) if hasattr(one, "parser") else one for one in told)
    return parameter.replace(annotation=Annotated[(kind, *made)])


def _with_parser(info: Any) -> Any:
    made = copy.copy(info)
    if made.parser is None:
        made.parser = _parser(made.min, made.max)
    return made


def _parser(least: int | None, most: int | None) -> Callable[[Any], int]:
    def read(text: Any) -> int:
        try:
            number = integer(text) if isinstance(text, str) else int(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if (least is not None and number < least) or (most is not None and number > most):
            limits = f"x>={least}" if most is None else f"x<={most}" if least is None else f"{least}<=x<={most}"
            raise typer.BadParameter(f"{number} is not in the range {limits}.")
        return number

    return read
