"""The rows of tables as JSON objects, made of the columns that `schema` declares, for exports and backups.

A column that is added to a table is written and read without being named again. Only keys are named here: they are
numbers of one store, and an export replaces them by names.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import JSON, BigInteger, Boolean, Integer
from sqlalchemy.sql.elements import BindParameter, True_

from cidrgate.stores.bulk import compact
from cidrgate.stores.entry_rows import stored_cidr
from cidrgate.stores.schema import UtcTime, utc_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Column, Table

__all__ = ["RowField", "fields_of", "record_of", "stored_form", "values_of"]

_KINDS: tuple[tuple[type, type], ...] = (
    (UtcTime, datetime),
    (JSON, object),
    (Boolean, bool),
    (Integer, int),
    (BigInteger, int),
)
"""The types of values by the types of columns; every other column is text."""

_WANTED = {datetime: "a time with a time zone", bool: "true or false", int: "a whole number", str: "text"}


class RowField(NamedTuple):
    """A column as a member of a JSON object.

    Attributes:
        name: The name of the column and of the member.
        kind: The type of its values; `object` for JSON.
        nullable: Whether it can be None.
        default: The value that a record leaves out. A column without a default must be in each record.
        needed: Whether there is no default.
        greatest: The greatest number that every database can hold in the column.
    """

    name: str
    kind: type
    nullable: bool
    default: Any
    needed: bool
    greatest: int = 2**63 - 1

    def to_json(self, value: Any) -> Any:
        """Return a value of the column as JSON has it."""
        if self.name == "cidr":
            with suppress(ValueError):  # what is no network stays as it is, for those who check it
                return stored_cidr(value)
        return utc_text(value) if isinstance(value, datetime) else value

    def from_json(self, value: Any) -> Any:
        """Return the value of the column.

        Raises:
            ValueError: If it cannot be one.
        """
        if value is None and self.nullable:
            return None
        if self.kind is datetime and isinstance(value, str):
            try:
                time = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(f"the {self.name} is {value[:40]!r}, not {_WANTED[datetime]}") from None
            if time.utcoffset() is not None:
                return time.astimezone(UTC)
        elif (self.kind is object and value is not None) or type(value) is self.kind:
            if type(value) is int and self.kind is int and abs(value) > self.greatest:
                raise ValueError(f"the {self.name} is beyond {self.greatest:,}")
            return value
        raise ValueError(f"the {self.name} is {str(value)[:40]!r}, not {_WANTED.get(self.kind, 'JSON')}")


def fields_of(table: Table, *, without: Collection[str] = ()) -> tuple[RowField, ...]:
    """Return the fields of a table, in the order of its columns.

    Args:
        table: The table.
        without: The columns that are left out.

    Example:
        >>> from cidrgate.stores.schema import entries
        >>> [field.name for field in fields_of(entries, without={"id", "account_id"})][:3]
        ['cidr', 'created_at', 'created_by']
    """
    return tuple(_field(column) for column in table.columns if column.name not in without)


def _field(column: Column[Any]) -> RowField:
    kind = next((kind for of, kind in _KINDS if isinstance(column.type, of)), str)
    nullable = bool(column.nullable)
    needed = not nullable and column.server_default is None
    small = isinstance(column.type, Integer) and not isinstance(column.type, BigInteger)
    return RowField(column.name, kind, nullable, _default(column, kind), needed, 2**31 - 1 if small else 2**63 - 1)


def _default(column: Column[Any], kind: type) -> Any:
    """Return the value that the database gives to a row that does not say it."""
    if column.server_default is None:
        return None
    said = getattr(column.server_default, "arg", None)
    if isinstance(said, BindParameter):
        return said.value
    return kind(said) if isinstance(said, str) else isinstance(said, True_)


def record_of(fields: Iterable[RowField], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object of a row, without the values that are defaults.

    Args:
        fields: The fields of the table.
        row: The values by the names of the fields.
    """
    record = {}
    for field in fields:
        value = row[field.name]
        if field.needed or value != field.default:
            record[field.name] = field.to_json(value)
    return record


def stored_form(value: Any) -> Any:
    """Return a value as both databases read it as text: times and JSON are text, everything else stays.

    Example:
        >>> stored_form({"a": [1]}), stored_form(None), stored_form(True)
        ('{"a":[1]}', None, True)
    """
    if isinstance(value, datetime):
        return utc_text(value)
    return compact(value) if isinstance(value, dict | list) else value


def values_of(fields: Collection[RowField], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row from its JSON object.

    Raises:
        ValueError: If a member is missing, is unknown, or has a wrong type.
    """
    values = {}
    for field in fields:
        if field.name in record:
            values[field.name] = field.from_json(record[field.name])
        elif field.needed:
            raise ValueError(f"the {field.name} is missing")
        else:
            values[field.name] = field.default
    if len(record) > len(values) or not record.keys() <= values.keys():
        unknown = sorted(record.keys() - values.keys())
        raise ValueError(f"the field {unknown[0][:40]!r} is unknown: a newer cidrgate may have written this")
    return values
