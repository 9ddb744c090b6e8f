"""Array forms: each one answers as the scalar methods do, and says which element is no address."""

from __future__ import annotations

import random
import re
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cidrgate import AccountNotFoundError, InvalidAddressError, Matcher, PrefixTrie
from cidrgate._engine import _use_vector_form, _vector_forms
from tests.golden import GoldenTrie
from tests.strategies import addresses_near, prefix_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# From this size on, small lists are looked up through tables made for the batch.
WORTHWHILE = 4_096


def octets(address: str) -> bytes:
    """The 16 octets of an address, IPv4-mapped for IPv4."""
    parsed = ip_address(address)
    return parsed.packed if isinstance(parsed, IPv6Address) else bytes(10) + b"\xff\xff" + parsed.packed


class Text(str):
    __slots__ = ()


def forms(addresses: list[str]) -> dict[str, Any]:
    """The same addresses in every array form that can hold them all."""
    packed = [ip_address(address).packed for address in addresses]
    wide = [octets(address) for address in addresses]
    ways: list[Callable[[str], Any]] = [str, Text, ip_address, octets]
    found: dict[str, Any] = {
        "list": addresses,
        "tuple": tuple(addresses),
        "objects": [ip_address(address) for address in addresses],
        "packed": packed,
        "text of a subclass": [Text(address) for address in addresses],
        "mixed": [form(text) for form, text in zip(cycle(ways), addresses, strict=False)],
        "uint8[n, 16]": np.frombuffer(b"".join(wide), dtype=np.uint8).reshape(-1, 16),
        "strided uint8[n, 16]": np.repeat(np.frombuffer(b"".join(wide), dtype=np.uint8).reshape(-1, 16), 2, axis=0)[
            ::2
        ],
        "string": pa.array(addresses, pa.string()),
        "large_string": pa.array(addresses, pa.large_string()),
        "string_view": pa.array(addresses, pa.string_view()),
        "string slice": pa.array(["no address", *addresses, None], pa.string())[1:-1],
        "view slice": pa.array(["no address at all", *addresses, None], pa.string_view())[1:-1],
        "binary": pa.array(packed, pa.binary()),
        "large_binary": pa.array(packed, pa.large_binary()),
        "binary_view": pa.array(packed, pa.binary_view()),
        "binary slice": pa.array([b"", *packed, None], pa.binary())[1:-1],
        "fixed 16": pa.array(wide, pa.binary(16)),
        "fixed 16 slice": pa.array([None, *wide], pa.binary(16))[1:],
    }
    if all(len(octets) == 4 for octets in packed):
        numbers = [int.from_bytes(octets, "big") for octets in packed]
        found |= {
            "uint32": np.array(numbers, dtype=np.uint32),
            "big-endian uint32": np.array(numbers, dtype=">u4"),
            "strided uint32": np.repeat(np.array(numbers, dtype=np.uint32), 2)[::2],
            "uint8[n, 4]": np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(-1, 4),
            "fixed 4": pa.array(packed, pa.binary(4)),
        }
    return found


@given(texts=prefix_lists, data=st.data(), only_ipv4=st.booleans())
def test_every_form_answers_as_one_at_a_time(texts: list[str], data: st.DataObject, only_ipv4: bool) -> None:
    trie, golden = PrefixTrie(texts), GoldenTrie(texts)
    addresses = data.draw(st.lists(addresses_near(texts), max_size=8))
    if only_ipv4:
        addresses = [address for address in addresses if ":" not in address]
    expected = [golden.index(address) for address in addresses]
    for name, form in forms(addresses).items():
        assert trie.lookup_many(form).tolist() == expected, name
        assert trie.contains_many(form).tolist() == [index >= 0 for index in expected], name


@given(prefix_lists, st.data())
def test_long_arrays_answer_as_short_ones(texts: list[str], data: st.DataObject) -> None:
    trie, golden = PrefixTrie(texts), GoldenTrie(texts)
    addresses = data.draw(st.lists(addresses_near(texts), min_size=1, max_size=8))
    repeat = WORTHWHILE // len(addresses) + 1
    expected = [golden.match(address) is not None for address in addresses]
    for name in ("list", "string", "uint32", "uint8[n, 16]"):
        form = forms(addresses).get(name)
        if form is None:
            continue
        long = pa.array(addresses * repeat) if name == "string" else form * repeat if name == "list" else None
        long = np.concatenate([form] * repeat) if long is None else long
        assert trie.contains_many(long).tolist() == expected * repeat, name
        assert trie.contains_many(long[: WORTHWHILE - 1]).tolist() == (expected * repeat)[: WORTHWHILE - 1], name


def test_every_length_of_prefix_is_found_through_tables() -> None:
    for length in range(33):
        inside = 0x08090A0B & (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
        trie = PrefixTrie([f"{ip_address(inside)}/{length}"])
        last = inside | (0xFFFFFFFF >> length)
        asked = np.array([inside, last, (inside - 1) % 2**32, (last + 1) % 2**32], dtype=np.uint32)
        answers = trie.contains_many(np.resize(asked, WORTHWHILE))
        assert answers[:4].tolist() == [True, True, length == 0, length == 0]


def test_no_addresses_have_no_answers() -> None:
    trie = PrefixTrie(["8.8.8.0/24"])
    for form in forms([]).values():
        assert trie.contains_many(form).shape == (0,)
        assert trie.contains_many(form).dtype == np.bool_
        assert trie.lookup_many(form).dtype == np.int32


def test_answers_go_where_they_are_asked_to() -> None:
    trie = PrefixTrie(["8.8.8.0/24"])
    matcher = Matcher()
    found, indices = np.zeros(2, dtype=np.bool_), np.zeros(2, dtype=np.int32)
    assert trie.contains_many(["8.8.8.8", "9.9.9.9"], out=found) is found
    assert trie.lookup_many(["8.8.8.8", "9.9.9.9"], out=indices) is indices
    assert (found.tolist(), indices.tolist()) == ([True, False], [0, -1])
    assert matcher.allows_many("acct-1", ["8.8.8.8", "9.9.9.9"], out=found) is found
    assert found.tolist() == [True, True]


@pytest.mark.parametrize(
    "out",
    [
        np.zeros(3, dtype=np.bool_),
        np.zeros(2, dtype=np.int8),
        np.zeros((2, 1), dtype=np.bool_),
        np.zeros(4, dtype=np.bool_)[::2],
        np.broadcast_to(np.zeros(1, dtype=np.bool_), (2,)),
        [0, 0],
    ],
)
def test_a_wrong_place_for_answers_is_refused(out: Any) -> None:
    with pytest.raises(ValueError, match="out must be a writeable contiguous array of bool"):
        PrefixTrie().contains_many(["8.8.8.8", "9.9.9.9"], out=out)


@pytest.mark.parametrize("count", [1, 100, WORTHWHILE])
def test_the_first_element_that_is_no_address_is_named(count: int) -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), Matcher()
    texts = ["8.8.8.8"] * count + ["8.8.8", "::g"]
    binaries = [bytes(4)] * count + [b"8.8.8.8"]
    broken: list[Any] = [texts, pa.array(texts), pa.array(binaries), pa.array(["8.8.8.8"] * count + [None])]
    broken += [["8.8.8.8"] * count + ["８.8.8.8"], pa.array([bytes(16)] * count + [None], pa.binary(16))]  # noqa: RUF001
    for form in broken:
        for method in (trie.contains_many, trie.lookup_many, lambda given: matcher.allows_many("acct-1", given)):
            with pytest.raises(InvalidAddressError, match=rf"addresses\[{count}\]"):
                method(form)


@pytest.mark.parametrize(
    "form",
    [
        "8.8.8.8",
        b"\x08\x08\x08\x08",
        8,
        None,
        {"8.8.8.8"},
        np.zeros(3, dtype=np.int64),
        np.zeros((3, 2), dtype=np.uint32),
        np.zeros((3, 8), dtype=np.uint8),
        np.zeros(16, dtype=np.uint8),
        pa.array([1, 2]),
        pa.array([b"\0" * 8], pa.binary(8)),
        pa.array([1, 2]).dictionary_encode(),
        pa.chunked_array([[1], [2]]),
        pa.chunked_array([], pa.int64()),
        pa.record_batch({"address": ["8.8.8.8"]}),
        pa.table({"address": ["8.8.8.8"]}),
    ],
)
def test_other_objects_are_no_arrays_of_addresses(form: Any) -> None:
    with pytest.raises(TypeError, match="addresses must be"):
        PrefixTrie().contains_many(form)


def test_elements_that_are_no_addresses_are_named() -> None:
    with pytest.raises(
        TypeError, match=r"addresses\[1\] must be a str, packed bytes \(4 or 16\) or an ipaddress object, not int"
    ):
        PrefixTrie().contains_many(["8.8.8.8", 8])  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", [IPv6Address("fe80::1%lo"), b"8.8.8", "x", Text("x"), Text("8.8.8.8 "), "\ud800"])
def test_the_first_of_a_list_that_is_no_address_is_named(wrong: Any) -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), Matcher()
    right = [IPv4Address("8.8.8.8"), "8.8.8.8", b"\x08\x08\x08\x08"]
    for ask in (trie.contains_many, trie.lookup_many, lambda given: matcher.allows_many("acct-1", given)):
        for index in range(4):
            given = [*right[:index], wrong, *right[index:], b"", "y", wrong]
            with pytest.raises(InvalidAddressError, match=rf"addresses\[{index}\]: {re.escape(repr(wrong))}"):
                ask(given)


def test_accounts_of_rows_ask_with_objects_as_with_text() -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2600::/16"])
    texts = ["8.8.8.8", "9.9.9.9", "2600::1", "2700::1"]
    objects = [ip_address(text) for text in texts]
    for accounts in ("acct-1", ["acct-1"] * 4, matcher.rows(["acct-1", "unknown"] * 2)):
        assert matcher.allows_many(accounts, objects).tolist() == matcher.allows_many(accounts, texts).tolist()


@settings(max_examples=60)
@given(data=st.data())
def test_accounts_of_rows_are_answered_and_refused_one_after_the_other(data: st.DataObject) -> None:
    matcher = Matcher()
    for number in range(5):
        matcher.publish(f"acct-{number}", [f"8.8.{number}.0/24", f"2600:{number}::/32"])
    matcher.publish("gone", ["9.9.9.9/32"])
    unusable = [int(matcher.rows(["gone"])[0]), -2, -(2**31), 6, 2**31 - 1]
    matcher.discard("gone")
    # Blocks are fetched ahead of their turn: errors of both kinds at every place, in any order.
    count = data.draw(st.integers(1, 200))
    source = random.Random(data.draw(st.integers(0, 2**32)))
    rows = np.array([source.choice([-1, *range(5)]) for _ in range(count)], dtype=np.int32)
    asked = [source.choice(["8.8.1.1", "8.8.3.9", "2600:2::1", "2600:4::4", "1.1.1.1"]) for _ in range(count)]
    places = st.integers(0, count - 1)
    invalid_rows, invalid_addresses = data.draw(st.sets(places, max_size=2)), data.draw(st.sets(places, max_size=2))
    for at in invalid_rows:
        rows[at] = source.choice(unusable)
    for at in invalid_addresses:
        asked[at] = "8.8.8"
    answers = np.zeros(count, dtype=np.bool_)
    first = min(invalid_rows | invalid_addresses, default=count)
    if first in invalid_addresses:
        with pytest.raises(InvalidAddressError, match=rf"\[{first}\]"):
            matcher.allows_many(rows, asked, out=answers)
    elif first < count:
        with pytest.raises(AccountNotFoundError, match=rf"\[{first}\]"):
            matcher.allows_many(rows, asked, out=answers)
    else:
        matcher.allows_many(rows, asked, out=answers)
    expected = [
        row == -1 or matcher.allows(f"acct-{row}", address) for row, address in zip(rows[:first], asked, strict=False)
    ]
    assert answers[:first].tolist() == expected


@pytest.fixture(params=_vector_forms())
def vector_form(request: pytest.FixtureRequest) -> Iterator[str]:
    _use_vector_form(request.param)
    yield request.param
    _use_vector_form(None)


# A batch of fewer than half a group of 32 is asked one by one, the last group may be half full, a piece holds 64.
@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 130])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_vector_form_answers_alike(vector_form: str, count: int, data: st.DataObject) -> None:
    texts = data.draw(prefix_lists)
    trie, golden = PrefixTrie(texts), GoldenTrie(texts)
    near = [text for text in data.draw(st.lists(addresses_near(texts), max_size=8)) if ":" not in text]
    addresses = np.resize(np.array([int(ip_address(text)) for text in [*near, "8.8.8.8"]], dtype=np.uint32), count)
    expected = [golden.index(str(ip_address(int(address)))) for address in addresses]
    assert trie.lookup_many(addresses).tolist() == expected


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "IPv6 of up to 64 bits", "nested"])
def test_every_vector_form_finds_one_address_in_a_list_of_any_size(vector_form: str, kind: str) -> None:
    source = random.Random(kind)
    for size in (1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 48, 49, 63, 64):
        if kind in ("IPv4", "nested"):
            lengths = [8, 16, 24, 31, 32] if kind == "nested" else [32]
            top, bits = source.getrandbits(8) << 24, 24
        else:
            lengths = [128] if kind == "IPv6" else [64]
            top, bits = source.choice([0x26, 0xFE]) << 120, 66 if kind == "IPv6" else 80
        # Few different bits, so that upper halves are equal, and the largest numbers, which have the sign bit.
        width = 32 if bits == 24 else 128
        networks: set[str] = set()
        while len(networks) < size:
            first = top | source.getrandbits(bits) & source.choice([-1, 0x7 << 62 | 0x3, 0xF0F0])
            networks.add(str(ip_network((first.to_bytes(width // 8), source.choice(lengths)), strict=False)))
        trie, golden = PrefixTrie(networks), GoldenTrie(list(networks))
        for network in map(ip_network, networks):
            for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):
                text = str(type(network[0])(number % 2**width))
                assert trie.match(text) == golden.match(text), (networks, text)


@pytest.mark.parametrize("size", [1, 17, 33, 49])
def test_no_vector_form_reads_beyond_the_last_page_of_a_file(vector_form: str, size: int, tmp_path: Path) -> None:
    listed = [f"8.8.{number}.0/24" for number in range(size)]
    matcher = Matcher()
    names = [f"{number}".rjust(512 - 16 - (5 * size + 7) // 8 * 8, "x") for number in range(8)]
    for name in names:
        matcher.publish(name, listed)
    matcher.save(tmp_path / "accounts.snapshot")
    # The blocks fill a page, so the last list ends where the mapped file does.
    header = (tmp_path / "accounts.snapshot").read_bytes()[:72]
    assert int.from_bytes(header[56:64], sys.byteorder) == 4_096
    opened = Matcher.open(tmp_path / "accounts.snapshot")
    for name in names:
        assert [opened.allows(name, f"8.8.{third}.1") for third in (0, size - 1, size)] == [True, True, False]


def test_a_processor_runs_a_portable_form_and_no_unknown_one() -> None:
    assert "portable" in _vector_forms()
    with pytest.raises(ValueError, match="portable"):
        _use_vector_form("abacus")
