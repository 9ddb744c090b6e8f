"""`StoreDialect`: SQLAlchemy's dialect for psycopg, with bounded connections and statements that are written once.

The URL `postgresql+cidrgate://` names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGIdentifierPreparer_psycopg

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAME", "StoreDialect"]

NAME = "postgresql+cidrgate"
"""What names the dialect in a URL."""

_MOST_TEXTS = 1_000
"""How many texts are kept. The statements of a store are far fewer."""


class _Preparer(PGIdentifierPreparer_psycopg):
    """Keeps the text of each statement with the name of the schema.

    SQLAlchemy keeps compiled statements with a mark for the schema, and replaces the marks at each execution. A release
    that does it in another way does not call this method, and works without it.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._texts: dict[tuple[str, str | None], str] = {}

    def _render_schema_translates(self, statement: str, schema_translate_map: Mapping[str | None, str | None]) -> str:
        key = statement, schema_translate_map.get(None)
        text: str | None = self._texts.get(key) if schema_translate_map.keys() <= _OF_SCHEMA else None
        if text is None:
            text = super()._render_schema_translates(statement, schema_translate_map)
            if len(self._texts) < _MOST_TEXTS:
                self._texts[key] = text
        return text


_OF_SCHEMA = {None, "_none"}
"""The keys of a map that replaces only the schema of tables without one; SQLAlchemy adds the second."""


class StoreDialect(PGDialect_psycopg):
    """A dialect whose connections wait for no answer without an end."""

    preparer = _Preparer
    supports_statement_cache = True

    def connect(self, *arguments: Any, **settings: Any) -> Any:
        """Open a connection."""
        from cidrgate.stores.postgres.connections import BoundedConnection

        return BoundedConnection.connect(*arguments, **settings)


registry.register(NAME.replace("+", "."), __name__, StoreDialect.__name__)
