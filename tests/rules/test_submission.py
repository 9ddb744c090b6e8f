"""Splitting a submission into its pieces."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given, strategies as st

from cidrgate import NewEntry
from cidrgate.rules import split_submission

blanks = st.text(" \t\r\n,", max_size=4)
separators = st.tuples(blanks, st.sampled_from([",", "\n"]), blanks).map("".join)
pieces = st.lists(st.text("0123456789abcdef.:/x", min_size=1, max_size=8), max_size=6)


@given(pieces, st.data())
def test_pieces_come_back_in_order_whatever_stands_between(parts: list[str], data: st.DataObject) -> None:
    text = data.draw(blanks)
    for part in parts:
        text += part + data.draw(separators)
    assert [piece.cidr for piece in split_submission(text)] == parts


def test_a_label_is_everyones_who_brings_none() -> None:
    submitted = [NewEntry("8.8.8.0/24, 8.8.4.0/24"), NewEntry("1.1.1.0/24", label="own"), ip_network("9.9.9.0/24")]
    assert split_submission(submitted, label="office") == [
        NewEntry("8.8.8.0/24", label="office"),
        NewEntry("8.8.4.0/24", label="office"),
        NewEntry("1.1.1.0/24", label="own"),
        NewEntry("9.9.9.0/24", label="office"),
    ]


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="not int"):
        split_submission([8])  # type: ignore[list-item]
