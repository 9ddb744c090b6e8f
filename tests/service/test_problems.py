"""Problems are one family: every error that can reach a client has a type, a page, and fits the schema."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema_rs import Draft202012Validator
from starlette.testclient import TestClient

from cidrgate import ClientAddress, Verdict, errors
from cidrgate.authorize.connections import _refusal
from cidrgate.client import errors as client_errors
from cidrgate.errors import CidrgateError, Problem, RuleError, StoreError, UnconfirmedChangeError
from cidrgate.gate.denial import denial_of
from cidrgate.gate.verdict import VerdictReason
from cidrgate.problem_types import PROBLEM_TYPES, TYPE_OF_CODE, problem_details, type_of_error
from cidrgate.service import Settings
from cidrgate.service.http import problems
from cidrgate.service.http.limits import LONGEST_QUERY, MOST_HEADERS
from tests.service.conftest import ADDRESS, Api, Caller, an_api, openapi_document

SOURCE = Path(__file__).parents[2] / "src" / "cidrgate"
ENTRIES = "/v1/accounts/acct-1/entries"
BASES = {"CidrgateError", "NotFoundError", "ConflictError", "UnconfirmedChangeError"}
"""Errors that are never raised themselves."""
INSIDE = {"MissingAccountError", "ServiceError", "ApiError"}
"""Errors that an edge turns into others, or that carry the code of a type."""


def error_classes() -> list[type[CidrgateError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CidrgateError)]
    return [kind for kind in found if kind.__name__ not in BASES | INSIDE]


@cache
def schema() -> Draft202012Validator:
    """The schema of problems, with what it refers to."""
    document = openapi_document()
    return Draft202012Validator({**document["components"]["schemas"]["Problem"], "components": document["components"]})


def checked(validator: Draft202012Validator, body: Any, status: int) -> dict[str, Any]:
    """A problem that fits the schema and its type."""
    validator.validate(body)
    kind = TYPE_OF_CODE[body["code"]]
    assert (body["type"], body["title"], body["status"]) == (kind.uri, kind.title, status)
    assert kind.status == status
    for error in body["errors"]:
        assert error["detail"]
    found: dict[str, Any] = body
    return found


def test_every_error_of_the_library_has_a_type() -> None:
    for kind in error_classes():
        found = type_of_error(kind.__new__(kind))
        assert found is not None, kind
        # A subclass may be told as its base; every other class has a type of its own.
        assert found.code == kind.code or issubclass(kind, StoreError), kind
    assert len({kind.code for kind in PROBLEM_TYPES}) == len(PROBLEM_TYPES)
    for one in PROBLEM_TYPES:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one.code)
        assert one.title[0].isupper()
        assert one.title[-1] != "."
        assert one.meaning.endswith(".")
        assert one.advice.endswith(".")


def made(kind: type[CidrgateError]) -> CidrgateError:
    if issubclass(kind, RuleError):
        return kind(
            [Problem(code="invalid_format", text="8.8.8.8", position=0, hint="add the length: 8.8.8.8/32")], more=7
        )
    error = kind.__new__(kind)
    Exception.__init__(error, "it failed at db.example")
    if isinstance(error, UnconfirmedChangeError):
        error.account, error.consequence, error.confirm = "acct-1", "it would be bad", ("lock_out",)
    return error


def test_every_error_that_a_route_raises_is_a_problem(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[type[CidrgateError]] = []

    def fails(*_: object, **__: object) -> None:
        raise made(raised[-1])

    token = api.token("admin")
    monkeypatch.setattr(type(api.manager), "account", fails)
    client = TestClient(api.app, client=(ADDRESS, 50_000), raise_server_exceptions=False)
    for kind in error_classes():
        raised.append(kind)
        answer = client.get("/v1/accounts/acct-1", headers={"Authorization": f"Bearer {token}"})
        told = checked(schema(), answer.json(), answer.status_code)
        found = type_of_error(made(kind))
        assert found is not None
        expected = found.code if found.status is not None else "internal_error"
        if issubclass(kind, StoreError):
            assert "db.example" not in answer.text
            expected = found.code if found.status is not None else "store_unavailable"
            expected = "store_busy" if issubclass(kind, errors.StoreBusyError) else expected
            assert answer.headers["retry-after"]
        assert told["code"] == expected


def test_every_code_that_the_source_names_has_a_type() -> None:
    calls = re.compile(r'(?:problem_response|ServiceError|problem_details|_refusal|_refuse)\(\s*"(\w+)"')
    named = {code for path in SOURCE.rglob("*.py") for code in calls.findall(path.read_text())}
    assert len(named) > 10
    assert named - {"code"} <= set(TYPE_OF_CODE)
    raised = {kind.code for kind in PROBLEM_TYPES if kind.error is None and kind.status is not None}
    denials = {"address_not_allowed", "no_account", "check_failed"}
    framework = set(problems._CODES.values())
    assert raised == named - {kind.code for kind in PROBLEM_TYPES if kind.error} | denials | framework | {
        "invalid_request",
        "insufficient_scope",
    }


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, CidrgateError)


def test_every_code_of_the_client_has_a_type() -> None:
    of_the_client = {kind.code for kind in vars(client_errors).values() if _is_error(kind)}
    assert {"http_error", "connection_failed", "connection_lost"} < of_the_client
    raised_as_others = {"cidrgate", "unconfirmed_change", "not_found", "conflict"}
    assert of_the_client - raised_as_others <= set(TYPE_OF_CODE)
    for kind in PROBLEM_TYPES:
        if kind.error is None and kind.status is None:
            assert kind.code in of_the_client


def test_what_is_answered_before_the_application_fits_too() -> None:
    for code in ("head_too_large", "malformed_request"):
        head, _, body = _refusal(code, "it is wrong").partition(b"\r\n\r\n")
        checked(schema(), json.loads(body), int(head.split()[1]))


def test_every_denial_of_a_gate_fits() -> None:
    for reason, address in product(get_args(VerdictReason), ("8.8.8.8", None)):
        verdict = Verdict.__new__(Verdict)
        values = {
            "result": "denied",
            "reason": reason,
            "account": "acct-1",
            "client": ClientAddress(address=address, source="peer"),
            "request_id": "req-42",
        }
        for name, value in values.items():
            object.__setattr__(verdict, name, value)
        body = json.loads(denial_of(verdict).body)
        assert body["errors"] == []
        checked(schema(), body, 403)
        # Whether the account is known is not told.
        if reason in ("not_listed", "unknown_account", "stale_lists") and address:
            assert body["code"] == "address_not_allowed"


def test_the_guard_in_front_of_the_service_answers_alike() -> None:
    for api in an_api("memory://", Settings(allow=("203.0.113.0/24",))):
        refused = api.client.get("/v1/me")
        body = checked(schema(), refused.json(), refused.status_code)
        assert (body["code"], body["address"]) == ("address_not_allowed", ADDRESS)
        # The page of the type is open to whoever got it.
        assert api.client.get(body["type"]).json()["meaning"]
        for path in ("/problems", "/problems/../v1/me", "/problems/..%2fv1%2fme", "/problems%2f..%2fv1%2fme"):
            assert api.client.get(path).status_code in (403, 404), path


def test_each_type_has_a_page(api: Api) -> None:
    for kind in PROBLEM_TYPES:
        told = api.client.get(kind.uri)
        assert told.status_code == 200
        assert told.json() == {
            "type": kind.uri,
            "code": kind.code,
            "title": kind.title,
            "status": kind.status,
            "meaning": kind.meaning,
            "advice": kind.advice,
        }
        page = api.client.get(kind.uri, headers={"Accept": "text/html"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["vary"] == told.headers["vary"] == "Accept"
        assert kind.title in page.text
    for nothing in ("nothing", "%00", "a%2Fb", "x" * 65):
        assert api.client.get(f"/problems/{nothing}").status_code in (404, 422)


def test_every_response_of_the_document_that_is_an_error_is_a_problem() -> None:
    for api in an_api("memory://", Settings(authorize=True, unlisted="deny")):
        document = api.app.openapi()
        seen = 0
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                for status, answer in operation["responses"].items():
                    if status[0] in "45" and (path, status) != ("/readyz", "503"):
                        [kind] = [answer["content"]["application/problem+json"]["schema"]]
                        assert kind == {"$ref": "#/components/schemas/Problem"}, (method, path, status)
                        assert any(one.status == int(status) for one in PROBLEM_TYPES), status
                        seen += 1
        assert seen > 200


def test_each_way_to_be_wrong_is_told_in_the_same_form(api: Api, admin: Caller) -> None:
    validator = schema()
    headers = {"Authorization": f"Bearer {admin.token}"}

    def told(status: int, method: str, path: str, **sent: Any) -> dict[str, Any]:
        answer = api.client.request(method, path, **{"headers": headers} | sent)
        assert answer.status_code == status, answer.text
        return checked(validator, answer.json(), status)

    as_json = headers | {"Content-Type": "application/json"}
    assert told(400, "POST", ENTRIES, content="{", headers=as_json)["code"] == "malformed_body"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "application/problem+json", ""):
        refused = told(415, "POST", ENTRIES, content='{"cidrs": ""}', headers=headers | {"Content-Type": kind})
        assert refused["code"] == "unsupported_media_type"
    assert told(415, "POST", ENTRIES, content='{"cidrs": ""}')["code"] == "unsupported_media_type"
    merge = headers | {"Content-Type": "application/merge-patch+json"}
    assert told(415, "POST", ENTRIES, content='{"cidrs": ""}', headers=merge)["code"] == "unsupported_media_type"
    assert told(404, "PATCH", f"{ENTRIES}/9", content="{}", headers=merge)["code"] == "entry_not_found"
    utf8 = headers | {"Content-Type": "Application/JSON; charset=UTF-8"}
    assert told(422, "POST", ENTRIES, content="{}", headers=utf8)["code"] == "invalid_request"
    for query, name, code in (
        ("limit=0", "limit", "out_of_range"),
        ("limit=x", "limit", "wrong_type"),
        ("limit=1&limit=2", "limit", "repeated"),
    ):
        [error] = told(422, "GET", f"{ENTRIES}?{query}")["errors"]
        assert (error["parameter"], error["code"]) == (name, code)
    [unknown] = told(422, "GET", f"{ENTRIES}?dry_run=true")["errors"]
    assert unknown["code"] == "unknown"
    assert "dry_run" not in unknown["detail"]
    [key] = told(422, "POST", ENTRIES, json={"cidrs": ""}, headers=headers | {"Idempotency-Key": "x" * 256})["errors"]
    assert (key["header"], key["code"]) == ("Idempotency-Key", "too_long")
    [missing] = told(422, "GET", "/v1/accounts/acct-1/check")["errors"]
    assert (missing["parameter"], missing["code"]) == ("address", "missing")
    [entry] = told(422, "GET", f"{ENTRIES}/x")["errors"]
    assert (entry["parameter"], entry["code"]) == ("entry_id", "wrong_type")
    [beyond] = told(422, "GET", f"{ENTRIES}/{2**53}")["errors"]
    assert (beyond["parameter"], beyond["code"]) == ("entry_id", "out_of_range")
    sent = {"entries": [{"cidr": "9.9.9.0/24"}, {"cidr": "8.8.8.8"}]}
    for method in ("POST", "PUT"):
        [broken] = told(422, method, ENTRIES, json=sent)["errors"]
        assert (broken["pointer"], broken["position"], broken["code"]) == ("/entries/1/cidr", 1, "invalid_format")
    [pasted] = told(422, "POST", ENTRIES, json={"cidrs": "9.9.9.0/24, 8.8.8.8"})["errors"]
    assert (pasted["pointer"], pasted["position"]) == ("/cidrs", 1)
    [item] = told(422, "PUT", ENTRIES, json={"items": [{"cidr": "8.8.8.8", "id": 1}]})["errors"]
    assert item["pointer"] == "/items/0/cidr"
    preview = "/v1/accounts/acct-1/preview"
    [inside] = told(422, "POST", preview, json={"change": "add", "entries": [{"cidr": "1", "x": 1}]})["errors"]
    assert (inside["pointer"], inside["code"]) == ("/entries/0/x", "unknown")
    seen = api.client.post(preview, json={"change": "add", **sent}, headers=headers).json()
    assert [(one["pointer"], one["suggestions"]) for one in seen["errors"]] == [("/entries/1/cidr", ["8.8.8.8/32"])]
    many = told(422, "POST", ENTRIES, json={"cidrs": ",".join(["x"] * 150)})
    assert (len(many["errors"]), many["more_errors"]) == (100, 51), "and the limit"
    assert told(414, "GET", "/v1/me?" + "a" * (LONGEST_QUERY + 1))["code"] == "query_too_long"
    lines = headers | {f"X-{number}": "a" for number in range(MOST_HEADERS)}
    assert told(431, "GET", "/v1/me", headers=lines)["code"] == "head_too_large"
    assert told(400, "GET", "/v1/me", headers=headers | {"Host": "a b"})["code"] == "invalid_host"
    assert told(401, "GET", "/v1/me", headers={})["code"] == "unauthorized"


def test_a_title_depends_on_the_code_alone() -> None:
    for kind in PROBLEM_TYPES:
        assert problem_details(kind.code, "it failed")["title"] == kind.title


def test_details_of_an_unknown_code_are_not_made() -> None:
    with pytest.raises(KeyError):
        problem_details("nonsense", "it failed")


def test_the_document_says_where_the_service_is() -> None:
    for api in an_api("memory://", Settings(public_url="https://lists.example.com")):
        document = api.app.openapi()
        assert document["servers"] == [{"url": "https://lists.example.com/"}]
        assert document["info"]["license"]["identifier"] == "Apache-2.0"


def test_every_error_of_the_library_has_a_page(api: Api) -> None:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.CidrgateError)]
    for one in classes:
        if one is not errors.CidrgateError:
            assert api.client.get(f"/problems/{one.code}").status_code == 200, one


@pytest.mark.parametrize("change", ["add", "edit", "remove", "replace", "restore", "undo"])
def test_what_is_wrong_with_a_preview_is_at_a_part_of_its_body(admin: Caller, change: str) -> None:
    for body in ({}, {"cidrs": "8.8.8.0/24", "entries": []}, {"unknown": 1}):
        response = admin("POST", "/v1/accounts/acct-1/preview", {"change": change, **body})
        if response.status_code == 422:
            for one in response.json()["errors"]:
                assert one["pointer"] != f"/{change}", one
