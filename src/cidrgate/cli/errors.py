"""The errors of the command line itself; all other errors come from the layers below."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cidrgate.cli.suggestions import suggested
from cidrgate.errors import (
    AccountNotFoundError,
    CidrgateError,
    HistoryError,
    SessionNotFoundError,
    TokenNotFoundError,
    UnconfirmedChangeError,
    WouldDisableEnforcementError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["BadRowsError", "CommandError", "NotConfirmedError", "PartialImportError", "RowProblem", "shell_message"]


def shell_message(error: CidrgateError) -> str:
    """Return the message of an error for the shell: with the option or the command that helps.

    Example:
        >>> from cidrgate.errors import WouldDisableEnforcementError
        >>> shell_message(WouldDisableEnforcementError(account="a")).partition(". ")[2]
        'Nothing was changed: say --empty if that is wanted'
    """
    if isinstance(error, WouldDisableEnforcementError) and "allow_empty" in error.way:
        return error.told("say --empty")
    if isinstance(error, UnconfirmedChangeError):
        return error.told(f"say {' '.join(f'--confirm {name}' for name in error.confirm)}")
    if isinstance(error, AccountNotFoundError) and error.account is not None:
        return f"{error}: `{suggested('account create', error.account)}`"
    helpful = _helpful_command(error)
    return str(error) if helpful is None else f"{error}; see `{suggested(helpful)}`"


def _helpful_command(error: CidrgateError) -> str | None:
    """Return the command that shows what exists instead, or None."""
    if isinstance(error, TokenNotFoundError):
        return "token list"
    if isinstance(error, SessionNotFoundError):
        return "session list"
    if isinstance(error, HistoryError):
        return "history ACCOUNT"
    return None


MOST_ROW_PROBLEMS = 1_000
"""The most problems with rows that an error lists; `BadRowsError.more` counts the rest."""


class CommandError(CidrgateError):
    """A command cannot be carried out as it was typed, or with the given file."""

    code = "command"


class NotConfirmedError(CommandError):
    """A command deletes what nothing can restore, and nobody has confirmed it; nothing was changed."""

    code = "not_confirmed"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A problem with a row, or with all rows of an account.

    Attributes:
        lines: The line numbers, ascending, from 1; empty if the problem is about an account as a whole.
        account: The account; None if the row does not contain one.
        code: The code of a rule or an error, or `unreadable_row`.
        text: The network as it was written; empty if the problem is not about a network.
        conflicts: The CIDRs that it conflicts with.
        message: What is wrong and how to correct it.
        suggestions: What could be written instead of the network.
        unit: What the numbers count: lines, or what else the file has instead.
    """

    lines: tuple[int, ...]
    account: str | None
    code: str
    text: str
    conflicts: tuple[str, ...]
    message: str
    suggestions: tuple[str, ...] = ()
    unit: str = "line"

    def __str__(self) -> str:
        """Return one line for a person."""
        where = [f"{self.unit}{'s' if len(self.lines) > 1 else ''} {_line_ranges(self.lines)}"] if self.lines else []
        return ": ".join([*where, *([] if self.account is None else [self.account]), self.message])

    def record(self) -> dict[str, Any]:
        """Return a JSON object for a program."""
        return {
            "lines": list(self.lines),
            "account": self.account,
            "code": self.code,
            "text": self.text,
            "conflicts": list(self.conflicts),
            "detail": self.message,
            "suggestions": list(self.suggestions),
        }


class BadRowsError(CommandError):
    """A file has bad rows, and nothing was imported.

    Args:
        message: What this means for the other rows of the file.
        problems: The problems, in the order of the lines. The first `MOST_ROW_PROBLEMS` are kept.

    Attributes:
        problems: The first problems.
        more: How many problems there are beyond those in `problems`.
        counts: How many problems there are of each code, the most frequent first.
    """

    code = "bad_rows"

    def __init__(self, message: str, problems: Iterable[RowProblem]) -> None:
        super().__init__(message)
        found = list(problems)
        self.problems = found[:MOST_ROW_PROBLEMS]
        self.more = len(found) - len(self.problems)
        self.counts = dict(Counter(problem.code for problem in found).most_common())


class PartialImportError(BadRowsError):
    """A file has bad rows: the accounts of these rows were not imported, the other accounts were."""

    code = "partial_import"


def _line_ranges(lines: Sequence[int]) -> str:
    """Format ascending line numbers for people.

    Example:
        >>> _line_ranges([2, 3, 4, 7, 9, 10])
        '2-4, 7, 9-10'
    """
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
