"""What requests may depend on: versions, keys, cursors; and what they are told when they fail."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cidrgate import RuleManager
from cidrgate.manager import DeclaredAccount
from cidrgate.manager.declared import in_parts
from cidrgate.service import Settings
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.limits import MOST_MEMBERS
from cidrgate.service.http.pagination import cursor_after
from tests.length import length
from tests.observed import store_observed
from tests.service.conftest import ADDRESS, Api, Caller, an_api, openapi_document
from tests.service.test_access import BODIES, NEEDS, filled

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = "/v1/accounts/acct-1/entries"


# ------------------------------------------------------------------------------------------------------ versions


def test_a_change_that_was_meant_for_another_version_is_refused(api: Api, admin: Caller) -> None:
    first = admin.ok("GET", ENTRIES)
    assert first["etag"] == '"v0"'
    added = admin("POST", ENTRIES, {"cidrs": "8.8.8.0/24"}, If_Match=first["etag"])
    assert (added.status_code, added.json()["etag"], added.json()["version"]) == (201, '"v1"', 1)
    [entry] = added.json()["after"]
    path = f"{ENTRIES}/{entry['id']}"
    for method, where, body in (
        ("POST", ENTRIES, {"cidrs": "9.9.9.0/24"}),
        ("PUT", ENTRIES, {"cidrs": ""}),
        ("PATCH", path, {"label": "x"}),
        ("DELETE", path, None),
        ("DELETE", f"{ENTRIES}?entry_ids={entry['id']}", None),
        ("POST", "/v1/accounts/acct-1/restore", {"to_sequence": 1}),
        ("POST", "/v1/accounts/acct-1/history/3/undo", None),
    ):
        for tag in ('"v0"', '"v2"', 'W/"v1"', "v1", '"v0", "v2"', 'W/"v1", "v2"', "x", '"v1-short"', '"v01"', "", ","):
            refused = admin.problem(412, method, where, body, If_Match=tag)
            assert refused["code"] == "version_conflict"
        # A change is no request that reads: whatever is there already, it is not made.
        for tag in ("*", '"v1"', '"v9"'):
            [wrong] = admin.problem(422, method, where, body, If_None_Match=tag)["errors"]
            assert (wrong["header"], wrong["code"]) == ("If-None-Match", "unknown")
    assert api.manager.account("acct-1").version == 1
    version = 1
    for form in ('"v{}"', "*", '"v0", "v{}"', '"v{}", "v99"', ' W/"v7" ,"v{}"', ',,"v{}",'):
        changed = admin.ok("PATCH", path, {"label": form}, If_Match=form.format(version))
        version += 1
        assert changed["etag"] == f'"v{version}"'
        assert admin.ok("GET", path)["etag"] == admin.ok("GET", ENTRIES)["etag"] == changed["etag"]
    for where in (path, ENTRIES, f"{ENTRIES}?limit=1"):
        tag = admin("GET", where).headers["etag"]
        admin.ok("PATCH", path, {"label": where}, If_Match=tag)
        admin.problem(412, "PATCH", path, {"label": "later"}, If_Match=tag)


def test_tags_may_be_sent_in_several_lines(api: Api, admin: Caller) -> None:
    def sent(*tags: str) -> int:
        headers = [("Authorization", f"Bearer {admin.token}"), *(("If-Match", tag) for tag in tags)]
        body = {"cidrs": f"9.9.{len(tags)}.0/24"}
        return api.client.post(f"{ENTRIES}?confirm=lock_out", json=body, headers=headers).status_code

    assert sent('"v7"', '"v8"') == 412
    assert sent('"v7"', '"v8"', '"v0"') == 201


def test_an_entity_tag_belongs_to_one_representation(stored_api: Api) -> None:
    admin = stored_api.caller("admin")
    admin.ok("POST", ENTRIES, {"cidrs": "8.8.8.0/24, 9.9.9.0/24"})
    one, two = admin.ok("GET", ENTRIES)["items"]
    second = f"{ENTRIES}?limit=1&cursor={admin.ok('GET', f'{ENTRIES}?limit=1')['next_cursor']}"
    paths = [ENTRIES, f"{ENTRIES}?limit=1", second, f"{ENTRIES}/{one['id']}", f"{ENTRIES}/{two['id']}"]
    paths += ["/v1/accounts/sub-1/entries", "/v1/accounts/acct-1", "/v1/accounts", "/v1/accounts/acct-1/history"]
    before = {path: admin("GET", path) for path in paths}
    assert len({response.headers["etag"] for response in before.values()}) == len(paths)
    with stored_api.manager._store.write() as transaction:
        transaction.note_matches([("acct-1", "9.9.9.0/24")], datetime(2026, 2, 3, tzinfo=UTC))
    for path, response in before.items():
        again = admin("GET", path)
        assert (again.headers["etag"] == response.headers["etag"]) == (again.text == response.text), path
        assert ("last_matched_at" in again.text and "2026-02-03" in again.text) == (again.text != response.text)


def test_what_the_client_has_already_is_not_sent_again(api: Api, admin: Caller) -> None:
    admin.ok("POST", ENTRIES, {"cidrs": "8.8.8.0/24"})
    store_observed(api.manager, ("acct-1", "8.8.8.8/32", 1))
    reads = [
        filled(f"GET {path}")[1]
        for path, operations in openapi_document()["paths"].items()
        if "304" in operations.get("get", {}).get("responses", {})
    ]
    assert len(reads) > 12
    for path in reads:
        first = admin("GET", path)
        assert first.status_code == (200 if "sessions/" not in path else 404), path
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            for method in ("GET", "HEAD"):
                again = admin(method, path, If_None_Match=known)
                assert (again.status_code, again.content) == (304, b""), (path, known)
                assert again.headers["etag"] == tag
                assert "content-length" not in again.headers
        for unknown in ('"x"', tag.strip('"'), ""):
            assert admin("GET", path, If_None_Match=unknown).text == first.text


def test_head_is_get_without_a_body(api: Api, admin: Caller) -> None:
    admin.ok("POST", ENTRIES, {"cidrs": "8.8.8.0/24"})
    documented = openapi_document()["paths"]
    paths = [filled(f"GET {path}")[1] for path, one in documented.items() if "get" in one]
    for path in (*paths, "/openapi.json", "/console/sign-in", "/", "/v1/nothing", "/v1/accounts/nobody"):
        whole, head = admin("GET", path), admin("HEAD", path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        # What the client of the tests read of a stream has a length, the stream has none.
        varies = path in ("/metrics", "/readyz", "/v1/changes/stream")
        changing = {"x-request-id", *(["content-length"] if varies else [])}
        assert {name: value for name, value in head.headers.items() if name not in changing} == {
            name: value for name, value in whole.headers.items() if name not in changing
        }, path
    assert admin("HEAD", "/v1/accounts/acct-1/restore").status_code == 405
    for path, one in documented.items():
        allowed = admin("TRACE", filled(f"GET {path}")[1]).headers["allow"].split(", ")
        assert ("HEAD" in allowed) == ("GET" in allowed) == ("get" in one), path


def test_of_writers_that_saw_the_same_version_one_succeeds(stored_api: Api) -> None:
    admin = stored_api.caller("admin")

    def add(number: int) -> int:
        return admin("POST", ENTRIES, {"cidrs": f"9.9.{number}.0/24"}, If_Match='"v0"').status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(add, range(8)))
    assert sorted(statuses) == [201] + [412] * 7
    assert len(stored_api.manager.entries("acct-1")) == 1


# ---------------------------------------------------------------------------------------------------------- keys


def test_a_request_that_comes_twice_is_carried_out_once(stored_api: Api) -> None:
    admin = stored_api.caller("admin")
    posts = [
        ("/v1/accounts", {"name": "acct-3"}),
        ("/v1/accounts/acct-1/subaccounts", {"name": "sub-2"}),
        (ENTRIES, {"cidrs": "8.8.8.0/24, 9.9.9.0/24", "label": "ü"}),
        ("/v1/accounts/acct-1/restore", {"to_sequence": 3}),
    ]
    for number, (path, body) in enumerate(posts):
        key = f"key-{number}"
        first = admin("POST", path, body, Idempotency_Key=key)
        assert first.status_code < 300, first.text
        log = stored_api.manager.history()
        again = admin("POST", path, body, Idempotency_Key=key)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        for name in ("etag", "location", "content-type"):
            assert again.headers.get(name) == first.headers.get(name)
        assert stored_api.manager.history() == log


CHANGING = sorted(
    route
    for route in NEEDS
    if not route.startswith("GET ") and not route.endswith("/preview")  # it changes nothing
)


@pytest.mark.parametrize("route", CHANGING)
def test_every_change_that_comes_twice_is_carried_out_once(api: Api, route: str) -> None:
    other = api.credentials.create_token("other", [Scope("admin")]).token
    secret = api.credentials.begin_session(other, lifetime=3600)
    session = api.credentials.session(secret)
    assert session is not None
    [entry] = api.manager.add("acct-1", "1.1.1.0/24").after
    admin = api.caller("admin")
    sequence = api.manager.history("acct-1")[0].sequence
    method, path = filled(route)
    path = path.replace("0" * 16, session.id).replace("/history/2/", f"/history/{sequence}/")
    assert (entry.id, other.id) == (1, 1), "the ids that `filled` puts into paths"
    body = BODIES.get(route)
    first = admin(method, path, body, Idempotency_Key="k")
    assert first.status_code < 300, first.text
    log, sessions = api.manager.changes(), api.credentials.sessions()
    assert log[-1].actor == "tester", "something was changed"
    again = admin(method, path, body, Idempotency_Key="k")
    assert again.headers.get("idempotency-replayed") == "true"
    assert (again.status_code, again.json()) == (first.status_code, {**first.json(), **without_secret(route)})
    assert again.headers.get("location") == first.headers.get("location")
    assert (api.manager.changes(), api.credentials.sessions()) == (log, sessions)
    for other_header in ({"On_Behalf_Of": "bob"}, *([{"If_Match": '"v7"'}] if "if-match" in parameters(route) else [])):
        reused = admin.problem(422, method, path, body, Idempotency_Key="k", **other_header)
        assert reused["code"] == "idempotency_key_reused", other_header


def without_secret(route: str) -> dict[str, None]:
    return {"POST /v1/tokens": {"token": None}, "POST /v1/links": {"url": None}}.get(route, {})


def parameters(route: str) -> set[str]:
    method, _, path = route.partition(" ")
    return {one["name"].lower() for one in openapi_document()["paths"][path][method.lower()].get("parameters", [])}


@pytest.mark.parametrize("route", sorted(NEEDS))
def test_the_document_says_which_operations_take_a_key(route: str) -> None:
    named = {"idempotency-key", "on-behalf-of"}
    assert parameters(route) & named == (named if route in CHANGING else set())


def test_a_declaration_that_comes_twice_does_not_undo_what_came_between(stored_api: Api) -> None:
    admin = stored_api.caller("admin")
    entries = [{"cidr": "8.8.8.0/24"}, {"cidr": "9.9.9.0/24"}]
    body = {"accounts": {"sub-2": {"parent": "acct-1"}, "acct-1": {"entries": entries}}}
    first = admin("PUT", "/v1/lists?confirm=lock_out", body, Idempotency_Key="k")
    assert [one["account"] for one in first.json()["changes"]] == ["sub-2", "acct-1"]
    stored_api.manager.remove("acct-1", "9.9.9.0/24", actor="security")
    again = admin("PUT", "/v1/lists?confirm=lock_out", body, Idempotency_Key="k")
    assert (again.text, again.headers["idempotency-replayed"]) == (first.text, "true")
    assert [one.cidr for one in stored_api.manager.entries("acct-1")] == ["8.8.8.0/24"]
    # With another key it is another request.
    assert len(admin.ok("PUT", "/v1/lists?confirm=lock_out", body, Idempotency_Key="other")["changes"]) == 1


def test_a_declaration_that_changes_nothing_by_intent_leaves_its_key_free(stored_api: Api) -> None:
    admin = stored_api.caller("admin")
    body = {"accounts": {"acct-1": {"entries": [{"cidr": "10.0.0.0/8"}]}}}
    for query in ("dry_run=true", "strict=true"):
        for _ in range(2):
            refused = admin("PUT", f"/v1/lists?{query}", body, Idempotency_Key="k")
            assert (refused.status_code, refused.json()["applied"]) == (200, False)
            assert "idempotency-replayed" not in refused.headers
    good = {"accounts": {"acct-1": {"entries": [{"cidr": "8.8.8.0/24"}]}}}
    assert admin.ok("PUT", "/v1/lists?strict=true&confirm=lock_out", good, Idempotency_Key="k")["applied"]
    # Nothing to change is an outcome like any other.
    for _ in range(2):
        unchanged = admin("PUT", "/v1/lists?confirm=lock_out", good, Idempotency_Key="same")
        assert unchanged.json()["unchanged_count"] == 1
    assert unchanged.headers["idempotency-replayed"] == "true"


def test_one_transaction_stores_a_declaration_of_the_service_with_its_response() -> None:
    names = [f"a-{number}" for number in range(MOST_MEMBERS)]
    assert len(list(in_parts(dict.fromkeys(names, DeclaredAccount(entries=[])), whole=False))) == 1


def test_a_key_belongs_to_one_request_of_one_client(stored_api: Api) -> None:
    admin, other = stored_api.caller("admin"), stored_api.caller("admin")
    body = {"cidrs": "8.8.8.0/24"}
    assert admin("POST", ENTRIES, body, Idempotency_Key="k").status_code == 201
    for path, changed, headers in (
        (ENTRIES, {"cidrs": "8.8.4.0/24"}, {}),
        (f"{ENTRIES}?confirm=lock_out", body, {}),
        ("/v1/accounts/acct-2/entries", body, {}),
        (ENTRIES, body, {"If_Match": '"v0"'}),
    ):
        refused = admin.problem(422, "POST", path, changed, Idempotency_Key="k", **headers)
        assert refused["code"] == "idempotency_key_reused"
    # Somebody else's key of the same text is another key: the request is carried out, and is a duplicate.
    [problem] = other.problem(422, "POST", ENTRIES, body, Idempotency_Key="k")["errors"]
    assert problem["code"] == "duplicate_entry"
    # What failed changed nothing, and its key is free.
    assert other("POST", ENTRIES, {"cidrs": "1.1.1.0/24"}, Idempotency_Key="k").status_code == 201
    for key in ("", "x" * 256):
        assert admin.problem(422, "POST", ENTRIES, body, Idempotency_Key=key)["code"] == "invalid_request"


def test_the_answer_with_a_secret_is_given_once(api: Api, admin: Caller) -> None:
    body = {"name": "billing", "scopes": ["account:acct-1:write"]}
    first = admin.ok("POST", "/v1/tokens", body, Idempotency_Key="k")
    again = admin.ok("POST", "/v1/tokens", body, Idempotency_Key="k")
    assert again == {**first, "token": None}
    assert api.at(ADDRESS, first["token"]).ok("GET", "/v1/me")["name"] == "billing"
    assert len(admin.ok("GET", "/v1/tokens")["items"]) == 2


def test_a_key_in_use_is_not_used_twice(api: Api, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    add = RuleManager.add

    def slow(*arguments: Any, **named: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return add(*arguments, **named)

    monkeypatch.setattr(RuleManager, "add", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(admin, "POST", ENTRIES, {"cidrs": "8.8.8.0/24"}, Idempotency_Key="k")
        assert begun.wait(10)
        refused = admin.problem(409, "POST", ENTRIES, {"cidrs": "8.8.8.0/24"}, Idempotency_Key="k")
        assert refused["code"] == "idempotency_in_progress"
        go_on.set()
        assert first.result().status_code == 201
    assert admin("POST", ENTRIES, {"cidrs": "8.8.8.0/24"}, Idempotency_Key="k").status_code == 201


def test_many_at_once_with_one_key_make_one_change(stored_api: Api) -> None:
    admin = stored_api.caller("admin")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: admin("POST", ENTRIES, {"cidrs": "8.8.8.0/24"}, Idempotency_Key="k"), range(24))
        )
    given = {answer.text for answer in answers if answer.status_code == 201}
    assert len(given) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(stored_api.manager.history("acct-1")) == 2


# -------------------------------------------------------------------------------------------------------- cursors


def pages(caller: Caller, path: str, limit: int) -> list[Any]:
    """All items of a list that comes in pages."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = caller.ok("GET", f"{path}?limit={limit}" + ("" if cursor is None else f"&cursor={cursor}"))
        assert len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
        assert len(page["items"]) == limit


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_hold_everything_once_and_in_order(stored_api: Api, limit: int) -> None:
    admin = stored_api.caller("admin")
    for number in range(5):
        admin.ok("POST", "/v1/accounts", {"name": f"über/{number}"})
        admin.ok("POST", "/v1/accounts/acct-1/subaccounts", {"name": f"z{number}"})
        admin.ok("POST", ENTRIES, {"cidrs": f"9.9.{4 - number}.0/24, 2606:470{number}::/32"})
        stored_api.token("account:acct-1:read")
    names = [account["name"] for account in pages(admin, "/v1/accounts", limit)]
    assert names == sorted(
        ["acct-1", "acct-2", "sub-1"] + [f"z{n}" for n in range(5)] + [f"über/{n}" for n in range(5)]
    )
    subaccounts = [account["name"] for account in pages(admin, "/v1/accounts/acct-1/subaccounts", limit)]
    assert subaccounts == ["sub-1", *(f"z{number}" for number in range(5))]
    listed = [entry["cidr"] for entry in pages(admin, ENTRIES, limit)]
    assert listed == [entry.cidr for entry in stored_api.manager.entries("acct-1")]
    sequences = [change["sequence"] for change in pages(admin, "/v1/accounts/acct-1/history", limit)]
    assert sequences == [change.sequence for change in stored_api.manager.history("acct-1")]
    tokens = [token["id"] for token in pages(admin, "/v1/tokens", limit)]
    assert tokens == [token.id for token in stored_api.credentials.tokens()]
    scopes = ("account:acct-1:read", "account:acct-2:read", "account:z1:write", "account:nobody:read")
    own = Caller(stored_api.client, stored_api.token_of_old(*scopes))
    assert [account["name"] for account in pages(own, "/v1/accounts", limit)] == [
        "acct-1",
        *subaccounts,
        "acct-2",
    ]


def test_a_page_goes_on_where_the_last_one_ended_whatever_changed_since(api: Api, admin: Caller) -> None:
    for name in ("x1", "x3", "x5"):
        api.manager.create_account(name)
    first = admin.ok("GET", "/v1/accounts?limit=2&starting_with=x")
    api.manager.delete_account("x3")
    for name in ("x2", "x4"):
        api.manager.create_account(name)
    second = admin.ok("GET", f"/v1/accounts?limit=9&starting_with=x&cursor={first['next_cursor']}")
    assert [account["name"] for account in second["items"]] == ["x4", "x5"]


LIST_CHANGES: dict[str, Callable[[RuleManager], object]] = {
    "an entry is removed": lambda manager: manager.remove("acct-1", "8.8.1.0/24"),
    "an entry is added": lambda manager: manager.add("acct-1", "8.8.9.0/24"),
    "an entry is edited": lambda manager: manager.edit("acct-1", "8.8.1.0/24", label="x"),
    "a change is undone": lambda manager: manager.undo(
        "acct-1", manager.history("acct-1")[0].sequence, allow_empty=True
    ),
    "the mode changes": lambda manager: manager.set_mode("acct-1", "report_only", confirmed=["disable_enforcement"]),
}


@pytest.mark.parametrize("change", LIST_CHANGES.values(), ids=LIST_CHANGES)
@pytest.mark.parametrize("account", ["acct-1", "sub-1"])
def test_all_pages_of_a_list_are_of_one_version(
    api: Api, admin: Caller, account: str, change: Callable[[RuleManager], object]
) -> None:
    api.manager.add("acct-1", "8.8.1.0/24, 8.8.3.0/24, 8.8.5.0/24")
    path = f"/v1/accounts/{account}/entries"
    first = admin.ok("GET", f"{path}?limit=2")
    second = f"{path}?limit=2&cursor={first['next_cursor']}"
    assert admin.ok("GET", second)["version"] == first["version"]
    change(api.manager)
    refused = admin.problem(412, "GET", second)
    assert refused["code"] == "version_conflict"
    assert "begin with the first page" in refused["detail"]
    actual = api.manager.account("acct-1").version
    assert refused["data"] == {"account": account, "expected": first["version"], "actual": actual}


def test_a_cursor_of_another_list_is_refused(api: Api, admin: Caller) -> None:
    for account in ("acct-1", "acct-2"):
        api.manager.add(account, "8.8.1.0/24, 8.8.3.0/24")
    cursor = admin.ok("GET", "/v1/accounts/sub-1/entries?limit=1")["next_cursor"]
    assert admin.ok("GET", f"{ENTRIES}?cursor={cursor}")["items"], "this is the list that the subaccount inherits"
    api.manager.edit_account("sub-1", parent="acct-2")
    for path in ("/v1/accounts/sub-1/entries", "/v1/accounts/acct-2/entries"):
        assert admin.problem(422, "GET", f"{path}?cursor={cursor}")["code"] == "invalid_cursor"
    texts = ["8.8.1.0/24", "acct-1\n1", "acct-1\nx\n8.8.1.0/24", "acct-1\n-1\n8.8.1.0/24", "acct-1\n1\nx"]
    for text in (*texts, f"acct-1\n{2**53}\n8.8.1.0/24"):
        assert admin.problem(422, "GET", f"{ENTRIES}?cursor={cursor_after(text)}")["code"] == "invalid_cursor"


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "Pd")), max_size=12))
@settings(max_examples=length(20, 50), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cursor_that_is_none_is_refused(admin: Caller, cursor: str) -> None:
    for path in ("/v1/accounts", ENTRIES, "/v1/accounts/acct-1/history", "/v1/tokens"):
        assert admin("GET", f"{path}?cursor={cursor}").status_code in (200, 422)


def test_a_cursor_that_means_nothing_is_refused(admin: Caller) -> None:
    for broken in ("bnVsbA", "IlxkODAwIg", "WzFd", "LTE", "dHJ1ZQ"):  # null, a surrogate, [1], -1, true
        for path in ("/v1/accounts", ENTRIES, "/v1/accounts/acct-1/history", "/v1/tokens"):
            assert admin.problem(422, "GET", f"{path}?cursor={broken}")["code"] == "invalid_cursor"


# --------------------------------------------------------------------------------------------------------- errors


def test_every_error_is_a_problem_and_gives_nothing_away(api: Api, admin: Caller) -> None:
    assert admin.problem(404, "GET", "/v1/nothing")["code"] == "not_found"
    assert admin.problem(405, "DELETE", "/v1/accounts")["code"] == "method_not_allowed"
    for sent, errors in (
        ("[]", [("", "wrong_type")]),
        ("{}", [("", "invalid_value")]),
        ('{"cidrs": 1}', [("/cidrs", "wrong_type")]),
        ('{"cidrs": "8.8.8.0/24", "nonsense": 1}', [("/nonsense", "unknown")]),
        ('{"cidrs": "\\ud800"}', [("/cidrs", "invalid_value")]),
        ('{"entries": [{"cidr": "8.8.8.0/24"}, {}]}', [("/entries/1/cidr", "missing")]),
        ('{"entries": [{"cidr": "8.8.8.0/24", "a/b~": 1}]}', [("/entries/0/a~1b~0", "unknown")]),
        ('{"entries": [{"cidr": "8.8.8.0/24, 9.9.9.0/24"}]}', [("/entries/0", "invalid_value")]),
        ('{"entries": [], "cidrs": ""}', [("", "invalid_value")]),
    ):
        refused = api.client.post(
            ENTRIES,
            content=sent,
            headers={"Authorization": f"Bearer {admin.token}", "Content-Type": "application/json"},
        )
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request"), refused.text
        assert [(one["pointer"], one["code"]) for one in refused.json()["errors"]] == errors
    for time in ("2020-01-01T00:00:00", "x"):
        body = {"cidrs": "8.8.8.0/24", "expires_at": time}
        assert admin.problem(422, "POST", ENTRIES, body)["code"] == "invalid_request"
    for label in ("a\0b", "a\u200bb", "x" * 256):
        body = {"cidrs": "8.8.8.0/24", "label": label}
        assert admin.problem(422, "POST", ENTRIES, body)["code"] == "invalid_text"
        assert (
            admin.problem(422, "POST", "/v1/accounts/acct-1/preview", {"change": "add", **body})["code"]
            == "invalid_text"
        )
    over = {"cidrs": "8.8.8.0/24", "expires_at": "2020-01-01T00:00:00Z"}
    assert admin.problem(422, "POST", ENTRIES, over)["code"] == "invalid_expiry"
    assert admin.problem(422, "POST", "/v1/accounts", {"name": " x"})["code"] == "invalid_account"
    assert admin.problem(409, "POST", "/v1/accounts", {"name": "acct-1"})["code"] == "account_exists"
    unknown = admin.problem(404, "POST", "/v1/accounts", {"name": "x", "parent": "nobody"})
    assert (unknown["code"], unknown["detail"]) == (
        "account_not_found",
        "there is no account 'nobody': create it first",
    )
    assert admin.problem(409, "POST", "/v1/accounts", {"name": "x", "parent": "sub-1"})["code"] == "list_inherited"
    assert admin.problem(404, "PATCH", f"{ENTRIES}/99", {})["code"] == "entry_not_found"
    assert admin.problem(404, "POST", "/v1/accounts/acct-1/restore", {"to_sequence": 99})["code"] == "change_not_found"
    assert admin.problem(404, "DELETE", "/v1/tokens/99")["code"] == "token_not_found"
    scope = {"name": "x", "scopes": ["everything"]}
    assert admin.problem(422, "POST", "/v1/tokens", scope)["code"] == "invalid_scope"
    api.manager._store.close()
    unavailable = admin("GET", ENTRIES)
    assert (unavailable.status_code, unavailable.json()["code"]) == (503, "store_unavailable")
    assert "memory" not in unavailable.text
    assert unavailable.headers["retry-after"]
    assert admin("GET", "/readyz").status_code == 503


def test_names_with_every_kind_of_character_are_addressed(admin: Caller) -> None:
    from urllib.parse import quote

    for name in ("a/b", "a%2Fb", "ü", "a b", "a:b?c#d", "100%", "a\\b", "история", "."):
        admin.ok("POST", "/v1/accounts", {"name": name})
        path = f"/v1/accounts/{quote(name, safe='').replace('.', '%2E')}"
        assert admin.ok("GET", path)["name"] == name
        assert admin.ok("POST", f"{path}/entries", {"cidrs": "8.8.8.0/24"})["account"] == name
        own = admin.ok("POST", "/v1/tokens", {"name": "own", "scopes": [f"account:{name}:read"]})
        assert Caller(admin.client, own["token"]).ok("GET", f"{path}/entries")["list_account"] == name
    for sent in ("a%2F%2Fb", "a/b"):
        assert admin("GET", f"/v1/accounts/{sent}").status_code == 404
    # What stands for a slash while a path is split is no slash in a request, and people read what was sent.
    for sent, name in {"a%00sb": "a\0sb", "%00": "\0", "a%00nb%2Fc": "a\0nb/c", "%00%00n%2F%2Fs": "\0\0n//s"}.items():
        missing = admin("GET", f"/v1/accounts/{sent}")
        assert (missing.status_code, missing.json()["code"]) == (404, "account_not_found")
        assert repr(name) in missing.json()["detail"]


def test_wrong_credentials_are_counted_and_then_refused() -> None:
    for api in an_api("memory://", Settings(login_failures=3)):
        wrong, good = api.at("198.51.100.1", "nonsense"), api.caller("admin")
        for _ in range(3):
            assert wrong("GET", "/v1/me").status_code == 401
        refused = wrong("GET", "/v1/me")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_failures")
        assert 0 < int(refused.headers["retry-after"]) <= 61
        # The right one works all the while: clients share addresses. Others are not concerned.
        assert api.at("198.51.100.1", good.token)("GET", "/v1/me").status_code == 200
        assert wrong("GET", "/v1/me").status_code == 429
        assert api.at("198.51.100.2", good.token)("GET", "/v1/me").status_code == 200
        assert api.at("198.51.100.1")("GET", "/healthz").status_code == 200
        # An IPv6 client has a whole network to send from.
        for host in range(3):
            assert api.at(f"2001:db8::{host}", "nonsense")("GET", "/v1/me").status_code == 401
        assert api.at("2001:db8::ffff", "nonsense")("GET", "/v1/me").status_code == 429
        assert api.at("2001:db8:0:1::1", "nonsense")("GET", "/v1/me").status_code == 401
        text = api.caller("metrics")("GET", "/metrics").text
        assert "cidrgate_authentication_failures_total 10.0" in text


ODD_REQUESTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/v1/me", {"On-Behalf-Of": "a\tb"}),
    ("GET", "/v1/me", {"On-Behalf-Of": "\udcff"}),
    ("GET", "/v1/me", {"On-Behalf-Of": "x" * 5_000}),
    ("GET", "/v1/me", {"X-Request-ID": "a b"}),
    ("GET", "/v1/me", {"Cookie": "cidrgate_session=\t; =;;"}),
    ("GET", "/v1/me", {"Accept": "text/\x7f", "Forwarded": "for=;", "X-Forwarded-For": ","}),
    ("GET", "/v1/changes?limit=x", {}),
    ("GET", "/v1/accounts/%00", {}),
    ("GET", "/v1/accounts/" + "x" * 5_000, {}),
    ("GET", "/v1/accounts/%FF/entries", {}),
    ("GET", "/v1/accounts/acct-1/history?before=-1", {}),
    ("GET", ENTRIES, {"If-None-Match": "\t,,"}),
    ("GET", "/v1/changes/stream", {"Last-Event-ID": "x"}),
    ("POST", ENTRIES, {"Idempotency-Key": "\t", "If-Match": "\x01", "Content-Type": "x"}),
    ("POST", "/v1/tokens", {"Content-Length": "7", "Content-Type": "application/json; charset=x"}),
    ("DELETE", f"{ENTRIES}/not-a-number", {"If-Match": "x"}),
    ("GET", "/metrics", {"On-Behalf-Of": ""}),
)
"""Requests with something that the service refuses or ignores once it knows who sends them."""


def as_bytes(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode(errors="surrogateescape")) for name, value in headers.items()]


@pytest.mark.parametrize(("method", "path", "headers"), ODD_REQUESTS)
def test_wrong_credentials_count_whatever_else_is_wrong(method: str, path: str, headers: dict[str, str]) -> None:
    for api in an_api("memory://", Settings(login_failures=3)):
        sent = as_bytes({"Authorization": "Bearer cidrgate_1_" + "A" * 43, **headers})
        statuses = [api.client.request(method, path, headers=sent).status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        assert api.app.state.service.metrics.failed_logins._value.get() == 4


@pytest.mark.parametrize("name", ["a\tb", "\udcff", "x" * 5_000])
def test_wrong_credentials_of_the_sign_in_form_count_whatever_their_header_says(name: str) -> None:
    for api in an_api("memory://", Settings(login_failures=3)):
        headers = as_bytes({"Sec-Fetch-Site": "same-origin", "On-Behalf-Of": name})
        for path, data in (("/console/sign-in", {"token": "x"}), ("/console/link/x", {})):
            answers = [api.client.post(path, data=data, headers=headers) for _ in range(4)]
            assert [answer.status_code for answer in answers][-1] == 429


def test_the_log_has_no_name_that_came_with_wrong_credentials(api: Api) -> None:
    caller = api.at(ADDRESS, "cidrgate_1_" + "A" * 43)
    assert caller("GET", "/v1/me", On_Behalf_Of="Ann").status_code == 401
    api.app.state.service.failed_sign_ins.close()
    [row] = [change for change in api.manager.history() if change.action == "sign_in_failed"]
    assert row.origin is not None
    assert (row.origin.address, row.origin.on_behalf_of) == (ADDRESS, None)


def test_a_request_that_is_too_large_is_not_read() -> None:
    for api in an_api("memory://", Settings(max_body=1000)):
        api.manager.create_account("acct-1")
        token = api.token("admin")

        def sent(size: int, *, announced: bool, api: Api = api, token: str = token) -> int:
            body = b'{"cidrs": "' + b" " * (size - 13) + b'"}'
            content = body if announced else iter([body[:500], body[500:]])
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            return api.client.put(ENTRIES, content=content, headers=headers).status_code

        assert [sent(size, announced=announced) for size in (1000, 1001) for announced in (True, False)] == [
            200,
            200,
            413,
            413,
        ]


def test_browsers_are_told_to_be_careful(api: Api) -> None:
    # The console's own forms say where they come from, to the console alone.
    for path in ("/healthz", "/v1/me", "/nothing", "/console/sign-in", "/console/static/console.css"):
        headers = api.client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == ("same-origin" if path.startswith("/console/") else "no-referrer")
        assert "strict-transport-security" not in headers


def test_lists_say_when_entries_last_matched(stored_api: Api) -> None:
    admin = stored_api.caller("admin")
    one, two = admin.ok("POST", ENTRIES, {"cidrs": "8.8.8.0/24, 9.9.9.0/24"})["after"]
    assert one["last_matched_at"] is None
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    with stored_api.manager._store.write() as transaction:
        transaction.note_matches([("sub-1", "9.9.9.0/24")], at)
    expected = {one["id"]: None, two["id"]: at.isoformat()}
    for path in (ENTRIES, "/v1/accounts/sub-1/entries"):
        items = admin.ok("GET", path)["items"]
        assert {item["id"]: item["last_matched_at"] for item in items} == expected
    assert admin.ok("GET", f"{ENTRIES}/{two['id']}")["last_matched_at"] == at.isoformat()


def test_measurements_are_by_route_and_name_nobody(api: Api, admin: Caller) -> None:
    admin("GET", "/v1/accounts/acct-1")
    admin("GET", "/v1/accounts/nobody")
    admin("GET", "/nothing")
    text = admin("GET", "/metrics").text
    assert 'cidrgate_http_requests_total{method="GET",route="/v1/accounts/{account_name}",status="200"} 1.0' in text
    assert 'cidrgate_http_requests_total{method="GET",route="/v1/accounts/{account_name}",status="404"} 1.0' in text
    assert 'cidrgate_http_requests_total{method="GET",route="",status="404"} 1.0' in text
    assert f"cidrgate_accounts {len(api.manager.matcher)}.0" in text
    assert "acct-1" not in text
    assert "nobody" not in text


def test_every_response_has_the_id_of_its_request(api: Api, admin: Caller) -> None:
    for path in ("/v1/me", "/v1/nothing", "/healthz", "/console/sign-in", "/openapi.json"):
        given = admin("GET", path, X_Request_ID="req-42")
        assert given.headers.get_list("x-request-id") == ["req-42"], path
        first, second = (admin("GET", path).headers["x-request-id"] for _ in range(2))
        assert len({first, second, "req-42"}) == 3
    for invalid in ("", "a b", "<script>", "x" * 1_000):
        made = admin("GET", "/v1/me", X_Request_ID=invalid).headers.get_list("x-request-id")
        assert len(made) == 1
        assert made != [invalid]


def test_a_failure_of_the_store_is_logged_with_the_id_that_the_client_got(
    api: Api, admin: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    api.manager._store.close()
    answer = admin("GET", ENTRIES)
    assert answer.status_code == 503
    [logged] = [one.__dict__["cidrgate"] for one in caplog.records if "cidrgate" in one.__dict__]
    assert logged["request_id"] == answer.headers["x-request-id"]


def test_a_preview_without_a_change_says_so(admin: Caller) -> None:
    path = "/v1/accounts/acct-1/preview"
    for body, code in (({"cidrs": "8.8.8.0/24"}, "missing"), ({"change": "secret-word"}, "invalid_value")):
        refused = admin.problem(422, "POST", path, body)
        [one] = refused["errors"]
        assert (one["code"], one["pointer"]) == (code, "/change")
        assert "discriminator" not in str(refused)
        assert "secret-word" not in str(refused)
