"""An error as the JSON object that `--json` reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import BadRowsError, shell_message
from cidrgate.cli.exit_statuses import status_of
from cidrgate.errors import RuleError
from cidrgate.serialization import problem_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.errors import CidrgateError

__all__ = ["error_object", "error_record"]


def error_record(error: CidrgateError, exit_status: int | None = None) -> dict[str, Any]:
    """Return an error as an object.

    Args:
        error: The error.
        exit_status: The exit status of the command; None for the status of the error's kind.
    """
    problems: list[dict[str, Any]] = []
    if isinstance(error, RuleError):
        problems = [problem_record(problem) for problem in error.problems]
    elif isinstance(error, BadRowsError):
        problems = [problem.record() for problem in error.problems]
    status = status_of(error) if exit_status is None else exit_status
    return error_object(error.code, shell_message(error), status, problems)


def error_object(code: str, message: str, exit_status: int, problems: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the object of an error.

    Args:
        code: The code of the error.
        message: What is wrong and how to correct it.
        exit_status: The exit status of the command.
        problems: The broken rules, or the bad rows of a file.
    """
    return {"code": code, "exit_status": int(exit_status), "message": message, "problems": list(problems)}
