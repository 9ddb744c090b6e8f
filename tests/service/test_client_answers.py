"""What the client makes of every answer that a cidrgate service does not send, by method."""

from __future__ import annotations

import copy
import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from cidrgate.client import ApiConnectionLostError, ApiError, Client
from cidrgate.client.decoding import page_of, value_of
from cidrgate.client.values import CheckInfo
from cidrgate.errors import OutcomeUnknownError
from tests.service.conftest import openapi_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Call:
    """How a method is called, and the schema of what the service answers."""

    schema: str
    call: Callable[[Client], object]
    changes: bool = False


READS = {
    "list_accounts": Call("AccountPage", lambda client: list(client.list_accounts())),
    "get_account": Call("Account", lambda client: client.get_account("a")),
    "list_subaccounts": Call("AccountPage", lambda client: list(client.list_subaccounts("a"))),
    "get_policy": Call("Policy", lambda client: client.get_policy()),
    "get_account_policy": Call("Policy", lambda client: client.get_account_policy("a")),
    "list_entries": Call("EntryPage", lambda client: client.list_entries("a")),
    "get_entry": Call("ListedEntry", lambda client: client.get_entry("a", 7)),
    "find_entries": Call("FoundEntryPage", lambda client: list(client.find_entries("8.8.8.8"))),
    "check": Call("Check", lambda client: bool(client.check("a", "8.8.8.8"))),
    "explain": Call("Decision", lambda client: bool(client.explain("a", "8.8.8.8"))),
    "preview_add": Call("Preview", lambda client: bool(client.preview_add("a", "8.8.8.0/24"))),
    "preview_replace": Call("Preview", lambda client: bool(client.preview_replace("a", []))),
    "preview_edit": Call("Preview", lambda client: bool(client.preview_edit("a", 7, "8.8.8.0/24"))),
    "preview_remove": Call("Preview", lambda client: bool(client.preview_remove("a", [7]))),
    "preview_restore": Call("Preview", lambda client: bool(client.preview_restore("a", 7))),
    "preview_undo": Call("Preview", lambda client: bool(client.preview_undo("a", 7))),
    "recommend": Call("Recommendation", lambda client: client.recommend("a").cidrs),
    "list_history": Call("ChangePage", lambda client: list(client.list_history("a"))),
    "list_changes": Call("ChangePage", lambda client: list(client.list_changes())),
    "changes": Call("ChangePage", lambda client: list(client.changes())),
    "who_am_i": Call("WhoAmI", lambda client: client.who_am_i()),
    "list_tokens": Call("TokenPage", lambda client: list(client.list_tokens())),
    "get_token": Call("Token", lambda client: client.get_token(7)),
    "list_sessions": Call("SessionPage", lambda client: list(client.list_sessions())),
    "healthz": Call("Health", lambda client: client.healthz()),
    "readyz": Call("Readiness", lambda client: client.readyz()),
    "get_problem_type": Call("ProblemType", lambda client: client.get_problem_type("unauthorized")),
    "dry run": Call("DeclaredReport", lambda client: client.apply_lists({"a": []}, dry_run=True)),
}
CHANGES = {
    "create_account": Call("Account", lambda client: client.create_account("a")),
    "edit_account": Call("Account", lambda client: client.edit_account("a", name="b")),
    "delete_account": Call("AccountDeletion", lambda client: client.delete_account("a")),
    "create_subaccount": Call("Account", lambda client: client.create_subaccount("a", "b")),
    "set_policy": Call("PolicyChange", lambda client: client.set_policy()),
    "set_account_policy": Call("PolicyChange", lambda client: client.set_account_policy("a")),
    "add_entries": Call("ListChange", lambda client: client.add_entries("a", "8.8.8.0/24")),
    "replace_entries": Call("ListChange", lambda client: client.replace_entries("a", [])),
    "edit_entry": Call("ListChange", lambda client: client.edit_entry("a", 7, label="x")),
    "remove_entry": Call("ListChange", lambda client: client.remove_entry("a", 7)),
    "remove_entries": Call("ListChange", lambda client: client.remove_entries("a", [7])),
    "apply_lists": Call("DeclaredReport", lambda client: client.apply_lists({"a": []})),
    "set_mode": Call("Account", lambda client: client.set_mode("a", "off")),
    "restore": Call("ListChange", lambda client: client.restore("a", 7)),
    "undo": Call("ListChange", lambda client: client.undo("a", 7)),
    "create_link": Call("Link", lambda client: client.create_link("Ada", ["account:acct-1:write"])),
    "create_token": Call("CreatedToken", lambda client: client.create_token("ci", ["metrics"])),
    "revoke_token": Call("Token", lambda client: client.revoke_token(7)),
    "end_session": Call("Session", lambda client: client.end_session("s")),
}
NO_JSON = {"metrics": lambda client: client.metrics(), "follow_changes": lambda client: next(client.follow_changes())}
"""The methods whose answers are no JSON."""

CALLS = READS | CHANGES


@pytest.fixture(scope="module")
def schemas() -> Any:
    return openapi_document()["components"]["schemas"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.client.api._PAUSE", 0.0)


def test_every_method_that_sends_something_is_here() -> None:
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"close", "for_person"} == (CALLS.keys() | NO_JSON) - {"dry run"}


def answered(*answers: bytes | httpx.Response, seen: list[httpx.Request] | None = None) -> Client:
    """A client of a server that sends these answers, and the last of them again and again."""
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        given_now = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return given_now if isinstance(given_now, httpx.Response) else httpx.Response(200, content=given_now)

    return Client("http://x", "t", http=httpx.Client(transport=httpx.MockTransport(answer)))


def whole(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example with the members that are null: the document leaves them out."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        [schema] = [one for one in schema["anyOf"] if one.get("type") != "null"] or [{}]
        return whole(value, schema, schemas) if value is not None else None
    if isinstance(value, list):
        return [whole(one, schema.get("items", {}), schemas) for one in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    properties = schema["properties"]
    absent = {name: None for name, of in properties.items() if name not in value and allows(of, None, schemas)}
    return {name: whole(one, properties.get(name, {}), schemas) for name, one in value.items()} | absent


def example(schemas: dict[str, Any], name: str) -> dict[str, Any]:
    """An answer of the service, from what the OpenAPI document says of it."""
    schema = schemas[name]
    if "examples" in schema:
        return whole(copy.deepcopy(schema["examples"][0]), {"$ref": f"/{name}"}, schemas)  # type: ignore[no-any-return]
    properties = schema["properties"]
    made: dict[str, Any] = {"status": "ok", "staleness": 0.1, "account": "a", "list_account": "a", "version": 1}
    made |= {"etag": '"v1"', "enforced": True, "editable": True, "max_entries": 50, "mode": "enforce", "complete": True}
    made = {one: value for one, value in made.items() if one in properties}
    if "items" in properties:
        item = properties["items"]["items"]["$ref"].rpartition("/")[2]
        made |= {"items": [example(schemas, item)], "next_cursor": None}
    return made


def check_refused(name: str, *answers: bytes | httpx.Response) -> ApiError:
    seen: list[httpx.Request] = []
    with pytest.raises(ApiError, match=r"the answer 200 .*: it is not from a cidrgate service") as refused:
        CALLS[name].call(answered(*answers, seen=seen))
    assert refused.value.status == 200
    if name in CHANGES:
        assert isinstance(refused.value, OutcomeUnknownError)
        assert (refused.value.code, refused.value.problem.outcome) == ("outcome_unknown", "unknown")
        assert "may be made or not" in str(refused.value)
        assert len({request.headers["Idempotency-Key"] for request in seen}) == 1
        assert len(seen) == 2
    else:
        assert (refused.value.code, isinstance(refused.value, OutcomeUnknownError)) == ("http_error", False)
        assert len(seen) == 1
    return refused.value


NO_ANSWERS = {
    "an empty object": b"{}",
    "an array": b"[]",
    "null": b"null",
    "a text": b'"ok"',
    "a number": b"7",
    "HTML": b"<html>",
    "nothing": b"",
    "no UTF-8": b"\xff{}",
    "half an object": b'{"account": "a", "it',
    "depth without end": b"[" * 100_000,
    "a number without end": b'{"version": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
@pytest.mark.parametrize("name", CALLS)
def test_an_answer_of_another_server_is_an_api_error_and_after_a_change_an_unknown_outcome(
    name: str, answer: bytes
) -> None:
    check_refused(name, answer)


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_of_the_service_is_read_also_with_members_of_a_later_one(name: str, schemas: dict[str, Any]) -> None:
    record = example(schemas, CALLS[name].schema)
    expected = CALLS[name].call(answered(json.dumps(record).encode()))
    assert CALLS[name].call(answered(json.dumps(with_more(record)).encode())) == expected


def with_more(value: Any) -> Any:
    """A JSON value in which every object of fixed members has one more."""
    if isinstance(value, list):
        return [with_more(one) for one in value]
    if not isinstance(value, dict):
        return value
    free = {"stored", "effective", "versions", "details", "data"}
    return {name: one if name in free else with_more(one) for name, one in value.items()} | {"of_tomorrow": {"x": [1]}}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_whose_answer_was_cut_off_is_asked_for_again_with_its_key(name: str, schemas: dict[str, Any]) -> None:
    text = json.dumps(example(schemas, CALLS[name].schema)).encode()
    seen: list[httpx.Request] = []
    assert CALLS[name].call(answered(text[:-9], text, seen=seen)) == CALLS[name].call(answered(text))
    assert len({request.headers["Idempotency-Key"] for request in seen}) == 1


def steps(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all members and elements of a JSON value."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inside:
        yield (*before, step)
        yield from steps(one, (*before, step))


def allows(schema: dict[str, Any], value: object, schemas: dict[str, Any]) -> bool:
    """Whether the OpenAPI document allows a value, as far as its type goes."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return any(allows(one, value, schemas) for one in schema["anyOf"])
    kinds = {"null": type(None), "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kind = {**kinds, "array": list, "object": dict}.get(schema.get("type", ""), object)
    return isinstance(value, kind) and (not isinstance(value, bool) or kind in (bool, object))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CALLS)
def test_a_member_of_another_type_than_the_documents_is_refused(name: str, schemas: dict[str, Any]) -> None:
    record, schema = example(schemas, CALLS[name].schema), schemas[CALLS[name].schema]
    others: list[Any] = [None, "false", 7, 7.5, True, [], {}, [None], {"x": None}]
    for member, of in schema["properties"].items():
        # The client has no field for these.
        if member in ("staleness", "complete") or (
            name == "get_entry" and member not in schemas["Entry"]["properties"]
        ):
            continue
        for other in others:
            if not allows(of, other, schemas):
                check_refused(name, json.dumps(record | {member: other}).encode())


@given(st.data())
@settings(max_examples=100)
def test_whatever_is_wrong_in_an_answer_is_an_api_error(schemas: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(CALLS)))
    record = example(schemas, CALLS[name].schema)
    path = data.draw(st.sampled_from(list(steps(record))))
    inside: Any = record
    for step in path[:-1]:
        inside = inside[step]
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
    if data.draw(st.booleans()):
        del inside[path[-1]]
    else:
        inside[path[-1]] = data.draw(
            st.recursive(leaves, lambda one: st.lists(one) | st.dictionaries(st.text("abc"), one), max_leaves=3)
        )
    client = answered(json.dumps(record).encode(), json.dumps(record | {"next_cursor": None}).encode())
    try:
        CALLS[name].call(client)
    except ApiError as error:
        said = str(error)
    else:
        return
    assert "not from a cidrgate service" in said


def test_the_messages_say_which_member_is_wrong_and_not_what_is_in_it() -> None:
    check = {"account": "a", "address": "8.8.8.8", "allowed": "secret"}
    for answer, said in [
        (b"[]", "the answer 200 is no JSON object: it is not from a cidrgate service"),
        (b"<html>", "the answer 200 is not JSON: it is not"),
        (b'{"account": "a", "address": "8.8.8.8"}', "the answer 200 has no allowed: it is not"),
        (json.dumps(check).encode(), "the answer 200 has allowed that is not true or false: it is not"),
    ]:
        error = check_refused("check", answer)
        assert str(error).startswith(said)
        assert "secret" not in str(error)
    with pytest.raises(ValueError, match=r"^has items\[1\]\.allowed that is not true or false$"):
        page_of(CheckInfo, {"items": [check | {"allowed": True}, check], "next_cursor": None})
    with pytest.raises(ValueError, match=r"^has no items$"):
        page_of(CheckInfo, {"next_cursor": None})
    with pytest.raises(ValueError, match=r"^has account that is not text$"):
        value_of(CheckInfo, check | {"account": None})


ERRORS_OF_OTHERS = {
    "HTML": httpx.Response(502, text="<h1>Bad Gateway</h1>"),
    "an object": httpx.Response(504, json={"message": "upstream timed out"}),
    "a code of another service": httpx.Response(503, json={"code": "NO_UPSTREAM", "errors": []}),
    "a number as code": httpx.Response(502, json={"code": 7}),
    "an array": httpx.Response(500, json=[]),
    "depth without end": httpx.Response(500, content=b"[" * 100_000),
}


@pytest.mark.parametrize("answer", ERRORS_OF_OTHERS.values(), ids=ERRORS_OF_OTHERS)
@pytest.mark.parametrize("name", CALLS)
def test_an_error_of_another_server_is_said_to_be_one(name: str, answer: httpx.Response) -> None:
    if name == "readyz":
        assert not CALLS[name].call(answered(answer))
        return
    if name in CHANGES:
        with pytest.raises(ApiConnectionLostError, match="may be made or not"):
            CALLS[name].call(answered(answer))
        return
    with pytest.raises(ApiError, match=f"the answer {answer.status_code} .*: it is not from a cidrgate") as refused:
        CALLS[name].call(answered(answer))
    assert refused.value.code == "http_error"


def test_problem_details_with_data_that_cannot_be_read_are_an_api_error() -> None:
    problem = {
        "type": "/problems/x",
        "title": "X",
        "status": 422,
        "detail": "d",
        "code": "expiry_in_past",
        "errors": [],
    }
    for code in (*ApiError.kinds, "new_code"):
        data = dict.fromkeys(("expires_at", "until", "at", "created_at", "mode_until"), "never")
        with pytest.raises(ApiError):
            answered(httpx.Response(422, json=problem | {"code": code, "data": data})).who_am_i()
    with pytest.raises(ApiError, match="it is not from a cidrgate service"):
        answered(httpx.Response(422, json=problem | {"data": []})).who_am_i()


def test_a_page_that_leads_to_itself_ends(schemas: dict[str, Any]) -> None:
    for name, call in READS.items():
        if call.schema.endswith("Page"):
            record = example(schemas, call.schema) | {"next_cursor": "x"}
            with pytest.raises(ApiError, match="has next_cursor that is that of this page"):
                CALLS[name].call(answered(json.dumps(record).encode()))
            turns = [json.dumps(record | {"next_cursor": cursor}).encode() for cursor in "xyzy"]
            with pytest.raises(ApiError, match="has next_cursor that is that of an earlier page"):
                CALLS[name].call(answered(*turns))


@pytest.mark.parametrize("name", NO_JSON)
def test_answers_that_are_no_json_are_known_by_their_media_type(name: str) -> None:
    for answer in (httpx.Response(200, html="<html>"), httpx.Response(200, json={}), httpx.Response(200)):
        with pytest.raises(ApiError, match=r"the answer 200 is not text/.*: it is not from a cidrgate service"):
            NO_JSON[name](answered(answer))


@pytest.mark.parametrize(
    "event", ["id: x\n\n", "id: ٣\n\n", "id: 7\ndata: {}\n\n", "id: 7\ndata: [\n\n", "id: 7\ndata: null\n\n"]
)
def test_an_event_that_the_service_does_not_send_ends_the_stream_with_an_api_error(event: str) -> None:
    stream = httpx.Response(200, content=event.encode(), headers={"Content-Type": "text/event-stream"})
    with pytest.raises(ApiError, match=r"the answer 200 .*: it is not from a cidrgate service"):
        next(answered(stream).follow_changes())
