"""Groups the rows of a file into the lists of accounts, and maps problems of a list back to lines of the file.

Pure: this module reads no file and no store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cidrgate.cli.errors import RowProblem, shell_message
from cidrgate.errors import CidrgateError, RuleError
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cidrgate.cli.list_files import Row

__all__ = ["ImportPlan", "plan_import"]

UNREADABLE = "unreadable_row"
"""The code of a row that could not be read as an entry."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The lists that a file contains.

    A row that cannot be read becomes an entry without text in its account's list. No rule allows such an entry: so the
    account is rejected, and all other problems of its list are found as well.

    Attributes:
        lists: The list of each account, its entries in the order of the file.
        lines: The line of each of these entries.
        unreadable: Why entries of an account cannot be read, by their position in its list.
        stray: The rows without a readable account.
    """

    lists: dict[str, list[NewEntry]] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    unreadable: dict[str, dict[int, str]] = field(default_factory=dict)
    stray: list[RowProblem] = field(default_factory=list)

    def problems(self, refused: Mapping[str, CidrgateError]) -> list[RowProblem]:
        """Return the problems of the file, in the order of its lines.

        Args:
            refused: The reason for each account that could not be stored.
        """
        found = list(self.stray)
        for account, error in refused.items():
            lines = self.lines[account]
            unreadable = self.unreadable.get(account, {})
            for position, why in unreadable.items():
                found.append(RowProblem((lines[position],), account, UNREADABLE, "", (), why))
            if not isinstance(error, RuleError):
                found.append(RowProblem(tuple(lines), account, error.code, "", (), shell_message(error)))
                continue
            for problem in error.problems:
                if problem.position not in unreadable:
                    line = (lines[problem.position],)
                    found.append(RowProblem(line, account, problem.code, problem.text, problem.conflicts, str(problem)))
        return sorted(found, key=lambda problem: problem.lines)


def plan_import(rows: Iterable[Row]) -> ImportPlan:
    """Group the rows of a file by account; the rows of one account may be anywhere in it.

    Example:
        >>> from cidrgate.cli.list_files import Row
        >>> from cidrgate.values import NewEntry
        >>> networks = {2: ("a", "8.8.8.0/24"), 3: ("b", "9.9.9.9/32"), 4: ("a", "1.1.1.1/32")}
        >>> rows = [Row(line, account, NewEntry(cidr)) for line, (account, cidr) in networks.items()]
        >>> plan = plan_import(rows)
        >>> plan.lines
        {'a': [2, 4], 'b': [3]}
    """
    plan = ImportPlan()
    for row in rows:
        if row.account is None:
            plan.stray.append(RowProblem((row.line,), None, UNREADABLE, "", (), row.problem))
            continue
        entries = plan.lists.setdefault(row.account, [])
        plan.lines.setdefault(row.account, []).append(row.line)
        if row.problem:
            plan.unreadable.setdefault(row.account, {})[len(entries)] = row.problem
            entries.append(NewEntry(""))
        else:
            entries.append(row.entry)
    return plan
