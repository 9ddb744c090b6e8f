"""Statements on many rows by key, with all keys in one parameter: their text, and so their plan, is always the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BigInteger, Text, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

__all__ = ["in_keys"]


def in_keys(column: ColumnElement[Any], keys: str) -> ColumnElement[bool]:
    """Whether a column holds one of some values.

    Args:
        column: Of texts, or of integers.
        keys: The parameter that gets the values, a list.
    """
    of = Text() if column.type.python_type is str else BigInteger()
    return _InKeys(column, bindparam(keys, type_=_Keys(of)))


class _InKeys(FunctionElement[bool]):
    name = "in_keys"
    inherit_cache = True
    # Of no type: of a truth value, SQLite would be asked whether it equals 1, for which it uses no index.


class _Keys(TypeDecorator[Any]):
    """A list as one parameter: an array, and a text in JSON on SQLite, which has none."""

    impl = Text
    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of the parameter."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(self.of))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """A list to what the database takes."""
        return json.dumps(value) if dialect.name == "sqlite" else value


@compiles(_InKeys, "sqlite")
def _on_sqlite(element: _InKeys, compiler: SQLCompiler, **how: Any) -> str:
    column, keys = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({keys}))"  # noqa: S608 - parts of a statement, no values


@compiles(_InKeys, "postgresql")
def _on_postgresql(element: _InKeys, compiler: SQLCompiler, **how: Any) -> str:
    column, keys = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} = ANY ({keys})"
