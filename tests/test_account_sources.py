"""Accounts out of headers and paths."""

from __future__ import annotations

import pytest

from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.errors import UnclearAccountError

KEYS = {"k-42": "acct-1"}


@pytest.mark.parametrize(
    ("source", "values", "account"),
    [
        (FromHeader("x-account"), [], None),
        (FromHeader("x-account"), ["acct-1"], "acct-1"),
        (FromHeader("x-account"), [" acct-1\t"], "acct-1"),
        (FromHeader("x-account"), [""], None),
        (FromHeader("x-api-key", KEYS.get), ["k-42"], "acct-1"),
        (FromHeader("x-api-key", KEYS.get), ["k-43"], None),
        (FromHeader("authorization", KEYS.get, scheme="Bearer"), ["Bearer k-42"], "acct-1"),
        (FromHeader("authorization", KEYS.get, scheme="Bearer"), ["BEARER   k-42"], "acct-1"),
        (FromHeader("authorization", KEYS.get, scheme="Bearer"), ["Basic k-42"], None),
        (FromHeader("authorization", KEYS.get, scheme="Bearer"), ["k-42"], None),
        (FromHeader("authorization", KEYS.get, scheme="Bearer"), ["Bearer"], None),
    ],
)
def test_headers(source: FromHeader, values: list[str], account: str | None) -> None:
    assert source.account(values) == account


@pytest.mark.parametrize(
    "values", [["acct-1", "acct-2"], ["acct-1", "acct-1"], ["open,acct-1"], ["acct\x0b"], ["acc\xe9"], ["a\0"]]
)
def test_a_header_that_may_be_read_in_two_ways_is_refused(values: list[str]) -> None:
    with pytest.raises(UnclearAccountError):
        FromHeader("x-account").account(values)


def test_paths() -> None:
    source = FromPath(r"/v1/accounts/(?P<account>[^/]+)")
    assert source.account("/v1/accounts/acct-1/calls") == "acct-1"
    assert source.account("/prefix/v1/accounts/acct-1") is None
    assert source.account("/") is None
    with pytest.raises(ValueError, match="named account"):
        FromPath(r"/v1/accounts/([^/]+)")
