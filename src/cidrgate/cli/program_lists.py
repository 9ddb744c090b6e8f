"""Lists as configuration of other programs, which `export --format` writes.

Such a file decides as cidrgate does when it is written, and no longer: `ProgramLists.notes` says what it lacks.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from cidrgate.cli.errors import CommandError
from cidrgate.cli.exports import refuse_inherited
from cidrgate.cli.output import counted
from cidrgate.formatters import FORMATTERS, AccountList, UnwritableListError
from cidrgate.serialization import utc_text
from cidrgate.values import list_state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cidrgate.manager import RuleManager

__all__ = ["ProgramFormat", "ProgramLists", "Unenforced"]

_IN_MEMORY = 1 << 24
"""Bytes of a file that stay in memory until it is complete."""

_PIECE = 1 << 16
"""Characters that are copied at a time."""

_MOST_NAMED = 20
"""How many accounts a message names."""


class ProgramFormat(StrEnum):
    """The name of a formatter."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    ENVOY = "envoy"
    NFTABLES = "nftables"
    AWS_WAF = "aws-waf"


class Unenforced(StrEnum):
    """What is written for an account whose list does not deny: it is paused, report-only, or has no entries."""

    ALLOW = "allow"
    ENFORCE = "enforce"


class ProgramLists:
    """Writes lists for a program, and counts them.

    Args:
        manager: Where the lists are.
        form: The program.
        unenforced: What is written for accounts that are not enforced; None to refuse them.

    Attributes:
        accounts: The number of accounts that were written, with subaccounts.
        entries: The number of networks that were written, once for each list.
    """

    def __init__(self, manager: RuleManager, form: ProgramFormat, unenforced: Unenforced | None) -> None:
        self._manager = manager
        self._formatter = FORMATTERS[form]
        self._unenforced = unenforced
        self.accounts = 0
        self.entries = 0
        self._expiries: list[datetime] = []
        self._open: list[str] = []
        self._subaccounts = 0

    @contextmanager
    def written(self, names: Sequence[str], progress: Callable[[int], object]) -> Iterator[Iterator[str]]:
        """Yield the lines of a file, after all of them were made: a list that cannot be written leaves no half a file.

        Args:
            names: The accounts; all of them if none is named.
            progress: Called with the number of accounts since the last call.

        Raises:
            CommandError: If a list is not enforced or the program cannot hold it.
            AccountNotFoundError: If there is no such account.
            SubaccountError: If a subaccount is named.
        """
        for name in names:
            refuse_inherited(self._manager.account(name))
        accounts = self._manager.accounts() if not names else []
        owners = names or [one.name for one in accounts if one.parent is None]
        self._refuse_unenforced(owners)
        subaccounts: dict[str, list[str]] = {name: [] for name in owners}
        for one in accounts or (one for name in names for one in self._manager.accounts(parent=name)):
            if one.parent is not None:
                subaccounts.setdefault(one.parent, []).append(one.name)
        with cast("IO[str]", SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="")) as made:
            try:
                for piece in self._formatter.write(self._lists(subaccounts, progress)):
                    made.write(piece)
            except UnwritableListError as error:
                raise CommandError(f"{error}; nothing was written: name the other accounts") from None
            made.seek(0)
            yield iter(lambda: made.read(_PIECE), "")

    def _refuse_unenforced(self, owners: Sequence[str]) -> None:
        if self._unenforced is not None:
            return
        found = [name for name, state in self._manager.list_states(owners).items() if not state.enforced]
        if not found:
            return
        named = ", ".join(map(repr, sorted(found)[:_MOST_NAMED]))
        more = f" and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
        raise CommandError(
            f"cidrgate denies no address for {counted(len(found), 'account', 'accounts')} ({named}{more}), as the list "
            "is empty or its mode is report_only or off. Nothing was written: say --unenforced allow to write that "
            "every address is allowed, --unenforced enforce to write the list as if it were enforced (an empty list "
            "denies every address), or name other accounts"
        )

    def _lists(self, subaccounts: dict[str, list[str]], progress: Callable[[int], object]) -> Iterator[AccountList]:
        for name, inheriting in subaccounts.items():
            account, listed = self._manager.listing(name)
            now = datetime.now(UTC)
            entries = [entry for entry in listed if entry.matches(now)]
            cidrs: tuple[str, ...] | None = tuple(entry.cidr for entry in entries)
            if not list_state_of(len(entries), bool(listed) or account.closed, account, now).enforced:
                self._open.append(name)
                if self._unenforced is None:  # since the other accounts were read
                    self._refuse_unenforced([name])
                if self._unenforced is not Unenforced.ENFORCE:
                    cidrs, entries = None, []
            self._expiries += [entry.expires_at for entry in entries if entry.expires_at is not None]
            self._subaccounts += len(inheriting)
            written = tuple(inheriting) if self._formatter.finds_account else ()
            self.accounts += 1 + len(written)
            self.entries += len(entries)
            yield AccountList(account=name, subaccounts=written, cidrs=cidrs)
            progress(1)

    def notes(self) -> Iterator[str]:
        """Yield what the file lacks, for people."""
        yield (
            f"{self._formatter.subject} decides as cidrgate does now: it lacks later changes, modes, expiries and "
            f"reports; a request for an account that is not in it {self._formatter.unknown}"
        )
        if self._expiries:
            yield (
                f"{counted(len(self._expiries), 'entry expires', 'entries expire')}, the first at "
                f"{utc_text(min(self._expiries))}: write the file again by then, as it goes on to allow them"
            )
        if self._open:
            meaning = (
                "the file denies what is not on their lists, which is stricter"
                if self._unenforced is Unenforced.ENFORCE
                else "the file allows every address for them, also after cidrgate begins to enforce them"
            )
            yield f"cidrgate denies no address for {counted(len(self._open), 'account', 'accounts')}: {meaning}"
        if self._subaccounts and not self._formatter.finds_account:
            yield (
                f"{counted(self._subaccounts, 'subaccount is', 'subaccounts are')} not written: use the list of the "
                "parent for their requests"
            )

    def record(self) -> dict[str, Any]:
        """Return what the file has and lacks, for a program."""
        return {
            "account_count": self.accounts,
            "entry_count": self.entries,
            "expiring_count": len(self._expiries),
            "first_expiry": utc_text(min(self._expiries)) if self._expiries else None,
            "unenforced_count": len(self._open),
        }

    def __str__(self) -> str:
        """Return the counts for people."""
        return f"{counted(self.entries, 'entry', 'entries')} of {counted(self.accounts, 'account', 'accounts')}"
