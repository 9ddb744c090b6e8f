"""What a client may do is checked again while its change holds the lock: the account or the scopes may have changed."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import update

from cidrgate.manager.commit_groups import CommitGroups
from cidrgate.stores.schema import tokens
from tests.service.test_access import NEEDS
from tests.service.test_console_access import ROUTES, WRITE, sign_in
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate import RuleManager
    from tests.service.conftest import Api

_OTHERS = "9.9.8.0/24"
"""The list of the account's next owner."""
_CONFIRMED = ["disable_enforcement", "enable_enforcement", "lock_out", "deny_traffic"]


class _Target(NamedTuple):
    """An account to change, and what requests need to know of it."""

    account: str
    entry: int
    version: int
    sequence: int


API: dict[str, Callable[[_Target], Any]] = {
    "PUT /v1/accounts/{account_name}/mode": lambda _: {"mode": "enforce", "closed": True},
    "POST /v1/accounts/{account_name}/entries": lambda _: {"cidrs": "9.9.9.0/24"},
    "PUT /v1/accounts/{account_name}/entries": lambda _: {"cidrs": "9.9.9.0/24"},
    "DELETE /v1/accounts/{account_name}/entries": lambda _: None,
    "PATCH /v1/accounts/{account_name}/entries/{entry_id}": lambda _: {"label": "new"},
    "DELETE /v1/accounts/{account_name}/entries/{entry_id}": lambda _: None,
    "POST /v1/accounts/{account_name}/restore": lambda target: {"to_sequence": target.sequence},
    "POST /v1/accounts/{account_name}/history/{sequence}/undo": lambda _: None,
}
FORMS: dict[str, dict[str, str]] = {
    "/list/add": {"cidrs": "9.9.9.0/24"},
    "/list/edit": {"cidr": "9.9.9.0/24"},
    "/list/remove": {},
    "/list/enable": {"enabled": "no"},
    "/list/mode": {"mode": "off", "ends": "24"},
    "/list/restore": {},
    "/list/undo": {},
}
SHOW_ONLY = {"/list/add/check", "/list/add/rewrite", "/list/edit/check", "/list/edit/rewrite"}
SHOW_ONLY |= {"/list/recommendation/take"}


def test_the_tables_hold_every_route_that_changes_a_list() -> None:
    assert set(API) == {route for route, needs in NEEDS.items() if needs == "write"}
    assert set(FORMS) == {path for method, path in ROUTES if method == "POST" and path in WRITE} - SHOW_ONLY


def _moved_out(api: Api, account: str) -> None:
    api.manager.edit_account(account, parent=None, confirmed=["disable_enforcement"])


def _renamed_and_created(api: Api, account: str) -> None:
    api.manager.rename_account(account, f"{account}-old", confirmed=["disable_enforcement"])
    _create_other(api.manager, account)


def _deleted_and_created(api: Api, account: str) -> None:
    api.manager.delete_account(account, confirmed=["disable_enforcement"])
    _create_other(api.manager, account)


def _narrowed(api: Api, account: str) -> None:
    with api.manager._store.write() as transaction:
        kept = [f"account:{account}:read"]
        transaction.connection.execute(update(tokens).where(tokens.c.name == account).values(scopes=kept))


def _create_other(manager: RuleManager, account: str) -> None:
    manager.create_account(account)
    manager.add(account, _OTHERS)


EVENTS: dict[str, tuple[Callable[[Api, str], None], int, str]] = {
    "moved out": (_moved_out, 404, "account_not_found"),
    "renamed and created": (_renamed_and_created, 404, "account_not_found"),
    "deleted and created": (_deleted_and_created, 404, "account_not_found"),
    "narrowed": (_narrowed, 403, "insufficient_scope"),
}


def _target(api: Api, number: int, *, sub: bool) -> tuple[_Target, str]:
    """A new account with an entry, or a subaccount of it; and the secret of a token for the account with the entry."""
    name = f"customer-{number}"
    api.manager.create_account(name)
    api.manager.add(name, "8.8.8.0/24")
    [entry] = api.manager.add(name, "8.8.9.0/24").after
    account = f"sub-{name}" if sub else name
    if sub:
        api.manager.create_account(account, parent=name)
    last = api.manager.history(account, limit=1)[0].sequence
    target = _Target(account, entry.id, api.manager.account(account).version, last)
    return target, api.token(f"account:{name}:write", "account:acct-2:read", name=account)


@pytest.mark.parametrize("event", EVENTS)
def test_a_change_is_refused_if_the_client_may_not_make_it_any_more_when_it_holds_the_lock(
    stored_api: Api, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = stored_api
    happens, status, code = EVENTS[event]
    waiting: list[str] = []
    change_list = CommitGroups.change_list

    def later(self: CommitGroups, request: Any) -> Any:
        if waiting and waiting[0] == request.account:
            happens(api, waiting.pop())
        return change_list(self, request)

    monkeypatch.setattr(CommitGroups, "change_list", later)
    reached = []
    for number, route in enumerate([*API, *FORMS]):
        target, secret = _target(api, number, sub=event == "moved out")
        if route in FORMS:
            fields = {"account": target.account, "entry": str(target.entry), "version": str(target.version)}
            fields |= {"at": str(target.sequence), "csrf": sign_in(api, secret), **FORMS[route]}
            waiting.append(target.account)
            answer = api.client.post(f"/console{route}", data=fields | {"confirm": _CONFIRMED})
        else:
            method, _, path = route.partition(" ")
            path = path.format(account_name=target.account, entry_id=target.entry, sequence=target.sequence)
            waiting.append(target.account)
            query = f"?entry_ids={target.entry}" if route.startswith("DELETE") and path.endswith("entries") else ""
            answer = api.at("198.51.100.7", secret)(method, path + query, API[route](target))
        if waiting:  # the preview of the form refused it already
            assert event == "moved out"
            assert route in FORMS
            assert answer.status_code in (409, 422), (route, answer.text)
            waiting.clear()
            continue
        reached.append(route)
        assert answer.status_code == status, (route, answer.text)
        if route in API:
            assert answer.json()["code"] == code
        assert _OTHERS not in answer.text
        now = {"moved out": [], "narrowed": ["8.8.8.0/24", "8.8.9.0/24"]}.get(event, [_OTHERS])
        assert [entry.cidr for entry in api.manager.entries(target.account)] == now, route
    assert {*API, "/list/add", "/list/edit"} <= set(reached)


def test_a_change_goes_on_if_the_client_lost_only_another_account(
    stored_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = stored_api.caller("account:acct-1:write", "account:acct-2:write")
    change_list = CommitGroups.change_list

    def later(self: CommitGroups, request: Any) -> Any:
        stored_api.manager.delete_account("acct-2")
        return change_list(self, request)

    monkeypatch.setattr(CommitGroups, "change_list", later)
    caller.ok("POST", "/v1/accounts/acct-1/entries", {"cidrs": "9.9.9.0/24"})


def test_a_change_that_waits_for_the_lock_of_a_move_is_refused_after_it(stored_api: Api) -> None:
    caller = stored_api.caller("account:acct-1:write")
    answers = []

    def ask() -> None:
        answers.append(caller("POST", "/v1/accounts/sub-1/entries", {"cidrs": "9.9.9.0/24"}))

    asking = Thread(target=ask)

    def while_it_holds_the_lock(*_: object) -> None:
        commits = stored_api.manager._commits
        asking.start()
        eventually(lambda: bool(commits._waiting or any(one.account == "sub-1" for one in commits._running)))

    mover = stored_api.manager._with_transaction_hook(while_it_holds_the_lock)
    mover.edit_account("sub-1", parent=None)
    asking.join()
    [answer] = answers
    assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")
    assert stored_api.manager.entries("sub-1") == []
