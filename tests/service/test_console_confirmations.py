"""What a confirmation in the console is good for: the change that was shown beside it, and no other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate.service.console import changing
from cidrgate.service.console.changing import NeedsConfirmationError
from tests.observed import store_observed
from tests.service.test_console_access import sign_in
from tests.service.test_console_conflicts import versions

if TYPE_CHECKING:
    from cidrgate import RuleManager
    from tests.service.conftest import Api

ASKED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "another parent": ("accounts/edit", {"name": "child", "parent": "narrow"}, {"parent": "wide"}),
    "another name": ("accounts/edit", {"name": "renamed", "parent": ""}, {"name": "other"}),
    "a name besides a parent": ("accounts/edit", {"name": "child", "parent": "narrow"}, {"name": "other"}),
    "another account": ("accounts/delete", {}, {"account": "narrow"}),
    "another network": ("list/add", {"cidrs": "20.0.0.0/7"}, {"cidrs": "30.0.0.0/7"}),
    "another network besides": ("list/add", {"cidrs": "20.0.0.0/7"}, {"cidrs": "20.0.0.0/7, 30.0.0.0/7"}),
    "another end": ("list/add", {"cidrs": "20.0.0.0/7", "ends": "1"}, {"ends": "never"}),
    "another network of an entry": ("list/edit", {"cidr": "20.0.0.0/7"}, {"cidr": "30.0.0.0/7"}),
    "another entry": ("list/remove", {"entry": "{called}"}, {"entry": "{also_called}"}),
    "another entry to disable": ("list/enable", {"entry": "{called}"}, {"entry": "{also_called}"}),
    "another mode": ("list/mode", {"mode": "report_only", "ends": "1"}, {"mode": "off"}),
    "another end of a mode": ("list/mode", {"mode": "off", "ends": "1"}, {"ends": "never"}),
    "another change to undo": ("list/undo", {"at": "{undo}"}, {"at": "{undo_too}"}),
    "another list to go back to": ("list/restore", {"at": "{back}"}, {"at": "{further}"}),
}
"""What is asked about, and what else is sent with the answer."""


@pytest.fixture
def names(api: Api) -> dict[str, str]:
    """Lists of which addresses called, and what the forms name of them."""
    manager = api.manager
    for name, cidr in (("narrow", "5.5.5.0/24"), ("wide", "64.0.0.0/8"), ("child", "6.6.6.0/24")):
        manager.create_account(name)
        manager.add(name, cidr)
    manager.add("acct-1", "1.1.1.0/24")
    manager.add("acct-1", "2.2.2.0/24")
    manager.add("acct-1", "3.3.3.0/24")
    store_observed(manager, *(("acct-1", f"{number}.{number}.{number}.7/32", 12) for number in (1, 2, 3)))
    store_observed(manager, ("child", "6.6.6.7/32", 12), ("narrow", "5.5.5.5/32", 3))
    entry, called, also_called = (f"{one.id}" for one in manager.entries("acct-1"))
    undo, back, further, *_ = (f"{one.sequence}" for one in manager.history("acct-1"))
    found = {"entry": entry, "called": called, "also_called": also_called}
    return found | {"undo": undo, "undo_too": back, "back": back, "further": further}


def state(manager: RuleManager) -> list[Any]:
    return [(account, manager.entries(account.name)) for account in manager.accounts()]


def asked_of(page: str) -> dict[str, Any]:
    """What a form carries when each of its confirmations is given."""
    [shown_for] = re.findall(r'name="shown_for" value="(\w+)"', page)
    needed = re.findall(r'name="confirm" value="(\w+)"', page)
    assert needed
    return {"confirm": needed, "shown_for": shown_for}


def form_of(api: Api, csrf: str, path: str, fields: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    account = "child" if path.startswith("accounts/") else "acct-1"
    form = {"account": account, "entry": names["entry"], "csrf": csrf}
    form["version"] = f"{api.manager.account(account).version}"
    return form | {name: text.format_map(names) for name, text in fields.items()}


@pytest.mark.parametrize("what", ASKED)
def test_a_confirmation_is_good_for_what_was_shown_and_for_nothing_else(
    api: Api, names: dict[str, str], what: str
) -> None:
    path, shown, instead = ASKED[what]
    csrf = sign_in(api, api.token("admin"))
    form = form_of(api, csrf, path, shown, names)
    page = api.client.post(f"/console/{path}", data=form)
    assert page.status_code == 409
    agreed = asked_of(page.text)
    before = state(api.manager)
    other = form | agreed | {name: text.format_map(names) for name, text in instead.items()}
    other["version"] = f"{api.manager.account(other['account']).version}"
    answer = api.client.post(f"/console/{path}", data=other)
    assert answer.status_code == 409
    assert state(api.manager) == before
    # It is asked again, and nothing is confirmed already.
    assert "Please confirm" in answer.text
    assert not re.search(r'name="confirm"[^>]* checked', answer.text)
    for nothing in ("", "0" * 64):
        answer = api.client.post(f"/console/{path}", data=form | agreed | {"shown_for": nothing})
        assert (answer.status_code, state(api.manager) == before) == (409, True)
    assert api.client.post(f"/console/{path}", data=form | agreed).status_code == 303
    assert state(api.manager) != before


def test_a_confirmation_holds_for_the_parents_list_as_it_was_shown(api: Api, names: dict[str, str]) -> None:
    csrf = sign_in(api, api.token("admin"))
    form = form_of(api, csrf, "accounts/edit", {"name": "child", "parent": "narrow"}, names)
    agreed = asked_of(api.client.post("/console/accounts/edit", data=form).text)
    api.manager.add("narrow", "32.0.0.0/3", confirmed=["wide_entry"])
    answer = api.client.post("/console/accounts/edit", data=form | agreed)
    assert (answer.status_code, api.manager.account("child").parent) == (409, None)
    assert api.client.post("/console/accounts/edit", data=form | asked_of(answer.text)).status_code == 303


def test_what_decides_nothing_may_change_after_a_confirmation(api: Api, names: dict[str, str]) -> None:
    csrf = sign_in(api, api.token("admin"))
    for path, fields, more in (
        ("list/add", {"cidrs": "20.0.0.0/7"}, {"label": "typed later", "cidrs": "20.0.0.0/7\n"}),
        ("list/mode", {"mode": "off"}, {"reason": "typed later"}),
        ("accounts/edit", {"name": "child", "parent": "narrow"}, {"display_name": "typed later"}),
    ):
        form = form_of(api, csrf, path, fields, names)
        agreed = asked_of(api.client.post(f"/console/{path}", data=form).text)
        assert api.client.post(f"/console/{path}", data=form | agreed | more).status_code == 303


@pytest.mark.parametrize("form", ["add", "edit"])
def test_a_confirmation_does_not_stay_while_another_network_is_typed(
    api: Api, names: dict[str, str], form: str
) -> None:
    csrf = sign_in(api, api.token("admin"))
    field = "cidrs" if form == "add" else "cidr"
    sent = form_of(api, csrf, f"list/{form}", {field: "20.0.0.0/7"}, names)
    checked = re.compile(r'name="confirm" value="wide_entry" required( checked)?')

    def verdict(**fields: Any) -> str:
        return api.client.post(f"/console/list/{form}/check", data=sent | fields).text

    agreed = asked_of(verdict())
    assert checked.findall(verdict(**agreed)) == [" checked"]
    assert checked.findall(verdict(**agreed, label="typed later")) == [" checked"]
    assert checked.findall(verdict(**agreed, **{field: "30.0.0.0/7"})) == [""]


RACED: dict[str, dict[str, str]] = {
    "list/mode": {"mode": "off", "reason": "typed with care"},
    "list/remove": {"entry": "{only}"},
    "list/undo": {"at": "{added}"},
    "list/restore": {"at": "{created}"},
    "accounts/edit": {"name": "mine", "parent": "other", "display_name": "typed with care"},
}


@pytest.mark.parametrize("path", RACED)
def test_a_change_between_a_question_and_its_preview_loses_no_form(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    manager = api.manager
    manager.create_account("other")
    manager.create_account("mine")
    manager.add("other", "5.5.5.0/24")
    manager.add("mine", "8.8.8.0/24")
    added, created = (change.sequence for change in manager.history("mine"))
    [only] = manager.entries("mine")
    names = {"only": only.id, "added": added, "created": created}
    csrf = sign_in(api, api.token("admin"))

    def late(*arguments: Any) -> Any:
        try:
            return make_change(*arguments)
        except NeedsConfirmationError:
            manager.add("mine", "7.7.7.0/24", actor="grace")
            raise

    make_change = changing.make_change
    monkeypatch.setattr(changing, "make_change", late)
    form = {"account": "mine", "version": "1", "csrf": csrf}
    form |= {name: text.format_map(names) for name, text in RACED[path].items()}
    answer = api.client.post(f"/console/{path}", data=form)
    assert answer.status_code == 409
    assert "Added 7.7.7.0/24</span>, by grace" in answer.text
    assert ('value="typed with care"' in answer.text) == ("typed with care" in form.values())
    assert versions(answer.text) <= {2}
