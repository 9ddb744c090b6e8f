"""Every form of the console that carries a version, and two changes by others before it is sent."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import update
from starlette.routing import Mount

from cidrgate import RuleManager
from cidrgate.service import create_app
from cidrgate.service.console.changing import preview_change
from cidrgate.service.console.conflicts import conflict_since
from cidrgate.stores.schema import entries
from tests.service.test_console_access import sign_in
from tests.service.test_console_forms import sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi.dependencies.models import Dependant

    from tests.service.conftest import Api

FORMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "/accounts/edit": ({"name": "acct-1", "display_name": "Acme Ltd", "parent": "acct-2"}, ["Acme Ltd", "acct-2"]),
    "/accounts/delete": ({"confirm": "disable_enforcement"}, []),
    "/list/add": ({"cidrs": "5.5.5.0/24", "label": "typed with care"}, ["5.5.5.0/24", "typed with care"]),
    "/list/add/rewrite": (
        {"cidrs": "8.8.0.0/16", "label": "typed with care", "way": "replaces {entry}"},
        ["8.8.0.0/16", "typed with care"],
    ),
    "/list/edit": ({"cidr": "8.8.0.0/16", "label": "typed with care"}, ["8.8.0.0/16", "typed with care"]),
    "/list/edit/rewrite": (
        {"cidr": "0.0.0.0/4", "label": "typed with care", "way": "replaces {other}"},
        ["0.0.0.0/4", "typed with care"],
    ),
    "/list/enable": ({"enabled": "no"}, []),
    "/list/mode": ({"mode": "off", "ends": "4", "reason": "typed with care"}, ["typed with care"]),
    "/list/remove": ({}, []),
    "/list/restore": ({"at": "{at}"}, []),
    "/list/undo": ({"at": "{at}"}, []),
}
"""The fields of each form that changes something, and what a person typed."""

PREVIEWS = {"/list/add/check", "/list/edit/check"}
"""They change nothing, and return no version."""


def with_a_version(*more: str) -> Iterator[str]:
    """The path of every form that carries a version, and further fields."""
    with RuleManager.open("memory://") as manager:
        app = create_app(manager)
        [console] = [route.app for route in app.routes if isinstance(route, Mount) and route.path == "/console"]
        for route in console.routes:  # type: ignore[attr-defined]
            if not isinstance(route, APIRoute) or "POST" not in (route.methods or ()):
                continue
            if {"version", *more} <= fields(route.dependant):
                yield route.path


def fields(dependant: Dependant) -> set[str]:
    return {one.alias for one in dependant.body_params}.union(*map(fields, dependant.dependencies))


def test_every_form_with_a_version_is_in_the_table() -> None:
    assert set(with_a_version()) == FORMS.keys() | PREVIEWS


class Meeting(NamedTuple):
    """A form of what is stored, in which a person changes one field while somebody else changes others.

    Attributes:
        typed: What the person changes.
        meanwhile: What somebody else does.
        shown: The fields of the form after the conflict, as far as they matter.
        said: What the page says of the fields that both changed.
        stored: What is stored after the person saves again: see `stored_now`.
    """

    typed: dict[str, str]
    meanwhile: Callable[[RuleManager], object]
    shown: dict[str, str]
    said: list[str]
    stored: dict[str, Any]


def blocked(manager: RuleManager) -> None:
    manager.edit("acct-1", "8.8.8.0/24", label="do not use", enabled=False, actor="grace")


def paused(manager: RuleManager) -> None:
    manager.set_mode("acct-1", "off", until=UNTIL, reason="trail", actor="grace", confirmed=["disable_enforcement"])


def ending(manager: RuleManager) -> None:
    manager.set_mode("acct-1", "report_only", until=UNTIL, reason="trail", actor="grace")


def moved(manager: RuleManager) -> None:
    manager.delete_account("sub-1", confirmed=["disable_enforcement"])
    manager.edit_account("acct-1", parent="acct-2", actor="grace", confirmed=["disable_enforcement"])


UNTIL = datetime(2199, 1, 31, 18, tzinfo=UTC)
MEETINGS: dict[tuple[str, str], Meeting] = {
    ("list/edit", "another field"): Meeting(
        {"cidr": "8.8.8.0/25"},
        blocked,
        {"cidr": "8.8.8.0/25", "label": "do not use", "enabled": "no"},
        [],
        {"cidr": "8.8.8.0/25", "label": "do not use", "enabled": False},
    ),
    ("list/edit", "the same field"): Meeting(
        {"label": "Office"},
        blocked,
        {"label": "Office", "enabled": "no"},
        ["Label: “do not use” is stored now, “Office” is your input"],
        {"label": "Office", "enabled": False},
    ),
    ("list/edit", "the same value"): Meeting(
        {"enabled": "no"}, blocked, {"enabled": "no"}, [], {"label": "do not use", "enabled": False}
    ),
    ("list/edit", "the network"): Meeting(
        {"label": "Office"},
        lambda manager: manager.edit("acct-1", "8.8.8.0/24", "8.8.8.0/25", expires_at=UNTIL),
        {"label": "Office", "cidr": "8.8.8.0/25", "ends_at": "2199-01-31T18:00"},
        [],
        {"cidr": "8.8.8.0/25", "label": "Office", "expires_at": UNTIL},
    ),
    ("accounts/edit", "another field"): Meeting(
        {"display_name": "Acme"},
        moved,
        {"display_name": "Acme", "parent": "acct-2", "name": "acct-1"},
        [],
        {"display_name": "Acme", "parent": "acct-2"},
    ),
    ("accounts/edit", "the same field"): Meeting(
        {"display_name": "Acme"},
        lambda manager: manager.edit_account("acct-1", display_name="Umbrella"),
        {"display_name": "Acme"},
        ["Display name: “Umbrella” is stored now, “Acme” is your input"],
        {"display_name": "Acme"},
    ),
    ("list/mode", "another field"): Meeting(
        {"reason": "incident 7"},
        paused,
        {"mode": "off", "ends": "at", "ends_at": "2199-01-31T18:00", "reason": "incident 7"},
        ["Reason: “trail” is stored now, “incident 7” is your input"],
        {"mode": "off", "mode_until": UNTIL, "mode_reason": "incident 7"},
    ),
    ("list/mode", "the mode"): Meeting(
        {"mode": "off"},
        ending,
        {"mode": "off", "ends": "never", "ends_at": "", "reason": ""},
        [
            "Enforce it again: “At a time …” is stored now, “When somebody changes it” is your input",
            "At: “2199-01-31T18:00” is stored now, nothing is your input",
            "Reason: “trail” is stored now, nothing is your input",
        ],
        {"mode": "off", "mode_until": None, "mode_reason": None},
    ),
}
"""By the path of the form."""

NOTHING_STORED = {"list/add"}
"""Its fields begin empty, whatever is stored."""


def stored_now(manager: RuleManager) -> dict[str, Any]:
    """The account, and the entry that the forms are about."""
    account, entry = manager.account("acct-1"), manager.entries("acct-1")[-2:-1]
    found = {name: getattr(account, name) for name in ("display_name", "parent", "mode", "mode_until", "mode_reason")}
    return found | {name: getattr(one, name) for one in entry for name in ("cidr", "label", "enabled", "expires_at")}


def test_every_form_of_what_is_stored_is_in_the_table() -> None:
    forms = {path.removeprefix("/") for path in with_a_version("began") if path not in PREVIEWS}
    assert {path for path in forms if not path.endswith("/rewrite")} - NOTHING_STORED == {path for path, _ in MEETINGS}


@pytest.mark.parametrize(("path", "what"), MEETINGS)
def test_a_field_that_the_person_did_not_change_keeps_what_others_stored(api: Api, path: str, what: str) -> None:
    names, meeting = a_list(api), MEETINGS[path, what]
    api.manager.set_mode("acct-1", "report_only", confirmed=["disable_enforcement"])
    sign_in(api, api.token("admin"))
    query = f"?account=acct-1&entry={names['entry']}" if path == "list/edit" else "?account=acct-1"
    form = {**sent(api.client.get(f"/console/{path}{query}").text, path), **meeting.typed}
    meeting.meanwhile(api.manager)
    refused = api.client.post(f"/console/{path}", data=form)
    assert refused.status_code == 409
    form = sent(refused.text, path)
    assert meeting.shown.items() <= form.items()
    both = re.findall(r'<li class="breakable">([^<]*)</li>', html.unescape(refused.text))
    assert len(both) == len(meeting.said)
    for found, said in zip(both, meeting.said, strict=True):
        assert said in found
    again = api.client.post(f"/console/{path}", data=form)
    if again.status_code == 409:
        asked = re.findall(r'name="confirm" value="(\w+)"', again.text)
        again = api.client.post(f"/console/{path}", data={**sent(again.text, path), "confirm": asked})
    assert again.status_code == 303, again.text
    assert meeting.stored.items() <= stored_now(api.manager).items()


@pytest.mark.parametrize("began", ["label=&enabled=yes", "%FF=%FF&&=&", "[" * 10_000])
def test_what_a_form_began_with_is_the_browsers_to_say(api: Api, began: str) -> None:
    """A field that it leaves out counts as changed."""
    names = a_list(api)
    form = {"account": "acct-1", "entry": names["entry"], "version": "1", "cidr": "8.8.8.0/26", "label": "mine"}
    form |= {"csrf": sign_in(api, api.token("admin")), "began": began}
    refused = api.client.post("/console/list/edit", data=form)
    assert refused.status_code == 409
    assert sent(refused.text, "list/edit").items() >= {"cidr": "8.8.8.0/26", "label": "mine"}.items()


def a_list(api: Api) -> dict[str, str]:
    """A list of two entries, and what the fields of the forms name of it."""
    api.manager.add("acct-1", ["8.8.8.0/24", "9.9.9.0/24"], actor="setup")
    api.manager.add("acct-1", "1.1.1.1/32", actor="setup")
    other, entry, _ = (one.id for one in api.manager.entries("acct-1"))
    return {"entry": f"{entry}", "other": f"{other}", "at": f"{api.manager.history('acct-1')[0].sequence}"}


def versions(page: str) -> set[int]:
    return {int(text) for text in re.findall(r'name="version" value="(\d+)"', page)}


def others_change_it(api: Api) -> None:
    api.manager.edit("acct-1", "8.8.8.0/24", label="do not use", enabled=False, actor="grace")
    api.manager.add("acct-1", "4.4.4.0/24", actor="linus")


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("path", FORMS)
def test_nothing_is_lost_and_every_change_is_shown(api: Api, path: str, part: bool) -> None:
    names = a_list(api)
    seen = api.manager.account("acct-1").version
    csrf = sign_in(api, api.token("admin"))
    others_change_it(api)
    before = api.manager.account("acct-1"), api.manager.entries("acct-1")
    typed, stays = FORMS[path]
    form = {"account": "acct-1", "entry": names["entry"], "version": f"{seen}", "csrf": csrf}
    form |= {name: text.format_map(names) for name, text in typed.items()}
    answer = api.client.post(f"/console{path}", data=form, headers={"hx-request": "true"} if part else {})
    assert answer.status_code == (200 if path.endswith("rewrite") else 409)
    assert (api.manager.account("acct-1"), api.manager.entries("acct-1")) == before
    page = html.unescape(answer.text)
    assert "Another person or program has changed this" in page
    for change, actor in (
        ("Changed 8.8.8.0/24 (label: do not use; enabled: no)", "grace"),
        ("Added 4.4.4.0/24", "linus"),
    ):
        assert f"{change}</span>, by {actor}" in page
    for text in stays:
        assert f'value="{text}"' in page or f">{text}</textarea>" in page, text
    # What was not shown is not in the version of the form either.
    assert versions(page) in (set(), {before[0].version})


def test_a_correction_that_looks_at_no_other_entry_keeps_the_version(api: Api) -> None:
    names = a_list(api)
    seen = api.manager.account("acct-1").version
    csrf = sign_in(api, api.token("admin"))
    others_change_it(api)
    for path, typed in (("add", {"cidrs": "5.5.5.1/24"}), ("edit", {"cidr": "5.5.5.1/24"})):
        form = {"account": "acct-1", "entry": names["entry"], "version": f"{seen}", "csrf": csrf, **typed}
        page = api.client.post(f"/console/list/{path}/rewrite", data={**form, "way": "0 5.5.5.0/24"}).text
        assert versions(page) == {seen}
        assert "has changed this list" not in page


def test_an_entry_that_takes_the_place_of_others_overwrites_no_change_unseen(api: Api) -> None:
    """A change of the edited entry itself, made after the form was opened and before a correction was chosen."""
    names = a_list(api)
    csrf = sign_in(api, api.token("admin"))
    form = api.client.get(f"/console/list/edit?account=acct-1&entry={names['entry']}").text
    sent = {"account": "acct-1", "entry": names["entry"], "label": "mine", "enabled": "yes", "csrf": csrf}
    sent |= {"version": f"{min(versions(form))}", "cidr": "8.0.0.0/7"}
    others_change_it(api)
    page = api.client.post("/console/list/edit/rewrite", data={**sent, "way": f"replaces {names['other']}"}).text
    assert "label: do not use" in page
    sent |= {"version": f"{min(versions(page))}"}
    api.manager.edit("acct-1", "8.8.8.0/24", label="later still", actor="grace")
    answer = api.client.post("/console/list/edit", data=sent)
    assert answer.status_code == 409
    assert "label: later still" in answer.text
    assert "do not use" not in answer.text


def test_a_conflict_tells_every_change_since_the_version(api: Api) -> None:
    manager = api.manager
    assert conflict_since(manager, "acct-1", manager.account("acct-1").version) is None
    manager.add("acct-1", "8.8.8.0/24")
    with manager._store.write() as transaction:
        transaction.connection.execute(update(entries).values(expires_at=datetime.now(UTC) - timedelta(hours=1)))
    begun = manager.account("acct-1").version
    made = []
    for number in range(12):
        manager.add("acct-1", f"9.9.{number}.0/24")  # the first of them also removes what has expired
        made.append(f"9.9.{number}.0/24")
        found = conflict_since(manager, "acct-1", begun)
        assert found is not None
        assert found.version == begun + number + 1
        told = [entry.cidr for change in found.changes for entry in change.after][::-1]
        assert told == made[-len(told) :]
        assert found.more == (number >= 9)  # with the removal of what has expired
    assert len(told) == 10
    manager.rename_account("acct-1", "renamed", confirmed=["disable_enforcement"])
    now = manager.account("renamed").version
    found = conflict_since(manager, "renamed", now - 1)
    assert found is not None
    assert {change.action for change in found.changes} == {"rename_account"}
    assert conflict_since(manager, "renamed", now + 5) is not None  # a version that there was never


@pytest.mark.parametrize(("path", "row"), [("/list/restore", 1), ("/list/undo", 0)])
def test_a_difference_is_confirmed_for_the_list_that_it_was_made_of(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str, row: int
) -> None:
    """Somebody changes the list while the page is made."""
    a_list(api)
    at = f"{api.manager.history('acct-1')[row].sequence}"
    csrf = sign_in(api, api.token("admin"))

    def late(*arguments: Any) -> Any:
        preview = preview_change(*arguments)
        others_change_it(api)
        return preview

    monkeypatch.setattr("cidrgate.service.console.going_back.preview_change", late)
    page = api.client.get(f"/console{path}?account=acct-1&at={at}").text
    monkeypatch.undo()
    [version] = versions(page)
    before = api.manager.entries("acct-1")
    form = {"account": "acct-1", "at": at, "version": f"{version}", "csrf": csrf}
    assert api.client.post(f"/console{path}", data=form).status_code == 409
    assert api.manager.entries("acct-1") == before
