"""The client against the OpenAPI document, and against a service."""

from __future__ import annotations

import inspect
import threading
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from cidrgate import EntryDetails, client as package
from cidrgate.client import ApiError, Client
from cidrgate.service.api.schemas import MOST_ID
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.conftest import Api

VALUES = {
    "AccountModel": package.AccountInfo,
    "EntryModel": package.EntryInfo,
    "EntryPage": package.ListInfo,
    "ListChangeModel": package.ListChange,
    "PreviewModel": package.PreviewInfo,
    "CheckModel": package.CheckInfo,
    "DecisionModel": package.DecisionInfo,
    "ChangeModel": package.ChangeInfo,
    "CreatedTokenModel": package.TokenInfo,
    "SessionModel": package.SessionInfo,
    "WhoAmIModel": package.WhoAmI,
}
PAGED = {"limit", "cursor", "next_cursor"}
"""What the client does by itself."""


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["operationId"]: one for methods in document["paths"].values() for one in methods.values()}


def test_there_is_a_method_for_every_operation_and_no_other(api: Api) -> None:
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"close"} == set(operations(api.app.openapi()))


def test_methods_take_what_operations_take(api: Api) -> None:
    document = api.app.openapi()
    for name, operation in operations(document).items():
        wanted = {one["name"].lower().replace("-", "_") for one in operation.get("parameters", [])} - PAGED
        if "requestBody" in operation:
            [content] = operation["requestBody"]["content"].values()
            if name == "preview":
                wanted |= {"change", "details"}  # which of the changes it is says what else there is
            else:
                wanted |= set(document["components"]["schemas"][content["schema"]["$ref"].split("/")[-1]]["properties"])
        if "confirm" in wanted:
            # What a change may do, in words of Python: only where it can do that.
            wanted |= {"allow_lock_out"} | ({"allow_empty"} if name not in ("add_entries", "edit_entry") else set())
        taken = set(inspect.signature(getattr(Client, name)).parameters) - {"self"}
        if name in ("add_entries", "replace_entries", "edit_entry"):
            taken = taken - {"details"} | EntryDetails.__annotations__.keys()
        assert taken == wanted, name


def test_values_have_the_fields_of_the_documents_objects(api: Api) -> None:
    schemas = api.app.openapi()["components"]["schemas"]
    for name, value in VALUES.items():
        assert {one.name for one in fields(value)} == set(schemas[name]["properties"]) - PAGED, name


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The service on a port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(api.app, port=0, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_everything_can_be_done_with_it(api: Api) -> None:
    with served(api) as url, Client(url, api.token("admin", name="ops")) as client:
        assert client.healthz()
        assert client.readyz()
        assert "cidrgate_staleness_seconds" in client.metrics()
        assert client.who_am_i() == package.WhoAmI("ops", ["admin"], "127.0.0.1")
        account = client.create_account("a/b.", idempotency_key="k")
        assert client.create_account("a/b.", idempotency_key="k") == account
        assert client.create_subaccount("a/b.", "sub-2").parent == "a/b."
        assert [one.name for one in client.list_subaccounts("a/b.")] == ["sub-2"]
        assert [one.name for one in client.list_accounts()] == ["a/b.", "acct-1", "acct-2", "sub-1", "sub-2"]
        end = datetime.now(UTC) + timedelta(hours=1)
        added = client.add_entries(
            "a/b.",
            ["8.8.8.0/24", {"cidr": "1.1.1.1/32", "label": "dns", "expires_at": end}],
            label="x",
            allow_lock_out=True,
        )
        first, second = added.after
        assert (first.label, second.label, second.expires_at) == ("x", "dns", end)
        assert first.created_at.tzinfo is not None
        held = client.list_entries("sub-2")
        assert (held.items, held.list_of, held.version, held.editable) == ([second, first], "a/b.", 1, False)
        assert client.get_entry("a/b.", second.id) == second
        edited = client.edit_entry("a/b.", second.id, "1.1.1.0/24", expires_at=None, if_match=1)
        assert (edited.after[0].label, edited.after[0].expires_at) == ("dns", None)
        assert client.edit_entry("a/b.", second.id, label=None).after[0].label is None
        with pytest.raises(ApiError) as refused:
            client.delete_entry("a/b.", first.id, if_match=1)
        assert (refused.value.status, refused.value.code) == (412, "version_conflict")
        with pytest.raises(ApiError, match=r"add the length: 9\.9\.9\.9/32") as broken:
            client.add_entries("a/b.", "9.9.9.9, 8.8.8.8/32")
        assert [(one.code, one.position, one.conflicts) for one in broken.value.problems] == [
            ("invalid_format", 0, ()),
            ("subset_exists", 1, ("8.8.8.0/24",)),
        ]
        assert client.check("a/b.", "8.8.8.8").allowed
        explained = client.explain("sub-2", "9.9.9.9")
        assert (explained.allowed, explained.decided_by, explained.entry) == (False, "a/b.", None)
        seen = client.preview("a/b.", "remove", entries=[first.id])
        assert (seen.ok, seen.loses_access) == (True, ["8.8.8.0/24"])
        assert client.delete_entry("a/b.", first.id).before == [first]
        replaced = client.replace_entries("a/b.", "9.9.9.0/24", label="y", if_match=4)
        assert [one.cidr for one in replaced.after] == ["9.9.9.0/24"]
        history = list(client.list_history("a/b."))
        assert [one.action for one in history] == ["replace", "remove", "edit", "edit", "add", "create_account"]
        restored = client.restore("a/b.", history[4].sequence)
        assert [one.cidr for one in restored.after] == ["1.1.1.1/32", "8.8.8.0/24"]
        made = client.create_token("reader", ["account:a/b.:read"], expires_at=end)
        assert made.token is not None
        assert made.token not in repr(made)
        with Client(url, made.token) as reader:
            assert [one.name for one in reader.list_accounts()] == ["a/b.", "sub-2"]
        assert client.get_token(made.id).expires_at == end
        assert client.revoke_token(made.id).revoked_at is not None
        assert [one.name for one in client.list_tokens()] == ["ops", "reader"]
        with pytest.raises(ApiError) as unknown:
            client.get_token(MOST_ID)
        assert unknown.value.code == "token_not_found"


def test_an_answer_that_is_not_the_services_is_an_error_too() -> None:
    for body, headers in ((b"<html>", {}), (b"[]", {}), (b'{"code": 1}', {"Retry-After": "7"})):
        transport = httpx.MockTransport(lambda _: httpx.Response(502, content=body, headers=headers))  # noqa: B023
        with Client("http://x", "t", http=httpx.Client(transport=transport)) as client:
            with pytest.raises(ApiError, match="answered 502") as error:
                client.who_am_i()
            assert error.value.retry_after == (7.0 if headers else None)


def test_a_confirmation_is_a_name_and_nothing_else() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(500))
    for old in (True, False, "lock_out"):
        with (
            Client("http://x", "t", http=httpx.Client(transport=transport)) as client,
            pytest.raises(TypeError, match="collection of names"),
        ):
            client.delete_entry("acct-1", 1, confirm=old)  # type: ignore[arg-type]
