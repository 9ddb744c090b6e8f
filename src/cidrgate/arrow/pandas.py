"""pandas: a column of answers, with the index of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from cidrgate.errors import needs_extra

with needs_extra("arrow", "cidrgate.arrow.pandas"):
    import pyarrow

if TYPE_CHECKING:
    from cidrgate._engine import Matcher

__all__ = ["allows"]


def allows(matcher: Matcher, frame: pd.DataFrame, account: str = "account", address: str = "address") -> pd.Series:
    """Return a column of bool: whether the address of each row may act for its account.

    Each row is answered like `Matcher.allows`, except for what cannot be known: a row whose account is missing, or
    whose address is missing or not an address, is denied.

    Args:
        matcher: The lists.
        frame: The rows.
        account: The column with accounts: strings, or a categorical of strings.
        address: The column with addresses, likewise.

    Raises:
        KeyError: If the frame has no such column, or several.
        TypeError: If a column has another type. pyarrow raises its own kinds of it.

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
    """Return the one column of this name as an Arrow array.

    Raises:
        KeyError: If the frame has no such column, or several.
    """
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise KeyError(f"the frame has {column.shape[1]} columns {name!r}: rename those that are not meant")
    return pyarrow.Array.from_pandas(column)
