"""What is sent is understood whole or refused: by a table that is made from the document, for each operation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate.service.http.limits import DEEPEST_JSON, LONGEST_NUMBER, MOST_MEMBERS
from tests.rows import rows
from tests.service.conftest import openapi_document
from tests.service.test_access import BODIES, NEEDS, filled, routes

if TYPE_CHECKING:
    from httpx2 import Response

    from tests.service.conftest import Api

OPERATIONS = sorted(NEEDS)
UNKNOWN = [
    "dry-run=true",
    "dry_run=true",
    "q=x",
    "Limit=1",
    "limit%00=1",
    "unknown",
    "%ff=1",
    "cursor[]=1",
    "confirm_=true",
]
PARAMETERS = [
    (route, one["name"])
    for route in OPERATIONS
    for method, path in [route.split(" ")]
    for one in openapi_document()["paths"][path][method.lower()].get("parameters", [])
    if one["in"] == "query" and "array" not in str(one["schema"])
]
VALUES = {"limit": "1", "cursor": "IjEi", "address": "8.8.8.8", "confirm": "true"}
VALUES |= {"order": "newest", "before": "9", "after": "1", "account": "acct-1", "parent": "acct-1", "containing": "a"}
VALUES |= dict.fromkeys(("days", "max_entries"), "7") | {"widest_ipv4": "8", "widest_ipv6": "32"}
VALUES |= {"starting_with": "a", "covers": "8.8.8.8", "overlaps": "8.8.8.0/24"}
VALUES |= dict.fromkeys(("recursive", "if_missing", "dry_run", "prune", "create", "strict", "include_denied"), "true")
INTEGERS = [
    (route, one["in"], one["name"])
    for route in OPERATIONS
    for method, path in [route.split(" ")]
    for one in openapi_document()["paths"][path][method.lower()].get("parameters", [])
    if "'integer'" in str(one["schema"])
]
LOOSE = [
    "1_3",
    "15.0",
    "%2B4",
    "+4",
    "-0",
    "-1",
    "%204",
    "4%20",
    "4%0A",
    "04",
    "00",
    "1e1",
    "0x1",
    "%D9%A1",
    "%EF%BC%91",
    "1,2",
]
"""Texts that some readers take for an integer."""
WITH_BODY = sorted(BODIES)

HOSTILE_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "half": b'{"cidrs": "8.8.8.0/24"',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b'{"entries": ' + b"[" * (DEEPEST_JSON + 1) + b"]" * (DEEPEST_JSON + 1) + b"}",
    "a huge integer": b'{"cidrs": ' + b"9" * 5_000 + b"}",
    "a long number": b'{"to_sequence": ' + b"1" * (LONGEST_NUMBER + 1) + b"}",
    "a number beyond floats": b'{"to_sequence": 1e999}',
    "a fraction": b'{"to_sequence": 1.5}',
    "NaN": b'{"to_sequence": NaN}',
    "Infinity": b'{"cidrs": [-Infinity]}',
    "half a character": b'{"cidrs": "\\ud800", "name": "\\udfff", "scopes": ["\\ud800"]}',
    "half a character in a name": b'{"\\ud800": 1}',
    "a NUL": b'{"cidrs": "\\u0000", "name": "a\\u0000", "label": "\\u0000", "scopes": ["account:\\u0000:read"]}',
    "no UTF-8": b'{"cidrs": "\xff"}',
    "UTF-16": '{"cidrs": "8.8.8.0/24"}'.encode("utf-16"),
    "a mark before it": b'\xef\xbb\xbf{"cidrs": "8.8.8.0/24"}',
    "a name twice": b'{"cidrs": "8.8.8.0/24", "cidrs": "9.9.9.0/24", "name": "a", "name": "b", "change": "add"}',
    "a name twice inside": b'{"entries": [{"cidr": "8.8.8.0/24", "cidr": "9.9.9.0/24"}], "change": "add"}',
    "many members": b"{" + b",".join(b'"%d":1' % number for number in range(MOST_MEMBERS + 1)) + b"}",
    "an unknown member": b'{"cidrs": "9.9.9.0/24", "name": "n", "dry_run": true}',
    "a long name": b'{"' + b"a" * 500_000 + b'": 1}',
    "many wrong elements": b'{"entries": [' + b",".join([b"1"] * 200_000) + b'], "change": "replace"}',
    "an integer that not every reader can represent": b'{"to_sequence": %d}' % 2**53,
    "an array": b"[1, 2]",
    "a text": b'"text"',
    "null": b"null",
    "bytes": bytes(range(256)),
}


def sent(api: Api, token: str, route: str, *, query: str = "", content: bytes | None = None) -> Response:
    method, path = filled(route)
    body = {} if content is None else {"content": content}
    if content is None and route in BODIES:
        body = {"json": BODIES[route]}  # type: ignore[dict-item]
    headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": "application/json"} if content else {})
    if query:
        path += ("&" if "?" in path else "?") + query
    return api.client.request(method, path, headers=headers, **body)  # type: ignore[arg-type]


def refused(response: Response) -> None:
    assert response.status_code == 422, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "invalid_request"
    assert "content-security-policy" in response.headers


def test_the_table_is_the_document(api: Api) -> None:
    assert sorted(routes(api.app)) == OPERATIONS
    assert len(PARAMETERS) >= 10


@pytest.fixture
def token(api: Api) -> str:
    """The token of somebody who may do everything, the only one there is; `acct-1` has an entry."""
    api.manager.add("acct-1", "8.8.8.0/24")
    return api.token("admin")


@rows("route", OPERATIONS)
@rows("unknown", UNKNOWN)
def test_a_parameter_that_is_not_known_is_refused(api: Api, token: str, route: str, unknown: str) -> None:
    if (route, unknown.partition("=")[0]) in PARAMETERS:
        return  # this route does know it
    before = api.manager.history()
    refused(sent(api, token, route, query=unknown))
    assert api.manager.history() == before
    assert len(api.credentials.tokens()) == 1


@pytest.mark.parametrize("route", OPERATIONS)
def test_a_query_that_is_empty_is_no_parameter(api: Api, token: str, route: str) -> None:
    method, path = filled(route)
    headers = {"Authorization": f"Bearer {token}"}
    response = api.client.request(method, path + ("&" if "?" in path else "?"), headers=headers, json=BODIES.get(route))
    assert response.status_code != 422 or "query" not in response.json()["detail"]


@rows("parameter", PARAMETERS)
def test_a_parameter_that_comes_twice_is_refused(api: Api, token: str, parameter: tuple[str, str]) -> None:
    route, name = parameter
    before = api.manager.history()
    refused(sent(api, token, route, query=f"{name}={VALUES[name]}&{name}={VALUES[name]}"))
    assert api.manager.history() == before


@rows("parameter", INTEGERS)
@rows("loose", LOOSE)
def test_an_integer_is_its_digits_alone(api: Api, token: str, parameter: tuple[str, str, str], loose: str) -> None:
    route, where, name = parameter
    method, path = route.split(" ")
    if where == "path":
        path = path.replace(f"{{{name}}}", loose)
    path = path.replace("{account_name}", "acct-1")
    before = api.manager.history()
    headers = {"Authorization": f"Bearer {token}"}
    query = f"?{name}={loose}" if where == "query" else ""
    body = {"json": BODIES[route]} if route in BODIES else {}
    response = api.client.request(method, path + query, headers=headers, **body)  # type: ignore[arg-type]
    refused(response)
    assert [(one["parameter"], one["code"]) for one in response.json()["errors"]] == [(name, "wrong_type")]
    assert api.manager.history() == before
    assert len(api.credentials.tokens()) == 1


def test_every_integer_is_walked_over() -> None:
    assert {name for _, _, name in INTEGERS} == {
        "limit",
        "before",
        "after",
        "days",
        "max_entries",
        "widest_ipv4",
        "widest_ipv6",
        "entry_id",
        "entry_ids",
        "sequence",
        "token_id",
    }


@rows("route", WITH_BODY)
@rows("kind", HOSTILE_BODIES)
def test_a_body_that_means_nothing_or_two_things_is_refused(api: Api, token: str, route: str, kind: str) -> None:
    before = api.manager.history()
    response = sent(api, token, route, content=HOSTILE_BODIES[kind])
    assert 400 <= response.status_code < 500, response.text[:500]
    assert len(response.content) < 100_000
    assert "content-security-policy" in response.headers
    assert api.manager.history() == before
    assert len(api.credentials.tokens()) == 1


def test_nobody_who_is_not_known_has_a_body_read(api: Api) -> None:
    for route in WITH_BODY:
        response = sent(api, "cidrgate_1_" + "A" * 43, route, content=b"{")
        assert response.status_code == 401, (route, response.text)


CHANGING = [route for route in OPERATIONS if not route.startswith("GET")]
WITHOUT_BODY = [route for route in OPERATIONS if route not in BODIES]
TAKES_IF_MATCH = {
    f"{method.upper()} {path}"
    for path, operations in openapi_document()["paths"].items()
    for method, one in operations.items()
    if any(parameter["name"].lower() == "if-match" for parameter in one.get("parameters", []))
}
UNTAKEN = [
    (name, value)
    for name, values in {
        "If-Match": ('"v0"', '"v1"', "*", ""),
        "If-None-Match": ('"v0"', "*", ""),
        "If-Unmodified-Since": ("Sat, 29 Oct 1994 19:43:31 GMT", "x"),
        "Content-Range": ("bytes 0-9/20", "x"),
    }.items()
    for value in values
]


def with_headers(api: Api, token: str, route: str, headers: dict[str, str], body: bytes | None = None) -> Response:
    method, path = filled(route)
    sent_body = {"json": BODIES.get(route)} if body is None else {"content": body}
    sent = {"Authorization": f"Bearer {token}", **headers}
    return api.client.request(method, path, headers=sent, **sent_body)


@rows("route", CHANGING)
@rows("header", UNTAKEN)
def test_a_condition_that_a_change_does_not_take_is_refused(
    api: Api, token: str, route: str, header: tuple[str, str]
) -> None:
    name, value = header
    if name == "If-Match" and route in TAKES_IF_MATCH:
        return
    before = api.manager.history()
    response = with_headers(api, token, route, {name: value})
    refused(response)
    assert [(one["code"], one["header"]) for one in response.json()["errors"]] == [("unknown", name)]
    assert api.manager.history() == before
    assert len(api.credentials.tokens()) == 1


def test_a_condition_that_is_refused_names_what_to_send_instead(api: Api, token: str) -> None:
    for route in CHANGING:
        detail = with_headers(api, token, route, {"If-None-Match": "*"}).json()["detail"]
        instead = "send If-Match" if route in TAKES_IF_MATCH else "leave it out"
        assert ("send expect_versions in the body" if route == "PUT /v1/lists" else instead) in detail, route


@rows("route", [route for route in OPERATIONS if route.startswith("GET") and route != "GET /v1/changes/stream"])
def test_headers_that_cannot_apply_to_a_request_that_reads_are_ignored(api: Api, token: str, route: str) -> None:
    day = "Sat, 29 Oct 1994 19:43:31 GMT"
    ignored = {"If-Modified-Since": day, "If-Unmodified-Since": day, "If-Match": '"v9"'}
    response = with_headers(api, token, route, {"Range": "bytes=0-1", "If-Range": '"x"', **ignored})
    assert response.status_code in (200, 409), response.text


def test_headers_that_are_defined_for_get_alone_do_not_hinder_a_change(api: Api, token: str) -> None:
    ignored = {"Range": "bytes=0-1", "If-Range": '"x"', "If-Modified-Since": "Sat, 29 Oct 1994 19:43:31 GMT"}
    assert with_headers(api, token, "PUT /v1/policy", ignored).status_code == 200


@rows("route", WITHOUT_BODY)
@rows("content", [b'{"dry_run": true}', b"{}", b"x", b"null", b" ", b"a" * 3_000_000])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_an_operation_does_not_take_is_refused(
    api: Api, token: str, route: str, content: bytes, announced: bool
) -> None:
    before = api.manager.history()
    head = {"Content-Type": "application/json"} | ({} if announced else {"Transfer-Encoding": "chunked"})
    response = with_headers(api, token, route, head, content)
    if announced or len(content) < 1 << 20:
        refused(response)
        assert [(one["code"], one["pointer"]) for one in response.json()["errors"]] == [("unknown", "")]
    else:
        assert response.status_code == 413
    assert api.manager.history() == before
    assert len(api.credentials.tokens()) == 1


@rows(
    "route",
    [route for route in WITHOUT_BODY if route not in ("GET /v1/changes/stream", "DELETE /v1/tokens/{token_id}")],
)
@rows("empty", [{"Content-Length": "0"}, {"Transfer-Encoding": "chunked"}, {"Content-Type": "application/json"}])
def test_an_empty_body_is_no_body(api: Api, token: str, route: str, empty: dict[str, str]) -> None:
    assert with_headers(api, token, route, empty, b"").status_code not in (400, 408, 413, 415, 422)


@rows("route", WITH_BODY)
@rows(
    "coding",
    [("Content-Encoding", value) for value in ("gzip", "GZIP", "br", "identity, gzip", "deflate", "x")]
    + [("Transfer-Encoding", value) for value in ("gzip, chunked", "gzip", "identity")],
)
def test_a_body_that_is_encoded_is_refused(api: Api, token: str, route: str, coding: tuple[str, str]) -> None:
    before = api.manager.history()
    response = with_headers(api, token, route, dict([coding]))
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert ("accept-encoding" in response.headers) == (coding[0] == "Content-Encoding")
    assert api.manager.history() == before
    for plain in ({"Content-Encoding": "identity"}, {"Content-Encoding": ""}, {"Transfer-Encoding": "Chunked"}):
        assert with_headers(api, token, route, plain).status_code != 415


@pytest.mark.parametrize("route", ["DELETE /v1/accounts/{account_name}", "POST /v1/accounts"])
def test_a_request_that_its_client_ends_early_changes_nothing(api: Api, token: str, route: str) -> None:
    method, path = filled(route)
    ended = iter([{"type": "http.request", "body": b"", "more_body": True}, {"type": "http.disconnect"}])
    answers: list[Any] = []

    async def receive() -> Any:
        return next(ended)

    async def send(message: Any) -> None:
        answers.append(message)

    headers = {"authorization": f"Bearer {token}", "host": "x", "content-type": "application/json"}
    headers["transfer-encoding"] = "chunked"
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path.partition("?")[0],
        "scheme": "http",
        "root_path": "",
    }
    scope |= {"query_string": path.partition("?")[2].encode(), "client": ("198.51.100.7", 1), "server": ("x", 80)}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in headers.items()], "http_version": "1.1"}
    before = api.manager.history()
    asyncio.run(api.app(scope, receive, send))
    assert answers[0]["status"] == 400
    assert api.manager.history() == before
