"""Exports on the command line: exact copies of accounts, which `export` writes.

`import` recognizes an export by its first line.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, cast

from cidrgate.cli.errors import BadRowsError, CommandError, RowProblem, shell_message
from cidrgate.cli.evaluations import evaluation_lines
from cidrgate.cli.output import DRY, counted
from cidrgate.errors import AccountExistsError, SubaccountError
from cidrgate.manager.backups import BACKUP_FORMAT
from cidrgate.manager.evaluations import Foresight, collector
from cidrgate.manager.exports import EXPORT_FORMAT, has_format

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from cidrgate.cli.options import Session
    from cidrgate.cli.past_requests import PastRequests
    from cidrgate.errors import CidrgateError
    from cidrgate.foresight.evaluation import ChangedList
    from cidrgate.manager import Guard, RuleManager
    from cidrgate.values import Account, Entry

__all__ = [
    "CSV_LACKS",
    "Exported",
    "exported_lines",
    "import_exported",
    "is_csv",
    "only_for_exports",
    "only_for_lists",
    "refuse_inherited",
]

_LONGEST_FIRST_LINE = 1 << 16
"""Bytes of the first line of an export at most."""


CSV_LACKS = (
    "CSV is no whole copy: it lacks accounts without entries, subaccounts, settings of accounts, authors, times of "
    "creation, and expired entries beside current ones; export without --csv for a copy that decides like the original"
)

_MOST_NAMED = 20
"""How many accounts with a problem a message names; a program gets all of them."""


def is_csv(name: str) -> bool:
    """Return whether the name of a file says that it is CSV.

    Example:
        >>> is_csv("lists.csv"), is_csv("lists.csv.gz"), is_csv("lists.jsonl"), is_csv("-")
        (True, True, False, False)
    """
    return name.lower().removesuffix(".gz").endswith(".csv")


class Exported:
    """Counts what is exported.

    Attributes:
        accounts: The number of accounts.
        entries: The number of entries.
    """

    def __init__(self) -> None:
        self.accounts = 0
        self.entries = 0

    def __str__(self) -> str:
        """Return the counts for people."""
        return f"{counted(self.entries, 'entry', 'entries')} of {counted(self.accounts, 'account', 'accounts')}"

    def lines_of(self, manager: RuleManager, names: Sequence[str], progress: Callable[[int], object]) -> Iterator[str]:
        """Yield the lines of an export; all accounts if none is named."""
        line = ""
        for line in manager.export(names or None, progress=progress):
            yield line
        end = json.loads(line)["end"]
        self.accounts, self.entries = end["account_count"], end["entry_count"]

    def lists_of(
        self, manager: RuleManager, names: Sequence[str], progress: Callable[[int], object]
    ) -> Iterator[Sequence[Entry]]:
        """Yield lists for a table; of all accounts with entries, if none is named.

        Expired entries are left out, as a sweep would remove them, unless all have expired: without them, nobody would
        see that the account is enforced.
        """
        for name in names or _maybe_listed(manager):
            refuse_inherited(manager.account(name))
            listed, now = manager.entries(name), datetime.now(UTC)
            if not (names or listed):
                continue
            entries = [entry for entry in listed if entry.counts(now)] or listed
            self.accounts += 1
            self.entries += len(entries)
            yield entries
            progress(1)


def _maybe_listed(manager: RuleManager) -> list[str]:
    """Return the accounts that have entries, and few others: a state does not say whether entries have expired."""
    states = manager.list_states()
    owners = [one.name for one in manager.accounts() if one.parent is None]
    return [name for name in owners if states[name].entries or states[name].enforced or states[name].mode != "enforce"]


def refuse_inherited(account: Account) -> None:
    """Refuse a subaccount, which has no list.

    Raises:
        SubaccountError: If the account is a subaccount.
    """
    if account.parent is not None:
        raise SubaccountError(
            f"account {account.name!r} is a subaccount: its list is that of {account.parent!r}; "
            f"name {account.parent!r} instead"
        )


def exported_lines(stream: IO[bytes]) -> tuple[Iterator[str] | None, IO[bytes]]:
    """Return the lines of a file if it is an export, otherwise None; and the file from its beginning."""
    first = stream.readline(_LONGEST_FIRST_LINE)
    said = first.decode("utf-8-sig", "replace")
    if has_format(said, BACKUP_FORMAT):
        raise CommandError("this file is a backup of a whole store: restore it with `cidrgate restore-backup`")
    if has_format(said, EXPORT_FORMAT):
        return chain([first.decode("utf-8-sig")], (line.decode(errors="surrogateescape") for line in stream)), stream
    if stream.seekable():
        stream.seek(0)
        return None, stream
    return None, cast("IO[bytes]", io.BufferedReader(_Whole(first, stream)))


class _Whole(io.RawIOBase):
    """A stream that cannot go back, with its beginning, which was read already."""

    def __init__(self, beginning: bytes, rest: IO[bytes]) -> None:
        self._parts = [beginning]
        self._rest = rest

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        part = self._parts.pop() if self._parts else self._rest.read(len(buffer))
        read, later = part[: len(buffer)], part[len(buffer) :]
        if later:
            self._parts.append(later)
        buffer[: len(read)] = read
        return len(read)


def only_for_exports(options: Mapping[str, object]) -> None:
    """Refuse options that mean nothing for lists of other programs.

    Args:
        options: The options by name, with their values.

    Raises:
        CommandError: If one was given.
    """
    for name in _given(options):
        raise CommandError(f"{name} is for exports of cidrgate, and this file is none: leave it out")


def only_for_lists(options: Mapping[str, object]) -> None:
    """Refuse options that mean nothing for an export.

    Args:
        options: The options by name, with their values.

    Raises:
        CommandError: If one was given.
    """
    for name in _given(options):
        raise CommandError(f"{name} is for lists of other programs, and this file is an export: leave it out")


def _given(options: Mapping[str, object]) -> list[str]:
    return [name for name, value in options.items() if value is not None and value is not False and value != []]


def import_exported(
    session: Session,
    lines: Iterable[str],
    *,
    replace_existing: bool,
    skip_existing: bool,
    create: bool,
    empty: bool,
    confirmed: Collection[Guard],
    dry_run: bool,
    past: PastRequests,
) -> None:
    """Import an export: all of its accounts, or nothing if one has a problem."""
    opened = session.open(create=create, dry_run=dry_run)
    changes: list[ChangedList] = []
    foresight = Foresight()
    with opened as manager, session.output.progress("importing accounts") as advance:
        if dry_run:
            manager = manager.with_hooks(before_store=collector(changes))
        report = manager.import_export(
            lines,
            replace=replace_existing,
            skip_existing=skip_existing,
            create=create,
            dry_run=dry_run,
            allow_empty=empty,
            actor=session.actor,
            confirmed=confirmed,
            progress=advance,
        )
        if dry_run and not report.problems:
            foresight = past.foresight_of_lists(session, manager, changes)
    if report.problems:
        problems = [
            RowProblem((), account, error.code, "", (), _message(error)) for account, error in report.problems.items()
        ]
        left = len(problems) - _MOST_NAMED
        more = f" ({left:,} more accounts have problems)" if left > 0 and not session.output.json else ""
        raise BadRowsError(
            f"nothing was imported, because a part of an export is no copy of it{more}",
            problems if session.output.json else problems[:_MOST_NAMED],
        )
    record = {
        "account_count": report.accounts,
        "entry_count": report.entries,
        "created_count": report.created,
        "unchanged_count": report.unchanged,
        "refused": [],
    }
    amount = f"{counted(report.entries, 'entry', 'entries')} of {counted(report.accounts, 'account', 'accounts')}"
    left_alone = (
        f"; {counted(report.unchanged, 'account stayed as it was', 'accounts stayed as they were')}"
        if report.unchanged
        else ""
    )
    if dry_run:
        session.output.answer(
            {**record, "dry_run": True, **foresight.record()},
            f"would import {amount}, {report.created:,} of them to be created{left_alone}",
            *evaluation_lines(foresight),
            DRY,
        )
    else:
        session.output.answer(record, f"imported {amount}, {report.created:,} of them created{left_alone}")


def _message(error: CidrgateError) -> str:
    if isinstance(error, AccountExistsError):
        return f"{error}: --skip-existing or --replace"
    return shell_message(error)
