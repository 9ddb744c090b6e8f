"""Integers in paths, queries and forms: digits alone, so that no two texts name the same one."""

import re
from typing import Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

__all__ = ["PLAIN"]

_DIGITS = re.compile("0|[1-9][0-9]*")


def _plain(sent: object) -> object:
    """Require the digits of an integer: pydantic alone also reads `1_3`, `15.0`, `+4` and `04`."""
    if isinstance(sent, str) and _DIGITS.fullmatch(sent) is None:
        raise PydanticCustomError("plain_parsing", "write an integer as its digits alone, such as 13")
    return sent


PLAIN: Final = BeforeValidator(_plain)
"""Marks an integer that is sent as text. Write it last, after what limits the integer."""
