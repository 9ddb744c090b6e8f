"""pytricia as an oracle: one table a family, keys as canonical text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytricia

from tests.golden import read_address

if TYPE_CHECKING:
    from collections.abc import Iterable


class PytriciaTable:
    """Longest match over both families; pytricia knows no IPv4-mapped addresses, so they are made IPv4 here."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self.tables = {False: pytricia.PyTricia(32), True: pytricia.PyTricia(128)}
        for text in prefixes:
            self.tables[":" in text][text] = text

    def match(self, address: str) -> str | None:
        """The longest matching prefix."""
        address = str(read_address(address))
        table = self.tables[":" in address]
        found: str | None = table.get(address)
        return found
