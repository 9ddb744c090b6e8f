"""Records of CSV, which may be several lines: how they are joined, and the spaces that people write around quotes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["CsvLines", "is_half_quoted", "loosely_quoted", "unclosed_quote"]

_QUOTED = re.compile(r'[ \t\u00a0]*+"((?:[^"]++|"")*+)"[ \t\u00a0]*+')
_QUOTED_BETWEEN_TABS = re.compile(r'[ \u00a0]*+"((?:[^"]++|"")*+)"[ \u00a0]*+')
"""A cell in quotes, with the spaces around it."""


class CsvLines:
    """The lines of a table without its comments, and those of the record that `csv.reader` reads.

    Args:
        lines: The lines with their ends.
        signs: How comments begin.
        number: How many lines were read before these.

    Attributes:
        number: The number of the last line that was read.
        comments: How many comments there were.
        record: The lines of the record; who has read it clears them.
    """

    def __init__(self, lines: Iterable[str], signs: tuple[str, ...] = (), number: int = 0) -> None:
        self._lines = iter(lines)
        self._signs = signs
        self.number = number
        self.comments = 0
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if not self.record:
                if line.startswith("\ufeff"):  # of a file that was appended to another one
                    line = line[1:]
                if line.startswith(self._signs):
                    self.comments += 1
                    continue
            self.record.append(line)
            yield line

    @property
    def first(self) -> int:
        """The number of the first line of the record."""
        return self.number - len(self.record) + 1


def unclosed_quote(lines: CsvLines, problem: object) -> str:
    """Return what a person must know about a record of several lines that is not valid.

    Args:
        lines: The lines, of which the record is not cleared.
        problem: What is wrong with it.
    """
    return (
        f"lines {lines.first} to {lines.number} cannot be split into rows, probably because a quote opened in line "
        f"{lines.first} is not closed there ({problem})"
    )


def loosely_quoted(line: str, separator: str) -> list[str] | None:
    """Return the cells of a line with spaces around quotes, or None if its quotes have another fault.

    Example:
        >>> loosely_quoted('a, "b, c" ,d', ","), loosely_quoted('a,"b"c', ",")
        (['a', 'b, c', 'd'], None)
    """
    line = line.rstrip("\r\n")
    cells: list[str] = []
    end = -1
    while end < len(line):
        begin = end + 1
        found = _QUOTED_BETWEEN_TABS.match(line, begin) if separator == "\t" else _QUOTED.match(line, begin)
        if found is not None:
            cell, end = found[1].replace('""', '"'), found.end()
            if end < len(line) and line[end] != separator:
                return None
        else:
            cell = line[begin:].partition(separator)[0]
            end = begin + len(cell)
            if '"' in cell:
                return None
        cells.append(cell)
    return cells


def is_half_quoted(cells: Sequence[str]) -> bool:
    """Return whether a quote with spaces before it begins a cell and is not closed there.

    Such a cell may go on in the next line, which is then no row.

    Args:
        cells: The cells of a record as `csv.reader` reads them, for which such a quote is a part of the value.

    Example:
        >>> is_half_quoted(["a", ' "b']), is_half_quoted(["a", ' "b" c']), is_half_quoted(["a", '5" disk'])
        (True, False, False)
    """
    return any(cell[:1].isspace() and cell.lstrip().startswith('"') and cell.count('"') % 2 for cell in cells)
