"""Accounts out of headers, routes and paths; what is exempt; settings that no request could meet."""

from __future__ import annotations

import re
from enum import Enum
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest

from cidrgate.errors import MissingAccountError, UnclearAccountError
from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute, check_source, required

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


NO_TOKENS = [
    "",
    " ",
    " x",
    "x ",
    "X-Account:",
    "x\n",
    "a b",
    "a,b",
    "(a)",
    "a/b",
    "é",
    "x\0",
    '"x"',
    "[x]",
    "a@b",
    "{}",
]


@pytest.mark.parametrize("name", NO_TOKENS)
def test_names_of_headers_and_schemes_are_tokens(name: str) -> None:
    with pytest.raises(ValueError, match="name of a header"):
        FromHeader(name)
    with pytest.raises(ValueError, match="scheme"):
        FromHeader("authorization", scheme=name)


OTHER_TYPES: list[dict[str, Any]] = [{"name": None}, {"name": b"x"}, {"lookup": {}}, {"scheme": 5}, {"exempt": "GET /"}]


@pytest.mark.parametrize("settings", OTHER_TYPES)
def test_a_header_of_another_type_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        FromHeader(**{"name": "x-account", **settings})


def test_paths() -> None:
    source = FromPath(r"/v1/accounts/(?P<account>[^/]+)")
    assert source.account("/v1/accounts/acct-1/calls") == "acct-1"
    assert source.account("/v1/accounts/acct-1/") == "acct-1"
    assert source.account("/v1/accounts/acct-1") == "acct-1"
    assert source.account("/prefix/v1/accounts/acct-1") is None
    assert source.account("/V1/accounts/acct-1") is None
    assert source.account("/") is None
    assert FromPath(re.compile(r"/(?P<account>[a-z]+)", re.IGNORECASE)).account("/ACME/calls") == "ACME"


def test_a_pattern_ends_where_a_segment_ends() -> None:
    """Else `acme` would be asked about, and `acme-prod` would act."""
    for pattern in (r"/v1/(?P<account>\w+)", r"/v1/(?P<account>.+?)", r"/v1/(?P<account>[a-z]*)"):
        assert FromPath(pattern).account("/v1/acme-prod/calls") is None
    assert FromPath(r"/v1/(?P<account>\w+)-(?:prod|test)").account("/v1/acme-prod/calls") == "acme"


@pytest.mark.parametrize(
    ("pattern", "error", "said"),
    [
        (r"/v1/accounts/([^/]+)", ValueError, "named account"),
        ("", ValueError, "named account"),
        (r"/v1/(?P<account>[^/]+", ValueError, "not a regular expression"),
        (r"v1/(?P<account>[^/]+)", ValueError, "begins with /"),
        (r"^v1/(?P<account>[^/]+)", ValueError, "begins with /"),
        (rb"/v1/(?P<account>[^/]+)", TypeError, "for text"),
        (re.compile(rb"/v1/(?P<account>[^/]+)"), TypeError, "for text"),
        (None, TypeError, "for text"),
    ],
)
def test_a_pattern_that_no_path_could_match_is_refused(pattern: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        FromPath(pattern)


class Number(int, Enum):
    ONE = 1


def test_routes() -> None:
    source = FromRoute("account")
    assert source.account({"account": "acct-1", "other": "acct-2"}) == "acct-1"
    assert source.account({"account": 42}) == "42"
    named = "12345678-1234-5678-1234-567812345678"
    assert source.account({"account": UUID(named.upper())}) == named
    for nothing in (None, {}, {"Account": "acct-1"}, {"account": None}):
        assert source.account(nothing) is None
    assert source.account({"account": HTTPStatus.OK}) == "200"  # an `IntEnum`
    for other in (True, 4.2, b"acct-1", ["acct-1"], object(), Number.ONE):
        with pytest.raises(TypeError, match="use a callable"):
            source.account({"account": other})


@pytest.mark.parametrize("parameter", ["", "account id", "{account}", "<account>", "account:int", "1st", "acc/ount"])
def test_a_parameter_that_no_route_has_is_refused(parameter: str) -> None:
    with pytest.raises(ValueError, match="parameter of a route"):
        FromRoute(parameter)
    with pytest.raises(TypeError):
        FromRoute(None)  # type: ignore[arg-type]


def test_sources_are_values_with_their_rules() -> None:
    rules = ["GET /healthz"]
    source = FromRoute("account", exempt=rules)
    rules.append("GET /v1")
    assert source.exempt == ("GET /healthz",)
    assert source == FromRoute("account", exempt=["GET /healthz"])
    assert hash(source) == hash(FromRoute("account", exempt=["GET /healthz"]))
    assert source != FromRoute("account")
    for made in (FromHeader("x-account", exempt=rules), FromPath(r"/(?P<account>.+)", exempt=rules)):
        assert made._exemptions.match("GET", "/v1")


def test_what_has_to_name_an_account() -> None:
    assert required("acct-1") == "acct-1"
    with pytest.raises(MissingAccountError):
        required(None)
    check_source(lambda request: None)
    for nothing in ("acct-1", None, {"account": "acct-1"}):
        with pytest.raises(TypeError, match="FromRoute"):
            check_source(nothing)


@pytest.mark.parametrize("value", ["Bearer k-42 x", "bearer k-42  k-43", "Bearer  k-42 ,"])
def test_two_credentials_behind_one_scheme_are_unclear(value: str) -> None:
    with pytest.raises(UnclearAccountError):
        FromHeader("authorization", {"k-42": "acct-1"}.get, scheme="Bearer").account([value])
