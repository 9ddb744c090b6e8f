"""The errors of the command line itself; every other comes from the layers below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cidrgate.errors import CidrgateError, WouldDisableEnforcementError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["BadRowsError", "CommandError", "RowProblem", "shell_message"]


def shell_message(error: CidrgateError) -> str:
    """What an error says on the shell: a change is confirmed with an option there.

    Example:
        >>> from cidrgate.errors import WouldDisableEnforcementError
        >>> shell_message(WouldDisableEnforcementError("a")).partition(". ")[2]
        'Nothing was changed: say --empty if that is wanted'
    """
    # The shell has no address that a list could deny: there is one guard to confirm.
    return error.told("say --empty") if isinstance(error, WouldDisableEnforcementError) else str(error)


class CommandError(CidrgateError):
    """A command that cannot be carried out as it was typed, or with the file it was given."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with a row, or with all rows of an account.

    Attributes:
        lines: The numbers of the lines, ascending, from 1.
        account: Whose; None if the row does not tell.
        code: A rule's, an error's, or `unreadable_row`.
        text: The network as it was written; empty if the problem is not about one.
        conflicts: The CIDRs it conflicts with.
        message: What is wrong and what to do about it.
    """

    lines: tuple[int, ...]
    account: str | None
    code: str
    text: str
    conflicts: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        """One line for a person."""
        where = f"{'lines' if len(self.lines) > 1 else 'line'} {_line_ranges(self.lines)}"
        return ": ".join([where, *([] if self.account is None else [self.account]), self.message])

    def record(self) -> dict[str, Any]:
        """A JSON object for a machine."""
        return {
            "lines": list(self.lines),
            "account": self.account,
            "code": self.code,
            "text": self.text,
            "conflicts": list(self.conflicts),
            "message": self.message,
        }


class BadRowsError(CommandError):
    """A file with rows that were not imported.

    Args:
        message: What that means for the rest of the file.
        problems: What is wrong, in the order of the lines.
    """

    def __init__(self, message: str, problems: Iterable[RowProblem]) -> None:
        super().__init__(message)
        self.problems = list(problems)


def _line_ranges(lines: Sequence[int]) -> str:
    """Ascending line numbers as people write them.

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
