"""An error as the JSON object that `--json` reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import BadRowsError, shell_message
from cidrgate.cli.exit_statuses import status_of
from cidrgate.errors import RuleError, UnconfirmedChangeError
from cidrgate.serialization import error_data_record, problem_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cidrgate.errors import CidrgateError

__all__ = ["error_object", "error_record"]


def error_record(error: CidrgateError, exit_status: int | None = None) -> dict[str, Any]:
    """Return an error as an object.

    Args:
        error: The error.
        exit_status: The exit status of the command; None for the status of the error's kind.
    """
    errors: list[dict[str, Any]] = []
    if isinstance(error, RuleError):
        errors = [problem_record(problem) for problem in error.problems]
    elif isinstance(error, BadRowsError):
        errors = [problem.record() for problem in error.problems]
    return error_object(
        error.code,
        shell_message(error),
        status_of(error) if exit_status is None else exit_status,
        errors=errors,
        more_errors=error.more if isinstance(error, RuleError | BadRowsError) else 0,
        confirm=[str(name) for name in error.confirm] if isinstance(error, UnconfirmedChangeError) else (),
        data={"counts": error.counts} if isinstance(error, BadRowsError) else error_data_record(error),
    )


def error_object(
    code: str,
    detail: str,
    exit_status: int,
    *,
    errors: Sequence[dict[str, Any]] = (),
    more_errors: int = 0,
    confirm: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the object of an error, with the names that problem details of the API have.

    Args:
        code: The code of the error.
        detail: What is wrong and how to correct it.
        exit_status: The exit status of the command.
        errors: The broken rules, or the bad rows of a file.
        more_errors: How many errors there are that are not in `errors`.
        confirm: The guards that refused the change.
        data: What the error is about, by the names of its attributes in Python.
    """
    return {
        "code": code,
        "exit_status": int(exit_status),
        "detail": detail,
        "errors": list(errors),
        "more_errors": more_errors,
        "confirm": list(confirm),
        "data": dict(data or {}),
    }
