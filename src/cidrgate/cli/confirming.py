"""Questions before a command deletes what nothing can restore."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cidrgate.cli.errors import NotConfirmedError
from cidrgate.cli.output import visible
from cidrgate.process.streams import leave, stderr_was_closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.cli.output import Output

__all__ = ["confirm"]


def confirm(output: Output, question: Callable[[], str], consequence: str, *, yes: bool) -> None:
    """Ask the person at the terminal before a command continues.

    Args:
        output: The output of the command. A program that asks for JSON is never asked.
        question: Returns the question; called only if somebody is asked.
        consequence: What the command would do, for the error.
        yes: Whether `--yes` was given, so that nobody is asked.

    Raises:
        NotConfirmedError: If the answer is no, or nobody can be asked.
    """
    if yes:
        return
    if output.json or sys.stdin is None or not sys.stdin.isatty() or not _asked(question):
        raise NotConfirmedError(
            f"{consequence}. Nothing was changed: say --yes if that is wanted, or try it with --dry-run"
        )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmedError("nothing was changed: the answer was no")


def _asked(question: Callable[[], str]) -> bool:
    """Ask on stderr, and return whether somebody can have seen it."""
    if stderr_was_closed():
        return False
    try:
        print(f"{visible(question())} [y/N]: ", end="", file=sys.stderr, flush=True)
    except OSError:
        leave(sys.stderr)
        return False
    return True
