"""The errors of the command line itself; every other comes from the layers below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import CidrgateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cidrgate.cli.import_plan import RowProblem

__all__ = ["BadRowsError", "CommandError"]


class CommandError(CidrgateError):
    """A command that cannot be carried out as it was typed, or with the file it was given."""


class BadRowsError(CommandError):
    """A file with rows that were not imported.

    Args:
        message: What that means for the rest of the file.
        problems: What is wrong, in the order of the lines.
    """

    def __init__(self, message: str, problems: Iterable[RowProblem]) -> None:
        super().__init__(message)
        self.problems = list(problems)
