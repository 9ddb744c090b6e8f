"""Backups: files with everything of a store that has to outlive it, also the change log and the hashes of tokens.

A backup is text, one JSON object on each line:

    {"format": "cidrgate backup", "version": 1, "schema": "0006.2", "tables": {"accounts": ["id", "name", …], …}, …}
    {"accounts": [[1, "acct-1", …], …]}
    {"end": {"rows": {"accounts": 1, …}, "sha256": "…"}}

The first line names the columns of each table, which are those of `cidrgate.stores.schema`. The last line contains the
number of rows and the SHA-256 digest of the lines before it, so a file that was cut off or damaged is never restored.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cidrgate.errors import InvalidCopyError, RuleError, StoreNotEmptyError
from cidrgate.manager.copied_settings import check_settings
from cidrgate.manager.exports import ANY_LIST, check_version, json_line, object_of, refuse_more
from cidrgate.manager.policies import checked_options, stored_policy
from cidrgate.rules import validate_replacement
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cidrgate.stores import Transaction
    from cidrgate.stores.table_rows import RowField

__all__ = ["BACKUP_FORMAT", "BackupReport", "backup_lines", "report_of_line", "restore_lines"]

BACKUP_FORMAT = "cidrgate backup"
"""The member `format` of the first line."""

BACKUP_VERSION = 1
"""The member `version` of the first line."""

_END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a backup contains.

    Attributes:
        accounts: The number of accounts.
        entries: The number of entries.
        changes: The number of rows of the change log.
        tokens: The number of tokens, also of those that are revoked.
    """

    accounts: int
    entries: int
    changes: int
    tokens: int

    @classmethod
    def of(cls, rows: dict[str, int]) -> BackupReport:
        """Return the report of a backup with these numbers of rows, by table."""
        return cls(accounts=rows["accounts"], entries=rows["entries"], changes=rows["changes"], tokens=rows["tokens"])


def backup_lines(transaction: Transaction, progress: Callable[[int], object] | None = None) -> Iterator[str]:
    """Yield the lines of a backup.

    Args:
        transaction: A read transaction, which sees one moment.
        progress: Called with the number of rows since the last call.
    """
    from cidrgate.stores.backups import BACKED_UP, facts_of, read_rows
    from cidrgate.stores.migrations import HEAD

    digest = hashlib.sha256()
    counts = dict.fromkeys(BACKED_UP, 0)

    def line(record: dict[str, Any]) -> str:
        text = json_line(record)
        digest.update(text.encode())
        return text

    yield line(
        {
            "format": BACKUP_FORMAT,
            "version": BACKUP_VERSION,
            "schema": HEAD,
            "facts": facts_of(transaction),
            "last_ids": transaction.last_ids(),
            "tables": {name: [field.name for field in fields] for name, fields in BACKED_UP.items()},
        }
    )
    for name, rows in read_rows(transaction):
        counts[name] += len(rows)
        yield line({name: rows})
        if progress is not None:
            progress(len(rows))
    yield json_line({_END: {"rows": counts, "sha256": digest.hexdigest()}})


def report_of_line(last_line: str) -> BackupReport:
    """Return what a backup with this last line contains."""
    return BackupReport.of(json.loads(last_line)[_END]["rows"])


def restore_lines(
    transaction: Transaction, lines: Iterable[str], progress: Callable[[int], object] | None = None
) -> BackupReport:
    """Write a backup to an empty store.

    Args:
        transaction: A write transaction. The caller rolls it back after an error.
        lines: The lines of the file.
        progress: Called with the number of rows since the last call.

    Raises:
        InvalidCopyError: If the file is damaged, incomplete or of a newer version.
        StoreNotEmptyError: If the store is not empty.
    """
    from cidrgate.stores.backups import TABLES, is_empty, take_over, write_rows

    if not is_empty(transaction):
        raise StoreNotEmptyError("the store is not empty: restore a backup to a new store; nothing was changed")
    transaction.expect_all()
    tables = {table.name: table for table in TABLES}
    digest = hashlib.sha256()
    counts = dict.fromkeys(tables, 0)
    header: dict[str, Any] | None = None
    fields: dict[str, list[RowField]] = {}
    number = 0
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        record = object_of(line, number)
        try:
            if header is None:
                header, fields = record, _fields_of(record)
            elif _END in record:
                _check_end(record[_END], counts, digest.hexdigest())
                refuse_more(numbered, "backup")
                break
            else:
                [(name, rows)] = record.items()
                counts[name] += write_rows(transaction, tables[name], fields[name], rows)
                if progress is not None:
                    progress(len(rows))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, InvalidCopyError):
                raise
            raise InvalidCopyError(
                f"line {number} is not a line of a backup: {error}; nothing was restored", line=number
            ) from None
        digest.update(line.encode())
    else:
        raise InvalidCopyError(
            "the file ends without its last line, so it was cut off; nothing was restored"
            if number
            else "the file is empty; nothing was restored"
        )
    try:
        take_over(transaction, header["facts"], header["last_ids"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidCopyError(f"line 1 is not the first line of a backup: {error}", line=1) from None
    _check_lists(transaction)
    return BackupReport.of(counts)


def _fields_of(header: dict[str, Any]) -> dict[str, list[RowField]]:
    """Return the columns of each table of a backup.

    Raises:
        InvalidCopyError: If this cidrgate does not know the version, the schema, a table or a column.
    """
    from cidrgate.stores.backups import BACKED_UP
    from cidrgate.stores.migrations import HEAD

    if header.get("format") != BACKUP_FORMAT:
        raise InvalidCopyError("the file is not a backup of cidrgate: its first line does not say so")
    check_version(header, BACKUP_VERSION)
    if str(header["schema"]) > HEAD:
        raise InvalidCopyError(
            f"the backup has schema version {header['schema']}, made by a newer cidrgate; this one knows versions up "
            f"to {HEAD}: upgrade cidrgate",
            line=1,
        )
    found = {}
    for name, columns in header["tables"].items():
        known = {field.name: field for field in BACKED_UP[name]}
        found[name] = [known[column] for column in columns]
        missing = [field.name for field in known.values() if field.needed and field.name not in columns]
        if missing or len(set(columns)) < len(columns):
            raise InvalidCopyError(f"line 1: the columns of {name} are {columns}", line=1)
    return found


def _check_end(end: Any, counts: dict[str, int], digest: str) -> None:
    if end["rows"] != counts or end["sha256"] != digest:
        raise InvalidCopyError(
            f"the file is damaged or was changed: its last line does not fit to its {json.dumps(counts)} rows; nothing "
            "was restored"
        )


def _check_lists(transaction: Transaction) -> None:
    """Refuse lists that no store may contain: a file may have been written by another program."""
    from cidrgate.stores.copies import ACCOUNT_FIELDS, read_copies
    from cidrgate.stores.table_rows import values_of

    try:
        checked_options(
            {name: value for name, value in (stored_policy(transaction) or {}).items() if name != "version"}
        )
    except (TypeError, ValueError) as error:
        raise InvalidCopyError(f"{error}; nothing was restored", line=1) from None
    for account, listed in read_copies(transaction):
        name, cidrs = account["name"], [entry["cidr"] for entry in listed]
        try:
            check_settings(values_of(ACCOUNT_FIELDS, account), account.get("parent"))
        except ValueError as error:
            raise InvalidCopyError(f"{error}; nothing was restored") from None
        try:
            canonical = validate_replacement(list(map(NewEntry, cidrs)), ANY_LIST)
        except RuleError as error:
            raise InvalidCopyError(f"account {name!r}: {error}; nothing was restored") from None
        if canonical != cidrs or ("parent" in account and cidrs):
            raise InvalidCopyError(f"the list of account {name!r} is invalid; nothing was restored")
