"""Columns of Python objects: every way into a table answers for each as the matcher does, or refuses it.

A column of objects has no type, and a library that infers one changes what does not fit: text beside bytes becomes its
UTF-8, which looks like a packed address.
"""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from cidrgate import InvalidAccountError, InvalidAddressError, PrefixTrie
from cidrgate.arrow import pandas as for_pandas
from tests.engine.test_arrow_tables import ACCOUNTS, matcher_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate import Matcher

# The text "1::2" has the octets of 49.58.58.50, and the text of the IPv6 address those of another one.
LONG = "2001:db8::1:2:33"
PREFIXES = ["49.58.58.50/32", f"{IPv6Address(LONG.encode())}/128", "8.8.8.8/32", "2620:fe::9/128"]
MATCHER = matcher_with(PREFIXES)

MISSING: list[Any] = [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, Decimal("NaN")]
WRONG: list[Any] = [0, 134744072, 1.5, True, np.bytes_(b"\x08\x08\x08\x08"), bytearray(b"8888"), ["8.8.8.8"], object()]
ADDRESSES: list[Any] = [
    *("8.8.8.8", "9.9.9.9", "1::2", LONG, "2620:fe::9", "49.58.58.50", "", "8.8.8", "x" * 16, "é", "\ud800", "\0" * 4),
    *(b"\x08\x08\x08\x08", b"1::2", LONG.encode(), b"8.8.8.8", b"", b"\x08\x08\x08", ip_address("2620:fe::9").packed),
    *(IPv4Address("8.8.8.8"), IPv6Address(LONG), IPv6Address("fe80::1%1"), np.str_("8.8.8.8")),
]
NAMES: list[Any] = [*ACCOUNTS, "é", "\ud800"]
NO_NAMES: list[Any] = [*WRONG, b"acct-1", b"", IPv4Address("8.8.8.8")]

account = st.sampled_from(NAMES)
address = st.sampled_from(ADDRESSES)
missing = st.sampled_from(MISSING)
mixed_accounts = st.one_of(account, account, missing)
mixed_addresses = st.one_of(address, address, missing)
ROWS = st.one_of(
    st.lists(st.tuples(mixed_accounts, mixed_addresses), max_size=12),
    st.lists(
        st.tuples(
            st.one_of(mixed_accounts, mixed_accounts, mixed_accounts, st.sampled_from(NO_NAMES)),
            st.one_of(mixed_addresses, mixed_addresses, mixed_addresses, st.sampled_from(WRONG)),
        ),
        max_size=12,
    ),
)


def expected(matcher: Matcher, account: Any, address: Any) -> bool:
    """One row, worked out as plainly as it is said.

    Raises:
        TypeError: If the account or the address is of a wrong type.
    """
    known = [not (pd.api.types.is_scalar(one) and bool(pd.isna(one))) for one in (account, address)]
    parts = [("acct-1", address)] * known[1] + [(account, "8.8.8.8")] * known[0] + [(account, address)] * all(known)
    allowed = all(known)
    for part in parts:
        try:
            answer = matcher.allows(*part)
        except (InvalidAddressError, InvalidAccountError):
            answer = False
        allowed = allowed and (answer or part != (account, address))
    return allowed


def objects(values: list[Any]) -> pd.Series:
    column = np.empty(len(values), object)
    column[:] = values
    return pd.Series(column, dtype=object)


def as_python_strings(values: list[Any]) -> pd.Series:
    return pd.Series(objects(values), dtype=pd.StringDtype("python"))


def as_categories(values: list[Any]) -> pd.Series:
    return objects(values).astype("category")


def as_many_categories(values: list[Any]) -> pd.Series:
    others = ["8.8.8.8", b"1::2", 7, None]
    return objects([*values, *others]).astype("category")[: len(values)]


def as_sparse(values: list[Any]) -> pd.Series:
    return objects(values).astype(pd.SparseDtype(object))


KINDS: dict[str, Callable[[list[Any]], pd.Series]] = {
    "objects": objects,
    "strings": as_python_strings,
    "categories": as_categories,
    "more categories": as_many_categories,
    "sparse": as_sparse,
}
WAYS: dict[str, Callable[[Matcher, pd.Series, pd.Series], list[bool]]] = {
    "cidrgate.arrow.pandas": lambda matcher, accounts, addresses: for_pandas.allows(
        matcher, pd.DataFrame({"account": accounts, "address": addresses})
    ).tolist(),
    "allows_arrow": lambda matcher, accounts, addresses: matcher.allows_arrow(
        pd.DataFrame({"account": accounts, "address": addresses})
    ).to_pylist(),
    "allows_many": lambda matcher, accounts, addresses: matcher.allows_many(
        accounts, addresses, invalid="deny"
    ).tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
@given(rows=ROWS)
def test_each_object_of_a_column_is_answered_as_if_it_were_alone(kind: str, rows: list[tuple[Any, Any]]) -> None:
    try:
        accounts, addresses = (KINDS[kind]([row[place] for row in rows]) for place in (0, 1))
    except (TypeError, ValueError):
        return  # pandas has no such column
    try:
        answers = [expected(MATCHER, *row) for row in zip(accounts, addresses, strict=True)]
    except TypeError:
        for way, ask in WAYS.items():
            with pytest.raises(TypeError, match=r"(accounts|addresses)\[\d+\] must be"):
                pytest.fail(f"{way} answered {ask(MATCHER, accounts, addresses)}")
    else:
        for way, ask in WAYS.items():
            assert ask(MATCHER, accounts, addresses) == answers, way


@pytest.mark.parametrize("kind", KINDS)
@given(addresses=st.lists(address, min_size=1, max_size=12))
def test_columns_of_objects_are_read_as_lists(kind: str, addresses: list[Any]) -> None:
    try:
        column = KINDS[kind](addresses)
    except (TypeError, ValueError):
        return
    trie = PrefixTrie(PREFIXES)
    for ask in (trie.contains_many, trie.lookup_many, lambda given: MATCHER.allows_many("acct-1", given)):
        outcomes = []
        for given_addresses in (list(column), column):
            try:
                outcomes.append(ask(given_addresses).tolist())
            except (InvalidAddressError, TypeError) as error:
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_in_a_column_of_objects_is_named(value: Any, place: int) -> None:
    addresses = objects([*["8.8.8.8", b"8888", "1::2"][:place], value, "8.8.8.8"])
    with pytest.raises(InvalidAddressError, match=rf"addresses\[{place}\]: None is not an IP address"):
        PrefixTrie(PREFIXES).contains_many(addresses)
    accounts = objects([*["acct-1"] * place, value, "acct-1"])
    with pytest.raises(TypeError, match=rf"accounts\[{place}\] must be a str, not NoneType"):
        MATCHER.rows(accounts)


def test_a_list_that_a_column_shares_with_others_is_not_relied_upon() -> None:
    texts = [f"8.8.{number}.8" for number in range(256)]

    class Shared(pd.Series):  # type: ignore[misc]
        def tolist(self) -> list[Any]:
            return texts

    def accounts() -> Iterator[str]:
        texts[:] = [None] * 256  # type: ignore[list-item]
        for _ in range(256):
            yield "acct-1"

    matcher = matcher_with(["8.8.0.0/16"])
    column = Shared(["8.8.8.8"], dtype=object)
    assert matcher.allows_many(accounts(), column).all()


def test_a_lone_surrogate_in_a_column_names_no_account() -> None:
    accounts = objects(["acct-1", "\ud800"])
    for given_accounts in (accounts, as_python_strings(list(accounts))):
        with pytest.raises(InvalidAccountError, match="surrogate"):
            MATCHER.rows(given_accounts)
        assert MATCHER.allows_many(given_accounts, ["8.8.8.8"] * 2, invalid="deny").tolist() == [True, False]
    with pytest.raises(InvalidAccountError, match="surrogate"):
        MATCHER.allows_many(list(accounts), ["8.8.8.8"] * 2, invalid="deny")


def test_empty_and_missing_columns_are_answered() -> None:
    for empty in (
        pd.DataFrame({"account": [], "address": []}),
        pd.DataFrame({"account": [], "address": []}, dtype=str),
    ):
        assert for_pandas.allows(MATCHER, empty).tolist() == MATCHER.allows_arrow(empty).to_pylist() == []
    for nothing in (objects([None, None]), as_categories([None, None]), pd.Series([np.nan, np.nan])):
        frame = pd.DataFrame({"account": nothing, "address": "8.8.8.8"})
        assert for_pandas.allows(MATCHER, frame).tolist() == [False, False]
        assert for_pandas.allows(MATCHER, frame, "address", "account").tolist() == [False, False]


@pytest.mark.parametrize(
    "table",
    [
        {"account": ["acct-1"] * 2, "address": ["1::2", b"\x08\x08\x08\x08"]},
        [pa.array(["acct-1"]), pa.array(["8.8.8.8"])],
        [{"account": "acct-1", "address": "8.8.8.8"}],
        None,
    ],
    ids=lambda table: type(table).__name__,
)
def test_what_is_no_table_is_refused(table: Any) -> None:
    with pytest.raises(TypeError, match="table must be a table or record batch of pyarrow, a data frame, or another"):
        MATCHER.allows_arrow(table)


def test_columns_of_pandas_are_read_without_pyarrow() -> None:
    program = """
import sys
sys.modules["pyarrow"] = None
import pandas
from cidrgate import Matcher
from cidrgate.arrow.pandas import allows
matcher = Matcher()
matcher.publish("acct-1", ["8.8.8.0/24"])
frame = pandas.DataFrame({"account": "acct-1", "address": ["8.8.8.8", "9.9.9.9", None]})
for dtype in ("str", object, "category"):
    assert allows(matcher, frame.astype(dtype)).tolist() == [True, False, False]
    some = frame[:2].astype(dtype)
    assert matcher.allows_many(some.account, some.address).tolist() == [True, False]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
