"""The frozen values, and how durations are read."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cidrgate.values import seconds

LONG = timedelta(days=36500)


@given(st.timedeltas(min_value=timedelta(0), max_value=LONG))
def test_a_timedelta_means_its_seconds(value: timedelta) -> None:
    assert seconds(value, "it") == seconds(value.total_seconds(), "it") == value.total_seconds()


@given(st.floats() | st.integers() | st.timedeltas(), st.booleans())
def test_a_duration_is_finite_and_not_negative(value: float | timedelta, above_zero: bool) -> None:
    plain = value.total_seconds() if isinstance(value, timedelta) else value
    valid = plain >= 0 and not (above_zero and plain == 0) and plain < 2**1023
    if valid:
        assert seconds(value, "it", above_zero=above_zero) == pytest.approx(float(plain))
    else:
        with pytest.raises(ValueError, match=r"^how_long must be a number of seconds"):
            seconds(value, "how_long", above_zero=above_zero)


@pytest.mark.parametrize("value", ["5", "5m", True, False, None, b"5", [5], 5j, math])
def test_what_is_no_duration_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^how_long must be a number of seconds or a timedelta, not "):
        seconds(value, "how_long")
