"""Conditions on many keys in one parameter, so that the text of a statement, and its plan, is always the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, BigInteger, Text, TypeDecorator, bindparam, cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Dialect
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.types import TypeEngine

__all__ = ["in_keys", "in_names"]


def in_keys(column: ColumnElement[Any], keys: str) -> ColumnElement[bool]:
    """Return the condition that a column contains one of several values.

    Args:
        column: A column of texts or integers.
        keys: The name of the parameter for the list of values.
    """
    of = Text() if column.type.python_type is str else BigInteger()
    return _InKeys(column, bindparam(keys, type_=_Keys(of)))


def in_names(column: ColumnElement[Any], names: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a column contains one of the names that another part of the statement lists.

    Args:
        column: A column of texts.
        names: A list as the database has it: an array, or JSON text on SQLite.
    """
    return _InKeys(column, cast(names, _Keys(Text())))


class _InKeys(FunctionElement[bool]):
    name = "in_keys"
    inherit_cache = True
    # It has no SQL type: for a boolean, SQLite would compare the condition with 1, and then uses no index.


class _Keys(TypeDecorator[Any]):
    """A list as one parameter: an array, or JSON text on SQLite, which has no arrays."""

    impl = Text
    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the parameter."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(self.of))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Convert a list for the database."""
        return json.dumps(value) if dialect.name == "sqlite" else value


@compiles(_InKeys, "sqlite")
def _on_sqlite(element: _InKeys, compiler: SQLCompiler, **how: Any) -> str:
    column, keys = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({keys}))"  # noqa: S608 - parts of a statement, no values


@compiles(_InKeys, "postgresql")
def _on_postgresql(element: _InKeys, compiler: SQLCompiler, **how: Any) -> str:
    column, keys = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} = ANY ({keys})"
