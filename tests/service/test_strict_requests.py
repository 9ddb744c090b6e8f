"""What is sent is understood whole or refused: by a table that is made from the document, for each operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
