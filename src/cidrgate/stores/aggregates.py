"""Aggregate functions that every database has in another form.

They have no parameters besides their columns: SQLAlchemy would write a parameter such as a separator into the text of
the statement again at each execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ["expiries_by_cidr", "joined"]


def joined(texts: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the texts of the rows of a group, separated by commas; NULL if there are none."""
    return _Joined(texts)


class _Joined(FunctionElement[str]):
    name = "joined"
    type = Text()
    inherit_cache = True


@compiles(_Joined, "sqlite")
def _joined_on_sqlite(element: _Joined, compiler: SQLCompiler, **how: Any) -> str:
    return f"group_concat({compiler.process(element.clauses, **how)}, ',')"


@compiles(_Joined, "postgresql")
def _joined_on_postgresql(element: _Joined, compiler: SQLCompiler, **how: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **how)}, ',')"


def expiries_by_cidr(cidr: ColumnElement[Any], expiry: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the expiry times of the rows of a group, as the text of a JSON object; NULL if no row has one.

    Args:
        cidr: The names of the members, as text.
        expiry: The times. A row without a time, or without a name, is left out.
    """
    return _ExpiriesByCidr(cidr, expiry, and_(cidr.is_not(None), expiry.is_not(None)))


class _ExpiriesByCidr(FunctionElement[str]):
    name = "expiries_by_cidr"
    type = Text()
    inherit_cache = True


@compiles(_ExpiriesByCidr, "sqlite")
def _expiries_on_sqlite(element: _ExpiriesByCidr, compiler: SQLCompiler, **how: Any) -> str:
    cidr, expiry, present = (compiler.process(part, **how) for part in element.clauses)
    # Without a row, the object would be empty, not NULL.
    return f"CASE WHEN count({expiry}) THEN json_group_object({cidr}, {expiry}) FILTER (WHERE {present}) END"


@compiles(_ExpiriesByCidr, "postgresql")
def _expiries_on_postgresql(element: _ExpiriesByCidr, compiler: SQLCompiler, **how: Any) -> str:
    cidr, expiry, present = (compiler.process(part, **how) for part in element.clauses)
    return f"CAST(json_object_agg({cidr}, {expiry}) FILTER (WHERE {present}) AS text)"
