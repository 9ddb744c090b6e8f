"""An error as the JSON object that `--json` reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import BadRowsError, shell_message
from cidrgate.errors import RuleError
from cidrgate.serialization import problem_record

if TYPE_CHECKING:
    from cidrgate.errors import CidrgateError

__all__ = ["error_record"]


def error_record(error: CidrgateError) -> dict[str, Any]:
    """Return an error as an object; `problems` contains violations of rules or bad rows, if the error has them."""
    problems: list[dict[str, Any]] = []
    if isinstance(error, RuleError):
        problems = [problem_record(problem) for problem in error.problems]
    elif isinstance(error, BadRowsError):
        problems = [problem.record() for problem in error.problems]
    return {
        "code": error.code,
        "message": shell_message(error),
        "problems": problems,
    }
