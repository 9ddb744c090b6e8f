"""Headers that a proxy passes on, and that an API could read in another way than the proxy did: the endpoint denies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.authorize import AuthorizeApp, ClientHeaders
from cidrgate.errors import UnclearAccountError
from tests.authorize.asgi import messages_of

ACCOUNT = (b"x-account", b"acct-1")
CLIENT = (b"x-forwarded-for", b"203.0.113.9")
KEY = (b"x-api-key", b"key-1")
TOKEN = (b"authorization", b"Bearer a")

NAMES = st.one_of(
    st.sampled_from([b"x-api-key", b"X-Api-Key", b"authorization", b"accept", b"x_api_key", b"x.api.key", b"x-a"]),
    st.text("abc-_.!~9", min_size=1, max_size=4).map(str.encode),
)
HEADERS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"a", b"a,b", b",", b"a b"])), max_size=6)


def readable(headers: list[tuple[bytes, bytes]]) -> bool:
    """The rule, word by word."""
    credentials = [(name, value) for name, value in headers if name.lower() in (b"x-api-key", b"authorization")]
    names = [name.lower() for name, _ in credentials]
    return (
        all(re.fullmatch(rb"[A-Za-z0-9-]+", name) for name, _ in headers)
        and len(names) == len(set(names))
        and not any(b"," in value for _, value in credentials)
    )


@given(HEADERS)
def test_only_what_can_be_read_in_one_way_passes(headers: list[tuple[bytes, bytes]]) -> None:
    try:
        ClientHeaders().check(headers)
    except UnclearAccountError:
        assert not readable(headers)
    else:
        assert readable(headers)


def test_every_character_that_a_server_folds_is_an_alias() -> None:
    for character in "!#$%&'*+.^_`|~":
        for name in (f"x{character}account", f"{character}account", f"account{character}"):
            with pytest.raises(UnclearAccountError, match=re.escape(name)):
                ClientHeaders().check([(name.encode(), b"acct-1")])
            ClientHeaders(allow_aliases=True).check([(name.encode(), b"acct-1")])
            ClientHeaders(expected=[name.upper()]).check([(name.encode(), b"acct-1")])


def test_the_headers_with_a_credential_can_be_others() -> None:
    headers = ClientHeaders(["X-Token"])
    headers.check([TOKEN, TOKEN, (b"x-token", b"a")])
    for twice in ([(b"x-token", b"a"), (b"x-token", b"a")], [(b"x-token", b"a,")]):
        with pytest.raises(UnclearAccountError, match="x-token"):
            headers.check(twice)
    for name in ("", "X-Token:", "X Token", "X-Tok\N{LATIN SMALL LETTER E WITH ACUTE}n"):
        with pytest.raises(ValueError, match="a header with a credential"):
            ClientHeaders([name])


def verdict(app: AuthorizeApp, *headers: tuple[bytes, bytes]) -> tuple[int, str]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/authorize",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 40_000),
    }
    start, _ = messages_of(app, scope)
    return start["status"], dict(start["headers"])[b"x-cidrgate-reason"].decode()


@pytest.fixture
def gate() -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", ["203.0.113.0/24"])
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.1/32"])
    return Gate(matcher, unlisted="deny_unknown", resolver=resolver, require_account=True, log="none")


@pytest.mark.parametrize("first", [True, False])
def test_the_endpoint_denies_what_is_unclear_whoever_asks(gate: Gate, first: bool) -> None:
    app = AuthorizeApp(gate)
    assert verdict(app, ACCOUNT, CLIENT, KEY, TOKEN) == (200, "matched")
    for unclear in (
        [KEY, KEY],
        [KEY, (b"x-api-key", b"")],
        [(b"x-api-key", b"key-1, key-2")],
        [TOKEN, TOKEN],
        [(b"authorization", b"Bearer a, Bearer b")],
        [(b"x_account", b"acct-1")],
        [(b"x_api_key", b"key-1")],
        [(b"script_name", b"/")],
        [(b"x.account", b"acct-1")],
    ):
        headers = [*unclear, ACCOUNT, CLIENT] if first else [ACCOUNT, CLIENT, *unclear]
        assert verdict(app, *headers) == (403, "unclear_account"), unclear


def test_the_headers_of_the_proxy_itself_may_have_any_name(gate: Gate) -> None:
    app = AuthorizeApp(gate, account_header="X_Tenant")
    assert verdict(app, (b"x_tenant", b"acct-1"), CLIENT) == (200, "matched")
    assert verdict(app, (b"x_tenant", b"acct-1"), (b"x_account", b"acct-1"), CLIENT) == (403, "unclear_account")
    lenient = AuthorizeApp(gate, client_headers=ClientHeaders([], allow_aliases=True))
    assert verdict(lenient, ACCOUNT, CLIENT, KEY, KEY, (b"x_account", b"acct-2")) == (200, "matched")
