"""Paths, parameters and heads that nobody means well by: each is a client's error, and none fills the log."""

from __future__ import annotations

import json
import logging
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import pytest

from cidrgate.service import Settings
from cidrgate.service.http.limits import LONGEST_QUERY, MOST_HEADERS
from tests.app_client import AppClient
from tests.service.conftest import ADDRESS, an_api
from tests.service.test_access import NEEDS, filled

if TYPE_CHECKING:
    from tests.service.conftest import Api


def cursor(text: str | bytes) -> str:
    return urlsafe_b64encode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")).decode()


HOSTILE_CURSORS = [
    *["", "=", "====", "A", "!", "é", "\x00", "%", "a" * 10_000, cursor("["), cursor("[" * 1_480), cursor("{" * 2_000)],
    *[
        cursor(text)
        for text in ("", "null", "true", "NaN", "Infinity", "-1", "1e999", "1.5", "9" * 1_900, "١٢", '"a', "[]")
    ],
    *[
        cursor(text)
        for text in ('"\\ud800"', '"\\u0000"', '"' + "a" * 2_900 + '"', '{"a":1}', "\ud800", "\x00", '"a" "b"')
    ],
    *[cursor(b"\xff\xfe"), cursor(json.dumps("a").encode("utf-16"))],
]
HOSTILE_PARTS = [
    *["%FF", "%C0%AF", "%ED%A0%80", "a%FFb", "%00", "a%00b", "%0A", "a%0d%0ab", "%20a", "a%20", "%7F", "%C2%85", "%80"],
    *["%E2%80%A8", "%", "%zz", "%2F", "%2F%2F", "%2e%2e", "..", ".", "%5C", "a%5Cb", "%3F", "%23", "~", "%25", "%2500"],
    *[
        "9" * 30,
        "-1",
        "0",
        "1.5",
        "0x1",
        "\u0661",
        "a" * 300,
        "a" * 5_000,
        "%F0%9F%98%80" * 300,
        "'",
        '"',
        "<script>",
        "${x}",
    ],
]
HOSTILE_PATHS = [
    "//",
    "/v1//accounts",
    "/v1/../v1/me",
    "/%2e%2e/",
    "/%FF",
    "/console/%FF",
    "/console//",
    "/console/..%2f",
]
HOSTILE_PATHS += [
    "/console/link/%FF",
    "/console/static/..%2f..%2fapp.py",
    "/console/static/%00",
    "/v1/authorize/%FF",
    "*",
]
OPEN = ("/healthz", "/readyz", "/openapi.json")


def careful(api: Api, method: str, path: str, **headers: str) -> int:
    """The status of an answer, which is as careful as every other."""
    content = None if method in ("GET", "HEAD") else b"{}"
    # As they come over the wire: a character a byte.
    raw = {name.encode(): value.encode("latin-1", "replace") for name, value in headers.items()}
    response = api.client.request(method, path, headers=raw, content=content)
    for header in ("content-security-policy", "x-frame-options", "x-content-type-options", "referrer-policy"):
        assert header in response.headers, (path, header)
    assert "Traceback" not in response.text
    assert response.status_code < 500, (path, response.text[:300])
    return response.status_code


@pytest.mark.parametrize("route", [route for route in NEEDS if "{" not in route or "{account_name}" in route])
def test_cursors_that_are_none(api: Api, route: str) -> None:
    method, path = filled(route)
    if method != "GET" or path.startswith(OPEN):
        return
    token = f"Bearer {api.token('admin')}"
    for hostile in HOSTILE_CURSORS:
        response = api.client.get(path, params={"cursor": hostile}, headers={"Authorization": token})
        assert response.status_code < 500, (path, hostile[:50])
        assert "content-security-policy" in response.headers


def with_hostile_parts() -> set[tuple[str, str]]:
    """The methods and paths of every route, with each hostile part in the place of what it names, and at the end."""
    made = set()
    for route in NEEDS:
        method, _, template = route.partition(" ")
        for hostile in HOSTILE_PARTS:
            path = template
            for name in ("account_name", "entry_id", "token_id", "session_id", "code"):
                path = path.replace(f"{{{name}}}", hostile)
            made |= {(method, path), (method, f"{template.partition('{')[0]}{hostile}")}
    return made


@pytest.mark.parametrize("known", [True, False])
def test_parts_of_paths_that_name_nothing(api: Api, known: bool, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"Authorization": f"Bearer {api.token('admin')}"} if known else {}
    with caplog.at_level(logging.WARNING):
        for method, path in sorted(with_hostile_parts()):
            careful(api, method, path, **headers)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


@pytest.mark.parametrize("guarded", [None, "allow", "account"])
def test_paths_that_lead_nowhere_fill_no_log(guarded: str | None, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(
        authorize=True,
        unlisted="deny",
        allow=("198.51.100.0/24",) if guarded == "allow" else None,
        allow_account="acct-1" if guarded == "account" else None,
    )
    for api in an_api("memory://", settings):
        with caplog.at_level(logging.WARNING):
            for path in HOSTILE_PATHS:
                for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"):
                    careful(api, method, path)
                    careful(api, method, path, **{"X-Account": "a\x01b", "X-Forwarded-For": "\xff"})
            for account in ("%FF", "\x01", "a" * 300, " a", "\u202e"):
                careful(api, "GET", "/v1/authorize", **{"X-Account": account.encode().decode("latin-1")})
    assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


def test_heads_that_are_too_large_or_name_no_host(api: Api) -> None:
    assert careful(api, "GET", "/v1/me?" + "a" * (LONGEST_QUERY + 1)) == 414
    assert careful(api, "GET", "/v1/me", **{f"X-{number}": "a" for number in range(MOST_HEADERS)}) == 431
    assert careful(api, "GET", "/v1/me", **{"X-Long": "a" * 70_000}) == 431
    for host in (
        "",
        "a b",
        "evil/path",
        "user@evil",
        "a:b",
        "[::1",
        "a\\b",
        "a?b",
        "a#b",
        "x" * 300,
        "a:999999",
        "\xff",
    ):
        assert careful(api, "GET", "/v1/me", Host=host.encode("latin-1").decode("latin-1")) == 400, host
    for host in ("localhost", "127.0.0.1:8080", "[::1]:8080", "lists.example.com"):
        assert careful(api, "GET", "/v1/me", Host=host) == 401


def test_queries_that_are_no_text(api: Api) -> None:
    token = {"Authorization": f"Bearer {api.token('admin')}", "Idempotency-Key": "k"}
    for query in ("address=%FF", "address=%00", "address=" + "9" * 99, "address=%ED%A0%80", "address=::1%25eth0"):
        assert careful(api, "GET", f"/v1/accounts/acct-1/check?{query}", **token) == 200
    assert careful(api, "POST", "/v1/accounts?%FF", **token) == 422


def test_an_error_that_nobody_expected_is_answered_as_carefully(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(api.manager), "accounts", lambda *_, **__: 1 / 0)
    client = AppClient(api.app, client=(ADDRESS, 50_000), raise_server_exceptions=False)
    response = client.get("/v1/accounts", headers={"Authorization": f"Bearer {api.token('admin')}"})
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    for header in ("content-security-policy", "x-frame-options", "cache-control", "x-request-id"):
        assert header in response.headers
    metrics = client.get("/metrics", headers={"Authorization": f"Bearer {api.token('admin')}"}).text
    assert 'cidrgate_http_requests_total{method="GET",route="/v1/accounts",status="500"} 1.0' in metrics
