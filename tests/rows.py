"""Tables of which one test tries every row, where a test for each row would cost more than the row itself."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["rows"]

_Row = TypeVar("_Row")


def rows(
    parameter: str, table: Iterable[_Row], name: Callable[[_Row], object] = str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test with each row of a table in turn, in the place of `pytest.mark.parametrize`.

    The rows share the fixtures of the test. Every row is tried, also after one that failed; the names of those that
    failed are in the message, with what was wrong with each.

    Args:
        parameter: The parameter of the test that takes the row.
        table: The rows.
        name: What a failure calls a row.
    """
    listed = list(table)
    assert listed, "a table without rows shows nothing"

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def try_all(**fixtures: object) -> None:
            failures: list[BaseException] = []
            for row in listed:
                try:
                    test(**fixtures, **{parameter: row})
                except (Exception, BaseExceptionGroup, pytest.fail.Exception) as error:  # noqa: BLE001
                    error.add_note(f"in the row {name(row)}")
                    failures.append(error)
            if failures:
                failed = ", ".join(note for error in failures for note in error.__notes__[-1:])
                raise BaseExceptionGroup(f"{len(failures)} of {len(listed)}: {failed}", failures)

        signature = inspect.signature(test)
        others = [one for one in signature.parameters.values() if one.name != parameter]
        assert len(others) == len(signature.parameters) - 1
        try_all.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return try_all

    return decorated
