"""Paths that everybody reads alike, against paths that somebody reads differently; rules for exempt requests."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given, strategies as st
from starlette._utils import get_route_path

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.request_paths import Exemptions, clear_path, route_path, routed_path

segments = st.text("abcXYZ019-._~ é中@+", min_size=1, max_size=8).filter(lambda text: text not in (".", ".."))
clear = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))

UNCLEAR = {
    "no slash at the beginning": "v1/accounts/V",
    "empty": "",
    "an asterisk": "*",
    "an absolute form": "http://api.example/v1/accounts/V",
    "an authority": "api.example:443",
    "two slashes at the beginning": "//v1/accounts/V",
    "two slashes inside": "/v1//accounts/V",
    "two slashes at the end": "/v1/accounts/V//",
    "a dot segment": "/v1/./accounts/V",
    "a dot segment at the end": "/v1/accounts/V/.",
    "two dots": "/v1/accounts/own/../V",
    "two dots at the end": "/v1/accounts/V/..",
    "a backslash": "/v1/accounts\\V",
    "parameters": "/v1/accounts/V;v=1",
    "parameters of dots": "/v1/accounts/own/..;/V",
    "a question mark": "/v1/accounts/V?x",
    "a fragment": "/v1/accounts/V#x",
    "an escape that is left": "/v1/accounts/own%2FV",
    "a dot segment that is left": "/v1/%2e%2e/accounts/V",
    "NUL": "/v1/accounts/V\0",
    "a newline": "/v1/accounts/V\n",
    "a tab": "/v1/accounts/\tV",
    "DEL": "/v1/accounts/V\x7f",
    "a control of C1": "/v1/accounts/V\x85",
    "a zero-width space": "/v1/accounts/V\u200b",
    "an override": "/v1/accounts/\u202eV",
    "a no-break space": "/v1/accounts/V\u00a0",
    "a line separator": "/v1/accounts/V\u2028",
    "what was no UTF-8, replaced": "/v1/accounts/V\ufffd",
    "what was no UTF-8, escaped": "/v1/accounts/V\udcff",
    "too long": "/" + "a" * 9_000,
}


@given(clear, st.booleans())
def test_a_clear_path_stays_as_it_is(path: str, slash: bool) -> None:
    path += "/" if slash and path != "/" else ""
    assert clear_path(path) == path
    assert clear_path(path, quote(path).encode()) == path
    assert clear_path(path, quote(path).encode() + b"?next=/a//b%2f..%5c") == path


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_path_that_can_be_read_in_two_ways_is_refused(name: str) -> None:
    with pytest.raises(UnclearAccountError):
        clear_path(UNCLEAR[name])


@pytest.mark.parametrize("escape", [b"%2f", b"%2F", b"%5c", b"%5C", b"%252f", b"%252e%252e", b"%25", b"\\"])
def test_escapes_that_a_server_decodes_are_refused_where_they_can_be_seen(escape: bytes) -> None:
    raw = b"/v1/accounts/own" + escape + b"V"
    with pytest.raises(UnclearAccountError):
        clear_path("/v1/accounts/own/V", raw)


@given(st.text(max_size=40), st.sampled_from(["", "/", "/v1/", "/v1/accounts/"]))
def test_any_text_has_an_answer_and_a_clear_one_has_one_reading(text: str, start: str) -> None:
    """What folds slashes, resolves dots, decodes again or cuts at a mark finds the same path."""
    try:
        path = clear_path(start + text)
    except UnclearAccountError:
        return
    assert unquote(path) == path
    assert [segment for segment in path.split("/")[1:-1] if segment in ("", ".", "..")] == []
    assert not set(path) & set("\\;?#\0\n\r\t")
    assert path.encode().decode() == path


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/v1/x", "", "/v1/x"),
        ("/app/v1/x", "/app", "/v1/x"),
        ("/app/app/x", "/app", "/app/x"),
        ("/app", "/app", ""),
        ("/v1/x", "/app", "/v1/x"),
        ("/application/x", "/app", None),
        ("/v1/app/x", "/app", None),
        ("/app//x", "/app/", "/x"),
        ("/app/x", "/app/", None),
        ("/x", "/", "/x"),
        ("//x", "/", "/x"),
        ("/", "/", "/"),
        ("x", "/", "x"),
        ("x/y", "/", None),
        ("/v1/accounts/own/v1/accounts/V", "/v1/accounts/own", "/v1/accounts/V"),
        ("/v1/accounts/V/v1/accounts/own", "/v1/accounts/own", None),
    ],
)
def test_the_path_that_is_routed_by_is_without_the_root(path: str, root: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(UnclearAccountError):
            route_path(path, root)
    else:
        assert route_path(path, root) == found


@pytest.mark.parametrize("root", [None, "", "/", "/app", "/app/", "/v1", "/x"])
@pytest.mark.parametrize(
    "path", ["/v1/x", "/app/v1/x", "/app", "/app/x", "/application/x", "/x/app/x", "/app//x", "//x"]
)
def test_starlette_routes_by_the_same_path(path: str, root: str | None) -> None:
    scope = {"path": path} if root is None else {"path": path, "root_path": root}
    assert routed_path(scope) == get_route_path(scope)


RULES = ["GET /healthz", "POST /login", "OPTIONS *", "* /metrics", "GET /static/*", "M-SEARCH /x", "GET /café"]


@pytest.mark.parametrize(
    ("method", "path", "exempt"),
    [
        ("GET", "/healthz", True),
        ("HEAD", "/healthz", True),
        ("POST", "/healthz", False),
        ("get", "/healthz", False),
        ("GET", "/healthz/", False),
        ("GET", "/healthzz", False),
        ("GET", "/Healthz", False),
        ("GET", "//healthz", False),
        ("GET", "/./healthz", False),
        ("GET", "/v1/../healthz", False),
        ("GET", "/healthz;x", False),
        ("GET", "/healthz?x", False),
        ("GET", "/healthz\n", False),
        ("GET", "/healthz/../v1/accounts/V", False),
        ("GET", None, False),
        ("POST", "/login", True),
        ("GET", "/login", False),
        ("HEAD", "/login", False),
        ("OPTIONS", "/v1/accounts/V", True),
        ("OPTIONS", "*", True),
        ("OPTIONS", None, True),
        ("OPTIONS", "//", True),
        ("options", "/v1/accounts/V", False),
        ("DELETE", "/metrics", True),
        ("GET", "/static/a.css", True),
        ("GET", "/static/a/b.css", True),
        ("GET", "/static/", True),
        ("GET", "/static", False),
        ("GET", "/static/../v1/accounts/V", False),
        ("GET", "/static/..", False),
        ("GET", "/static//v1", False),
        ("GET", "/static/..\\v1", False),
        ("GET", "/staticx/a", False),
        ("M-SEARCH", "/x", True),
        ("GET", "/café", True),
        ("", "/healthz", False),
        ("*", "/healthz", False),
    ],
)
def test_what_is_exempt(method: str, path: str | None, exempt: bool) -> None:
    assert Exemptions(RULES).match(method, path) == exempt


def test_an_encoded_slash_is_exempt_from_nothing() -> None:
    for raw in (b"/static/..%2fv1", b"/static%2fa", b"/static/a%5cb", b"/static/a%252fb"):
        assert not Exemptions(RULES).match("GET", unquote(raw.decode()), raw)
        assert not Exemptions(RULES).match("GET", "/static/a", raw)


@given(st.text(max_size=8), st.text(max_size=30))
def test_nothing_else_is_exempt(method: str, path: str) -> None:
    known = {("GET", "/healthz"), ("HEAD", "/healthz"), ("POST", "/login"), ("M-SEARCH", "/x")}
    below = method in ("GET", "HEAD") and (path.startswith("/static/") or path == "/café")
    if Exemptions(RULES).match(method, path):
        assert (method, path) in known or method == "OPTIONS" or path == "/metrics" or below


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "/healthz",
        "GET",
        "GET ",
        "get /healthz",
        "GET  /healthz",
        " GET /healthz",
        "GET /healthz ",
        "GET\t/healthz",
        "GET healthz",
        "GET /a b",
        "GET /a*",
        "GET /*/b",
        "GET /a/**",
        "GET /a/*/b",
        "GET **",
        "GET //healthz",
        "GET /a//b",
        "GET /a/../b",
        "GET /a/./b",
        "GET /a%20b",
        "GET /a?b",
        "GET /a#b",
        "GET /a;b",
        "GET /a\\b",
        "GET /a\n",
        "GET,POST /a",
        "* *",
        "* /*",
        "GET http://api.example/healthz",
    ],
)
def test_a_rule_that_says_nothing_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="exempt"):
        Exemptions([rule])


def test_rules_are_a_list_of_texts() -> None:
    with pytest.raises(TypeError, match=r"\['GET /healthz'\]"):
        Exemptions("GET /healthz")
    for wrong in (5, None, b"GET /healthz", ("GET", "/healthz")):
        with pytest.raises(TypeError, match="a rule of exempt must be a str"):
            Exemptions([wrong])  # type: ignore[list-item]
    assert not Exemptions([]).match("GET", "/")
