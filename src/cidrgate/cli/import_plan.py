"""Groups the rows of a file into the lists of accounts, and maps problems of a list back to lines of the file.

Pure: this module reads no file and no store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cidrgate.cli.errors import RowProblem, shell_message
from cidrgate.errors import CidrgateError, RuleError
from cidrgate.lists.normalizing import normalized_entries
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cidrgate.lists.normalizing import Note, Rewritten
    from cidrgate.lists.rows import Row

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
        notes: What was done to the networks of an account, and the lines to which the positions of the notes refer.
    """

    lists: dict[str, list[NewEntry]] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    unreadable: dict[str, dict[int, str]] = field(default_factory=dict)
    stray: list[RowProblem] = field(default_factory=list)
    notes: list[tuple[str, list[Note], list[int]]] = field(default_factory=list)

    def rewritten(self, *, normalize: bool, collapse: bool) -> Iterator[tuple[str, list[NewEntry]]]:
        """Yield the list of each account with its networks in the form that the rules want.

        The plan changes as they are read, and `notes` says what was done. So an import stores the first lists while the
        others are still rewritten.

        Args:
            normalize: Whether other notations become CIDRs.
            collapse: Whether to leave out repeated and covered networks, and to join neighbours.
        """
        for account, entries in self.lists.items():
            if normalize or collapse:
                made = normalized_entries(entries, normalize=normalize, collapse=collapse)
                if made.entries is not entries:
                    self._take(account, made)
            yield account, self.lists[account]

    def _take(self, account: str, made: Rewritten) -> None:
        """Keep the rewritten list of an account, with the lines and the problems of its entries."""
        lines, unreadable = self.lines[account], self.unreadable.get(account)
        self.lists[account] = made.entries
        self.lines[account] = [lines[source] for source in made.sources]
        if unreadable:
            self.unreadable[account] = {
                position: unreadable[source] for position, source in enumerate(made.sources) if source in unreadable
            }
        self.notes.append((account, made.notes, lines))

    def problems(self, refused: Mapping[str, CidrgateError], unit: str = "line") -> list[RowProblem]:
        """Return the problems of the file, in the order of its lines.

        Args:
            refused: The reason for each account that could not be stored.
            unit: What the numbers of the lines count.
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
                    found.append(
                        RowProblem(
                            line,
                            account,
                            problem.code,
                            problem.text,
                            problem.conflicts,
                            str(problem),
                            problem.suggestions,
                        )
                    )
        return sorted((replace(problem, unit=unit) for problem in found), key=lambda problem: problem.lines)


def plan_import(rows: Iterable[Row]) -> ImportPlan:
    """Group the rows of a file by account; the rows of one account may be anywhere in it.

    Example:
        >>> from cidrgate.lists.rows import Row
        >>> from cidrgate.values import NewEntry
        >>> networks = {2: ("a", "8.8.8.0/24"), 3: ("b", "9.9.9.9/32"), 4: ("a", "1.1.1.1/32")}
        >>> rows = [Row(line, account, NewEntry(cidr)) for line, (account, cidr) in networks.items()]
        >>> plan = plan_import(rows)
        >>> plan.lines
        {'a': [2, 4], 'b': [3]}
    """
    plan = ImportPlan()
    lists: dict[str, tuple[list[NewEntry], list[int]]] = {}
    for line, account, entry, problem in rows:
        if account is None:
            plan.stray.append(RowProblem((line,), None, UNREADABLE, "", (), problem))
            continue
        found = lists.get(account)
        if found is None:
            found = lists[account] = [], []
        entries, lines = found
        lines.append(line)
        if problem:
            plan.unreadable.setdefault(account, {})[len(entries)] = problem
            entries.append(NewEntry(""))
        else:
            entries.append(entry)
    for account, (entries, lines) in lists.items():
        plan.lists[account], plan.lines[account] = entries, lines
    return plan
