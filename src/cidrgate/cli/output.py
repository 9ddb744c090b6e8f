"""Writes answers and errors: for a terminal, for a pipe, or as JSON for a program.

Text from outside (account names, labels, arguments) is never markup and never a control sequence here: a character that
would control a terminal is shown as its escape.
"""

from __future__ import annotations

import errno
import json
import sys
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as BoxedTable
from rich.text import Text

from cidrgate.cli.error_records import error_record
from cidrgate.cli.errors import BadRowsError, CommandError, shell_message
from cidrgate.errors import CidrgateError, RuleError
from cidrgate.process.streams import can_be_written, leave
from cidrgate.stores.urls import redacted_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "DRY",
    "Line",
    "Output",
    "Table",
    "a_page",
    "counted",
    "unwritten",
    "value_text",
    "visible",
    "written_if_possible",
]

_Item = TypeVar("_Item")

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that can move a cursor, reverse text, break a line or fail to be encoded."""

_JOINERS = frozenset("\u200c\u200d")
"""Format characters that scripts and emoji need, and that control nothing."""

_MOST_BOXED_ROWS = 1_000
"""A longer table gets no box: its layout would take seconds."""

_MOST_ROW_PROBLEMS_SHOWN = 20
"""How many problems with the rows of a file people get; a program gets more."""

_BORDER = 3
"""How much a box widens a column: a space on both sides, and a line."""


def visible(text: str) -> str:
    r"""Return text that is safe to print on one line: characters that would control a terminal become escapes.

    Example:
        >>> print(visible("a\x1b[31m\nb"), visible("[red]x"))
        a\x1b[31m\nb [red]x
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _STEERING and character not in _JOINERS
        else character
        for character in text
    )


def value_text(value: object) -> str:
    """Return a value of an entry as people read it; times are in UTC, and None is empty.

    Example:
        >>> from datetime import UTC, datetime
        >>> value_text(datetime(2030, 1, 2, tzinfo=UTC)), value_text(True), value_text("office"), value_text(None)
        ('2030-01-02 00:00:00', 'yes', 'office', '')
    """
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "entry", "entries"), counted(20000, "entry", "entries")
        ('1 entry', '20,000 entries')
    """
    return f"{number:,} {one if number == 1 else many}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an answer.

    Attributes:
        text: The text.
        style: The style on a terminal, as rich names it.
    """

    text: str
    style: str = ""


DRY = Line("nothing was changed: this was a dry run", "yellow")
"""The last line of every dry run."""


def a_page(found: Sequence[_Item], limit: int | None) -> tuple[Sequence[_Item], _Item | None]:
    """Return the first items, and the last of them if more follow, otherwise None.

    Args:
        found: The items: one more than `limit`, if there are so many.
        limit: The most items; None for all.

    Example:
        >>> a_page("abc", 2), a_page("ab", 2), a_page("ab", None)
        (('ab', 'b'), ('ab', None), ('ab', None))
    """
    return (found, None) if limit is None or len(found) <= limit else (found[:limit], found[limit - 1])


@dataclass(frozen=True, slots=True)
class Table:
    """A table of an answer.

    Attributes:
        columns: The headings.
        rows: The cells, one text for each column.
        right: The columns of numbers, aligned to the right.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: frozenset[str] = field(default=frozenset())


class Output:
    """The two streams of one command.

    Args:
        json: Whether answers and errors are JSON.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def check_stdout(self) -> None:
        """Refuse to begin a command whose answer nobody could get.

        Raises:
            CommandError: If stdout is closed.
        """
        if not can_be_written(sys.stdout):
            raise CommandError(
                "stdout is closed, so there can be no answer, and nothing was done: say >/dev/null if none is wanted"
            )

    def answer(self, record: Mapping[str, Any], *parts: str | Line | Table) -> None:
        """Answer on stdout: with the record for a program, with the parts for a person.

        Raises:
            CommandError: If the answer cannot be written. What the command did is done.
        """
        try:
            self._answer(record, parts)
        except BrokenPipeError:
            raise  # nobody reads any more
        except OSError as error:
            raise unwritten(error) from error

    def _answer(self, record: Mapping[str, Any], parts: Sequence[str | Line | Table]) -> None:
        if self.json:
            print(json.dumps(record), flush=True)
            return
        console = _console()
        for part in parts:
            if isinstance(part, Table):
                _print_table(console, part)
            else:
                _print_line(console, part)
        console.file.flush()  # a server runs for days, and its first lines may go to a pipe, such as a container's log

    def error(self, error: CidrgateError, exit_status: int | None = None) -> None:
        """Report an error on stderr: what is wrong and how to correct it. If stderr takes nothing, the status says it.

        The message may repeat any argument, and the URL of a database may have been typed as any argument.
        """
        with written_if_possible():
            self._error(error, exit_status)

    def _error(self, error: CidrgateError, exit_status: int | None) -> None:
        if self.json:
            record = error_record(error, exit_status)
            print(json.dumps({"error": _redacted(record)}), file=_console(stderr=True).file)
            return
        console = _console(stderr=True)
        if isinstance(error, BadRowsError):
            for row_problem in error.problems[:_MOST_ROW_PROBLEMS_SHOWN]:
                _print_line(console, Line(redacted_message(f"{row_problem}"), "red"))
            left = len(error.problems) + error.more - _MOST_ROW_PROBLEMS_SHOWN
            if left > 0:
                counts = ", ".join(f"{number:,} {code}" for code, number in error.counts.items())
                _print_line(console, Line(f"and {left:,} more problems; in all: {counts}", "red"))
        if not isinstance(error, RuleError):
            _print_line(console, Line(redacted_message(f"error: {shell_message(error)}"), "red"))
            return
        several = len(error.problems) > 1
        for problem in error.problems:
            where = f"entry {problem.position + 1}: " if several or problem.position else ""
            _print_line(console, Line(redacted_message(f"error: {where}{problem}"), "red"))
        _print_line(console, "nothing was changed")

    def note(self, text: str) -> None:
        """Say something to a person on stderr before a command answers; a program gets only answers and errors."""
        if not self.json:
            with written_if_possible():
                _print_line(_console(stderr=True), Line(text, "yellow"))

    @contextmanager
    def progress(self, doing: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show a progress bar on stderr during a long operation, if stderr is a terminal.

        Args:
            doing: The name of the operation.
            total: The number of steps; None if unknown.

        Yields:
            A function to call with the number of steps done since the last call.
        """
        console = _console(stderr=True)
        if self.json or not console.is_terminal:
            yield lambda steps: None
            return
        count = [] if total is None else [MofNCompleteColumn()]
        what = TextColumn("{task.description}", markup=False)
        with Progress(what, BarColumn(), *count, TimeElapsedColumn(), console=console) as bar:
            task = bar.add_task(visible(doing), total=total)
            yield lambda steps: bar.advance(task, steps)

    @contextmanager
    def rate(self, doing: str, unit: str) -> Iterator[Callable[[int, int | None], None] | None]:
        """Show a progress bar with the rate and the time that is left, if stderr is a terminal.

        Args:
            doing: The name of the operation.
            unit: What its steps are.

        Yields:
            A function to call with the number of steps since the last call, and with that of all steps, which may be an
            estimate, or None; None instead of the function if nobody sees the bar.
        """
        console = _console(stderr=True)
        if self.json or not console.is_terminal:
            yield None
            return
        parts = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[rate]:,.0f} a second"),
            TimeRemainingColumn(),
        )
        with Progress(*parts, console=console) as bar:
            task = bar.add_task(visible(doing), total=None, unit=unit, rate=0)

            def advance(steps: int, total: int | None) -> None:
                bar.update(task, advance=steps, total=total, rate=bar.tasks[0].speed or 0)

            yield advance


def _redacted(record: Any) -> Any:
    """Return a record whose texts contain no password."""
    if isinstance(record, str):
        return redacted_message(record)
    if isinstance(record, dict):
        return {name: _redacted(value) for name, value in record.items()}
    return [_redacted(value) for value in record] if isinstance(record, list | tuple) else record


class _Console(Console):
    """A console that leaves it to the command what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        """Raise the error again; the console would exit with the status that means a denial."""
        raise


def _console(*, stderr: bool = False) -> Console:
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def unwritten(error: OSError) -> CommandError:
    """Leave stdout, which takes nothing more, and return the error that says so."""
    leave(sys.stdout)
    reason = "stdout is closed" if error.errno == errno.EBADF else error.strerror or error
    return CommandError(f"the command was carried out, but its answer could not be written: {reason}")


@contextmanager
def written_if_possible() -> Iterator[None]:
    """Write to stderr, or leave it if it takes nothing: it says no more than the exit status does."""
    try:
        yield
        sys.stderr.flush()
    except OSError:
        leave(sys.stderr)


def _print_line(console: Console, part: str | Line) -> None:
    line = Line(part) if isinstance(part, str) else part
    # Soft wrapping leaves long lines to the terminal: nothing is cut, and a pipe gets exactly one line for each line.
    console.print(Text(visible(line.text), style=line.style), soft_wrap=True)


def _print_table(console: Console, table: Table) -> None:
    rows = [tuple(visible(cell) for cell in row) for row in table.rows]
    widths = [max(map(cell_len, column)) for column in zip(table.columns, *rows, strict=True)]
    # A network that is wrapped over two lines of its cell could be neither read nor copied.
    fits = sum(widths) + len(widths) * _BORDER + 1 <= console.width
    if console.is_terminal and fits and len(rows) <= _MOST_BOXED_ROWS:
        boxed = BoxedTable(box=box.ROUNDED)
        for column in table.columns:
            boxed.add_column(column, justify="right" if column in table.right else "left")
        for row in rows:
            boxed.add_row(*(Text(cell) for cell in row))
        console.print(boxed)
        return
    for row in chain([table.columns], rows):
        cells = [
            " " * (width - cell_len(cell)) + cell if column in table.right else cell + " " * (width - cell_len(cell))
            for column, width, cell in zip(table.columns, widths, row, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=console.file)
