"""The change log says who changed something, how that is known, and from where; and it never holds a secret."""

from __future__ import annotations

import json
import os
import pwd
import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cidrgate import Change, Origin, RuleManager
from cidrgate.client import Client
from cidrgate.errors import InvalidAddressError, InvalidTextError
from cidrgate.service.auth.failed_sign_ins import FailedSignInLog, FailedSignIns
from cidrgate.service.auth.values import Scope
from cidrgate.stores.schema import changes
from tests.command_line import typed
from tests.service.conftest import ADDRESS
from tests.service.test_console_sessions import OWN_PAGE, proof, sign_in
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.conftest import Api


def newest(manager: RuleManager, action: str | None = None) -> Change:
    return next(change for change in manager.history() if action in (None, change.action))


def origin_of(change: Change) -> Origin:
    assert change.origin is not None
    return change.origin


def test_a_change_over_the_api_has_token_address_request_and_person(stored_api: Api) -> None:
    caller = stored_api.caller("admin")
    token = newest(stored_api.manager, "create_token").details
    assert token is not None
    expected = Origin(
        kind="token", id=str(token["after"]["token"]), on_behalf_of="Zoe", address=ADDRESS, request_id="request-7"
    )
    said = {"X_Request_ID": "request-7", "On_Behalf_Of": "Zoe"}
    caller.ok("POST", "/v1/accounts/acct-1/entries", {"cidrs": "8.8.8.0/24"}, **said)
    caller.ok("POST", "/v1/accounts", {"name": "acct-9"}, **said)
    caller.ok("POST", "/v1/tokens", {"name": "t", "scopes": ["metrics"]}, **said)
    for change in stored_api.manager.history(limit=3):
        assert origin_of(change) == expected, change.action
        assert change.actor == "tester"
    [item, *_] = caller.ok("GET", "/v1/changes")["items"]
    assert (item["account"], item["action"], item["origin"]["on_behalf_of"]) == (None, "create_token", "Zoe")


@pytest.mark.parametrize("name", [b"", b" ", b"\xff", "a\u202eb".encode(), b"x" * 256])
def test_a_person_that_nobody_can_read_is_refused(api: Api, name: bytes) -> None:
    headers = {"Authorization": f"Bearer {api.token('admin')}".encode(), "On-Behalf-Of": name}
    response = api.client.post("/v1/accounts", json={"name": "x"}, headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 422
    assert response.json()["errors"][0]["header"] == "On-Behalf-Of"


def test_the_console_says_session_and_how_it_began(stored_api: Api) -> None:
    manager, client = stored_api.manager, stored_api.client
    secret = stored_api.credentials.create_link("Ann", [Scope("admin")], lifetime=60)
    link = newest(manager, "create_link").details
    assert link is not None
    link_id = link["after"]["link"]
    assert client.post(f"/console/link/{secret}", headers=OWN_PAGE).status_code == 303
    begun = newest(manager, "sign_in")
    assert begun.details is not None
    session = begun.details["after"]["session"]
    assert (begun.actor, origin_of(begun).kind, origin_of(begun).id) == ("Ann", "link", link_id)
    assert origin_of(begun).address == ADDRESS
    page = client.get("/console/accounts").text
    made = client.post("/console/accounts/new", data={"csrf": proof(page), "name": "acct-8"})
    assert made.status_code == 303, made.text
    made_by = origin_of(newest(manager, "create_account"))
    assert (made_by.kind, made_by.id, made_by.via) == ("session", session, f"link:{link_id}")
    assert made_by.address == ADDRESS
    assert made_by.request_id is not None
    client.post("/console/sign-out", data={"csrf": proof(page)})
    ended = newest(manager, "end_session")
    assert (ended.actor, origin_of(ended).id) == ("Ann", session)
    assert ended.details is not None
    assert ended.details["before"]["session"] == session


def test_the_command_line_says_the_user_of_the_system(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/lists.db"
    user = pwd.getpwuid(os.getuid()).pw_name
    environment = {"CIDRGATE_DATABASE": database, "LOGNAME": "somebody", "USER": "somebody"}
    for arguments in (
        ["account", "create", "acct-1"],
        ["add", "acct-1", "8.8.8.0/24", "--actor", "alice"],
        ["token", "create", "billing", "--scope", "metrics"],
        ["token", "revoke", "1"],
        ["erase", "--older-than", "0s", "--yes"],
        ["prune", "--older-than", "0s", "--yes"],
    ):
        result = typed(arguments, environment=environment)
        assert result.exit_code == 0, result.output
        with RuleManager.open(database, load=False) as manager:
            last = newest(manager)
        assert origin_of(last) == Origin(kind="cli", id=user), arguments
        assert last.actor == ("alice" if "alice" in arguments else "somebody")


def test_the_library_says_what_its_program_states(store_url: str) -> None:
    with RuleManager.open(store_url, create=True) as manager:
        of_job = manager.with_origin(
            Origin(kind="library", id="job-7", on_behalf_of="", address="2606:4700:0:0::1", request_id="r")
        )
        of_job.create_account("a")
        of_job.import_accounts({"a": "8.8.8.0/24", "b": "1.1.1.1/32"})
        of_job.edit("a", "8.8.8.0/24", label="x")
        for change in manager.history():
            assert origin_of(change) == Origin(kind="library", id="job-7", address="2606:4700::1", request_id="r")
        manager.add("a", "9.9.9.9/32")
        assert origin_of(newest(manager)) == Origin(kind="library")
        for wrong, error in (
            (Origin(kind="browser"), ValueError),  # type: ignore[arg-type]
            (Origin(kind="library", address="8.8.8.0/24"), InvalidAddressError),
            (Origin(kind="library", id="a\nb"), InvalidTextError),
            ({"kind": "library"}, TypeError),
        ):
            with pytest.raises(error):
                manager.with_origin(wrong)  # type: ignore[arg-type]


def test_the_log_holds_no_secret(stored_api: Api) -> None:
    caller = stored_api.caller("admin")
    made = caller.ok("POST", "/v1/tokens", {"name": "t", "scopes": ["admin"]})
    link = stored_api.credentials.create_link("Ann", [Scope("admin")], lifetime=60)
    stored_api.client.post(f"/console/link/{link}", headers=OWN_PAGE)
    cookie = stored_api.client.cookies["cidrgate_session"]
    wrong = made["token"][:-1] + ("A" if made["token"][-1] != "A" else "B")
    stored_api.at(ADDRESS, wrong)("GET", "/v1/me")
    sign_in(stored_api, wrong)
    caller.ok("DELETE", f"/v1/tokens/{made['id']}")
    stored_api.credentials.end_all_sessions(actor="ops")
    eventually(lambda: any(change.action == "sign_in_failed" for change in stored_api.manager.history()))
    with stored_api.manager._store.read() as transaction:
        rows = transaction.connection.execute(select(changes)).all()
    held = json.dumps([list(map(str, row)) for row in rows])
    for secret in (made["token"], made["token"].rpartition("_")[2], link, cookie, wrong.split("_", 2)[2]):
        assert secret not in held
    assert not re.search(r"[0-9a-f]{64}", held)  # no hash of a secret either


def test_a_flood_of_wrong_credentials_is_few_rows(stored_api: Api) -> None:
    for number in range(40):
        stored_api.at(f"2606:4700::{number:x}", "cidrgate_1_" + "x" * 43)("GET", "/v1/me")
    stored_api.app.state.service.failed_sign_ins.close()
    rows = [change for change in stored_api.manager.history() if change.action == "sign_in_failed"]
    assert sum((row.details or {})["count"] for row in rows) == 40
    assert len(rows) == 2
    assert {(row.account, row.actor, origin_of(row).kind) for row in rows} == {(None, None, "token")}


def test_failures_of_very_many_sources_are_counted_together() -> None:
    rows: list[FailedSignIns] = []
    log = FailedSignInLog(rows.extend)
    for number in range(5_000):
        log.add(Origin(kind="token", address=f"10.{number // 250}.{number % 250}.1"))
    log.close()
    assert len(rows) <= 62
    assert sum(row.count for row in rows) == 5_000
    assert [row.origin.address for row in rows][-1] is None


def test_a_client_names_a_person(api: Api) -> None:
    with Client("http://testserver", api.token("admin"), http=api.client) as client:  # type: ignore[arg-type]
        client.for_person("Zoë").create_account("x")
        client.create_account("y")
        first, second = (origin_of(change) for change in reversed(api.manager.history(limit=2)))
        assert (first.on_behalf_of, second.on_behalf_of) == ("Zoë", None)
        [shown, *_] = client.list_history("x")
        assert shown.origin is not None
        assert shown.origin.on_behalf_of == "Zoë"
