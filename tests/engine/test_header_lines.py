"""Header lines as the engine looks through them, against a reading in plain Python: certain answers are never wrong."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cidrgate._engine import _HeaderField, _HeaderNames, _is_plain, _lines_of_environ
from cidrgate.gate.header_names import folded_name

NAMES = (b"x-account", b"host", b"accept-language-of-this-client", b"x" * 63, b"y" * 64, b"z" * 200)
values = st.one_of(
    st.binary(max_size=12), st.sampled_from([b"acct-1", b" acct-1", b"a b", b"a,b", b"\x7f", b"caf\xe9"])
)


def spellings(name: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(
        [name, name.upper(), name.title(), name.replace(b"-", b"_"), name.replace(b"-", b"~"), name[1:]]
    )


names = st.one_of(st.binary(max_size=12), st.sampled_from(NAMES).flatmap(spellings))
heads = st.lists(st.tuples(names, values), max_size=8)


def is_plain(text: str) -> bool:
    return text != "" and text == text.strip() and text.isascii() and text.isprintable() and "," not in text


@given(st.one_of(st.text(max_size=8), values.map(lambda value: value.decode("latin-1"))))
def test_what_is_plain(text: str) -> None:
    assert _is_plain(text) == is_plain(text)


@given(heads, st.sampled_from(NAMES))
def test_a_field_is_read_where_it_came_once_under_its_own_name_alone(
    head: list[tuple[bytes, bytes]], own: bytes
) -> None:
    taken_for_it = [(name, value) for name, value in head if folded_name(name) == folded_name(own)]
    only = taken_for_it[0][1] if [name for name, _ in taken_for_it] == [own] else None
    field = _HeaderField(own)
    assert field.value(head) == field.value(tuple(head)) == only
    text = None if only is None else only.decode("latin-1")
    plain = text is not None and is_plain(text)
    assert field.text(head) == field.text(tuple(head)) == (text if plain else None)


@given(heads, st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)))
def test_one_pass_answers_what_two_would(head: list[tuple[bytes, bytes]], own: bytes, others: set[bytes]) -> None:
    field, looked_for = _HeaderField(own), _HeaderNames(others)
    expected = None if looked_for.may_be_in(head) else field.text(head)
    assert field.text_without(head, looked_for) == field.text_without(tuple(head), looked_for) == expected


@given(heads, st.sets(st.sampled_from(NAMES)))
def test_a_name_that_is_there_in_any_case_is_never_missed(head: list[tuple[bytes, bytes]], own: set[bytes]) -> None:
    looked_for = _HeaderNames(own)
    assert looked_for.may_be_in(head) == looked_for.may_be_in(tuple(head))
    if any(name.lower() in own for name, _ in head):
        assert looked_for.may_be_in(head)
    if all(name.islower() and name not in own for name, _ in head):
        assert not looked_for.may_be_in(head)
    assert all(name in looked_for for name in own)
    assert b"x-other" not in looked_for


class Bytes(bytes):
    """Equal to nothing that it is."""

    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return False


@pytest.mark.parametrize(
    "head",
    [
        [[b"x-account", b"acct-1"]],
        [(b"x-account",)],
        [(b"x-account", b"acct-1", b"")],
        [("x-account", "acct-1")],
        [(b"x-account", bytearray(b"acct-1"))],
        [(Bytes(b"x-account"), b"acct-1")],
        [None],
        iter([(b"x-account", b"acct-1")]),
        {b"x-account": b"acct-1"},
        None,
        b"x-account",
    ],
    ids=lambda head: type(head).__name__,
)
def test_what_is_no_list_of_pairs_of_bytes_is_left_to_be_read_with_care(head: Any) -> None:
    assert _HeaderField(b"x-account").value(head) is None
    assert _HeaderField(b"x-account").text(head) is None
    assert _HeaderField(b"x-account").text_without(head, _HeaderNames([b"x-account"])) is None
    assert _HeaderNames([b"x-account"]).may_be_in(head)


@pytest.mark.parametrize("name", ["x-account", None, 5])
def test_names_are_bytes(name: Any) -> None:
    with pytest.raises(TypeError):
        _HeaderField(name)
    with pytest.raises(TypeError):
        _HeaderNames([name])


@pytest.mark.parametrize("pair", [(), ("HTTP_X",), ("HTTP_X", b"x", b"x")], ids=len)
def test_a_key_of_an_environ_has_one_name(pair: Any) -> None:
    assert _lines_of_environ({"HTTP_X": "1", "other": "2"}, (("HTTP_X", b"x"), ("HTTP_Y", b"y"))) == [(b"x", b"1")]
    for environ in ({"HTTP_X": "1"}, UserDict({"HTTP_X": "1"})):
        with pytest.raises(ValueError, match="to unpack"):
            _lines_of_environ(environ, (pair,))  # type: ignore[arg-type]
