"""The OpenAPI document is true: whatever is sent, the answer is one that it describes, and never a server's error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from pydantic import BaseModel, TypeAdapter
from schemathesis.checks import CHECKS
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.api import accounts, checks, entries, health, history, problem_pages, schemas, sessions, tokens
from cidrgate.service.http.limits import LARGEST_HEAD, LONGEST_QUERY, MOST_HEADERS
from tests.app_client import AppClient
from tests.length import length
from tests.service.conftest import Api

if TYPE_CHECKING:
    from schemathesis import Case

EXAMPLES = length(12, 25)
"""Requests an operation gets, more or less: this runs with every change."""


@cache
def served() -> Api:
    """A service with lists, for everything in this module."""
    manager = RuleManager.open("memory://", follow=False)
    manager.create_account("acct-1")
    manager.create_account("sub-1", parent="acct-1")
    manager.add("acct-1", "8.8.8.0/24, 2606:4700::/32", label="office")
    app = create_app(manager, Settings(login_failures=10**9, ready_within=10**9))
    return Api(manager, app, AppClient(app))


REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "415", "422", "428", "429", "5xx"]
"""What refuses invalid data: the defaults of the check and 412, as the precondition is read before the body."""

CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}})

schema = schemathesis.openapi.from_asgi("/openapi.json", served().app, config=CONFIG).exclude(
    operation_id="follow_changes"
)
"""All operations but the one whose response has no end; `test_change_stream.py` reads that."""


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_as_documented(case: Case[Any]) -> None:
    """Rules refuse what a schema cannot tell apart: that alone is no promise of the document."""
    if "account_name" in case.path_parameters and len(str(case.path_parameters["account_name"])) % 2:
        case.path_parameters["account_name"] = "acct-1"
    excluded: list[Any] = [positive_data_acceptance]
    # What is wrong with a parameter can be gone once it is written, or replaced by an account and token that are there.
    if case.meta is None or not case.meta.is_negative_at(ParameterLocation.BODY):
        excluded.append(negative_data_rejection)
    case.call_and_validate(headers={"Authorization": f"Bearer {usable(served())}"}, excluded_checks=excluded)


def usable(api: Api, kept: dict[str, str] = {}) -> str:  # noqa: B006 - one token, until a request revokes it
    """A token that no request has revoked yet."""
    if "token" not in kept or api.credentials.authenticate(kept["token"]) is None:
        kept["token"] = api.token("admin")
    return kept["token"]


def test_all_checks_there_are_are_made() -> None:
    names = {check.__name__ for check in CHECKS.get_all()}
    assert {"not_a_server_error", "status_code_conformance", "response_schema_conformance"} <= names


def test_the_document_is_complete() -> None:
    found: dict[str, Any] = served().app.openapi()
    assert found["openapi"].startswith("3.1")
    operations = [(path, method, one) for path, methods in found["paths"].items() for method, one in methods.items()]
    assert len({one["operationId"] for _, _, one in operations}) == len(operations)
    for path, method, one in operations:
        assert one["description"], (path, method)
        assert one["tags"], (path, method)
        for status, answer in one["responses"].items():
            assert answer["description"], (path, method, status)
            problem = "application/problem+json" in answer.get("content", {})
            assert (status == "304") <= ("content" not in answer)
            assert problem == (status[0] in "45" and (path, status) != ("/readyz", "503")), (path, method, status)
        if path.startswith("/v1"):
            assert one["security"] == [{"token": []}]
            assert {"401", "429", "503"} <= set(one["responses"])
        if "requestBody" in one:
            assert {"400", "408", "413", "415"} <= set(one["responses"])
            assert all(content["schema"] for content in one["requestBody"]["content"].values()), (path, method)
            assert ("application/merge-patch+json" in one["requestBody"]["content"]) == (method == "patch")


BEFORE_ROUTES: dict[str, tuple[str, dict[str, str]]] = {
    "a known tag": ("", {"If-None-Match": "*"}),
    "a long query": ("?" + "a" * (LONGEST_QUERY + 1), {}),
    "a large head": ("", {"X-Long": "x" * (LARGEST_HEAD + 1)}),
    "many headers": ("", {f"X-{number}": "x" for number in range(MOST_HEADERS + 1)}),
    "a wrong host": ("", {"Host": "a b"}),
}
"""What is answered whatever the route does: the end of the path, and headers."""


@pytest.mark.parametrize("name", BEFORE_ROUTES)
def test_what_is_answered_for_every_route_is_documented_for_every_route(name: str) -> None:
    query, headers = BEFORE_ROUTES[name]
    app = create_app(served().manager, Settings(authorize=True, unlisted="deny", ready_within=10**9))
    sent = {"Authorization": f"Bearer {usable(served())}", "X-Account": "acct-1", **headers}
    client, document = AppClient(app), app.openapi()
    for path, item in document["paths"].items():
        known = path.replace("{account_name}", "acct-1").replace("{code}", "store_busy")
        if "get" in item and "{" not in known and path != "/v1/changes/stream":  # that response has no end
            answer = client.get(known + query, headers=sent)
            assert str(answer.status_code) in item["get"]["responses"], (path, answer.text)
    operations = [one for item in document["paths"].values() for one in item.values()]
    assert all({"400", "414", "431"} <= set(one["responses"]) for one in operations)


def test_examples_are_what_they_are_examples_of() -> None:
    shown = 0
    modules = (accounts, checks, entries, health, history, problem_pages, schemas, sessions, tokens)
    for model in {one for module in modules for one in vars(module).values() if isinstance(one, type)}:
        if issubclass(model, BaseModel):
            extra = model.model_config.get("json_schema_extra") or {}
            assert isinstance(extra, dict)
            for example in extra.get("examples", []):  # type: ignore[union-attr]
                TypeAdapter(model).validate_python(example)
                shown += 1
    assert shown > 12


def test_a_query_has_room_for_as_many_items_as_a_parameter_may_have() -> None:
    for path, item in served().client.get("/openapi.json").json()["paths"].items():
        for parameter in item.get("get", {}).get("parameters", ()):
            most = parameter["schema"].get("maxItems")
            if parameter["in"] == "query" and most is not None:
                shortest = f"{parameter['name']}=8.8.8.8&"
                assert most * len(shortest) <= LONGEST_QUERY, (path, parameter["name"])
