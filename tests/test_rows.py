"""A table that is tried by one test fails with the name of each row that fails."""

from __future__ import annotations

import inspect

import pytest

from tests.rows import rows


def test_every_row_is_tried_and_those_that_fail_are_named() -> None:
    tried: list[tuple[str, int]] = []

    @rows("number", [1, 2, 3, 4])
    @rows("letter", ["a", "b"], name=lambda letter: f"<{letter}>")
    def table(fixture: int, letter: str, number: int) -> None:
        tried.append((letter, number))
        if number == 2:
            pytest.fail("two")
        assert (letter, number) != ("b", 4)

    assert list(inspect.signature(table).parameters) == ["fixture"]
    with pytest.raises(BaseExceptionGroup) as failed:
        table(fixture=1)
    assert tried == [(letter, number) for number in (1, 2, 3, 4) for letter in ("a", "b")]
    assert failed.value.message == "2 of 4: in the row 2, in the row 4"
    assert [group.message for group in failed.value.exceptions if isinstance(group, BaseExceptionGroup)] == [
        "2 of 2: in the row <a>, in the row <b>",
        "1 of 2: in the row <b>",
    ]


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(AssertionError, match="shows nothing"):
        rows("row", [])
