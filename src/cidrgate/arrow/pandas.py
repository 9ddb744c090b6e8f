"""pandas: a column of answers, with the index of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from cidrgate._engine import Matcher

__all__ = ["allows"]


def allows(matcher: Matcher, frame: pd.DataFrame, account: str = "account", address: str = "address") -> pd.Series:
    """Return a column of bool: whether the address of each row may act for its account.

    Each row is answered like `Matcher.allows`, except for what cannot be known: a row whose account is missing or not
    UTF-8, or whose address is missing or not an address, is denied.

    Columns of strings and categoricals of strings are read without a Python object for a row. In a column of objects,
    each object is read as it is: text is never taken for a packed address. NumPy drops zero octets at the end of packed
    addresses in an array of bytes (`S4`, `S16`) before they are in the frame: make the column of a list of `bytes`.

    Args:
        matcher: The lists.
        frame: The rows.
        account: The column with accounts: strings.
        address: The column with addresses: strings, packed `bytes` (4 or 16) or `ipaddress` objects.

    Raises:
        KeyError: If the frame has no such column, or several.
        TypeError: If an element has another type; the message names the first one.

    Example:
        >>> from cidrgate import Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["8.8.8.0/24"])
        >>> frame = pd.DataFrame({"account": "acct-1", "address": ["8.8.8.8", "9.9.9.9", None]})
        >>> frame[~allows(matcher, frame)].index.tolist()
        [1, 2]
    """
    accounts, addresses = (_column(frame, name) for name in (account, address))
    return pd.Series(matcher.allows_many(accounts, addresses, invalid="deny"), index=frame.index, name="allowed")


def _column(frame: pd.DataFrame, name: str) -> Any:
    """Return the one column of this name.

    Raises:
        KeyError: If the frame has no such column, or several.
    """
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise KeyError(f"the frame has {column.shape[1]} columns {name!r}: rename those that are not meant")
    return column
