"""polars: an expression, for eager and lazy frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from cidrgate._engine import Matcher

__all__ = ["allows"]


def allows(matcher: Matcher, account: str | pl.Expr = "account", address: str | pl.Expr = "address") -> pl.Expr:
    """Return an expression: whether the address of each row may act for its account.

    Each row is answered like `Matcher.allows`, except for what cannot be known: a row whose account is null, or whose
    address is null or not an address, is denied. The expression never is null.

    Args:
        matcher: The lists. They are read when the expression is evaluated.
        account: The column with accounts, or an expression: strings, categoricals or enums.
        address: The column with addresses, or an expression: strings, or binaries of 4 or 16 bytes.

    Raises:
        TypeError: When it is evaluated, if a column has another type.

    Example:
        >>> from cidrgate import Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["8.8.8.0/24"])
        >>> frame = pl.DataFrame({"account": "acct-1", "address": ["8.8.8.8", "9.9.9.9", None]})
        >>> frame.filter(~allows(matcher)).get_column("address").to_list()
        ['9.9.9.9', None]
        >>> frame.select(allows(matcher, account=pl.lit("acct-2"))).to_series().to_list()
        [True, True, False]
    """

    def answer(rows: pl.Series) -> pl.Series:
        columns = rows.struct
        return pl.Series(matcher.allows_many(columns.field("account"), columns.field("address"), invalid="deny"))

    named = pl.struct(account=account, address=address)
    return named.map_batches(answer, return_dtype=pl.Boolean, is_elementwise=True).alias("allowed")
