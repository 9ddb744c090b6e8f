"""The forms of the console: what each field means when it is empty, unchanged, or sent in vain."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import pytest

from cidrgate.service.console.details import FORM_DETAILS, input_type
from cidrgate.service.http.limits import LARGEST_BODY, LONGEST_FORM_LIST
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.service.conftest import Api

_CIDR = "8.8.8.0/24"
_UNTIL = datetime(2199, 1, 31, 18, 0, 41, tzinfo=UTC)
_TEMPLATES = files("cidrgate.service.console") / "templates"
_NOT_TYPED = {"hidden", "checkbox", "radio", "password"}


def sign_in(api: Api) -> None:
    data = {"token": api.token("admin")}
    assert api.client.post("/console/sign-in", data=data, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def sent(page: str, path: str) -> dict[str, str]:
    """What the browser sends of the form of a page to a path, if nobody changes a field."""
    [form] = re.findall(rf'<form method="post" action="[^"]*/console/{path}".*?</form>', page, re.DOTALL)
    fields = {}
    for one in re.findall(r"<input [^>]*>", form):
        given = dict(re.findall(r'(\w+)="([^"]*)"', one))
        if given.get("type") not in ("checkbox", "radio") or re.search(r"\bchecked\b", one):
            fields[given["name"]] = given.get("value", "")
    for name, options in re.findall(r'<select [^>]*?name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        fields[name] = (
            re.findall(r'value="([^"]*)"(?= selected)', options) or re.findall(r'value="([^"]*)"', options)
        )[0]
    return {name: html.unescape(value) for name, value in fields.items()}


def typed_fields() -> dict[str, set[str]]:
    """The fields in which a person types, by the path of the form: of every form that is sent by POST."""
    made = {detail.name for detail in FORM_DETAILS if input_type(detail) != "select"}
    found: dict[str, set[str]] = {}
    for template in _TEMPLATES.iterdir():
        text = template.read_text()
        for path, form in re.findall(
            r'<form method="post" action="\{\{ link\((.+?)\) \}\}"(.*?)</form>', text, re.DOTALL
        ):
            fields = found.setdefault(path.strip("'"), made if "detail_fields(" in form else set())
            for one in re.findall(r"<(?:input|textarea)\b[^>]*>", form):
                given = dict(re.findall(r'(\w+)="([^"]*)"', one))
                if given.get("type") not in _NOT_TYPED:
                    fields.add(given["name"])
    return {path: fields for path, fields in found.items() if fields}


TYPED = typed_fields()


def test_the_forms_in_which_people_type() -> None:
    """So that the table is not empty by mistake."""
    assert TYPED.keys() == {"list/add", "list/edit", "list/mode", "accounts/new", "accounts/edit", "tokens/new"}
    assert TYPED["list/mode"] == {"ends_at", "reason"}
    assert TYPED["tokens/new"] == {"name", "account"}


@pytest.mark.parametrize("path", TYPED)
def test_a_form_that_is_refused_loses_nothing_that_was_typed(api: Api, path: str) -> None:
    typed = {field: f"typed in <{field}>" for field in TYPED[path]}
    hidden = {} if "account" in typed else {"account": "of the page"}
    refused = api.client.post(f"/console/{path}", data={**typed, **hidden})
    assert refused.status_code == 401
    kept = [html.unescape(text) for text in re.findall(r"<textarea[^>]*>(.*?)</textarea>", refused.text, re.DOTALL)]
    assert sorted(kept) == sorted(typed.values()), "add the field to _TYPED in cidrgate/service/console/app.py"


def timed_forms(api: Api) -> dict[str, dict[str, str]]:
    """What a browser sends of each form with the choice “At a time …”, without the time."""
    [entry] = api.manager.entries("acct-1")
    pages = {"list/add": "", "list/mode": "", "list/edit": f"&entry={entry.id}"}
    found = {}
    for path, more in pages.items():
        page = api.client.get(f"/console/{path}?account=acct-1{more}").text
        if 'value="at"' in page:
            found[path] = {**sent(page, path), "ends": "at", "ends_at": ""}
    return found


@pytest.mark.parametrize("text", ["", " "])
def test_a_time_that_was_not_chosen_is_not_for_ever(api: Api, text: str) -> None:
    api.manager.add("acct-1", _CIDR)
    sign_in(api)
    before = api.manager.account("acct-1"), api.manager.entries("acct-1")
    forms = timed_forms(api)
    assert len(forms) == sum("at-time" in one.read_text() for one in _TEMPLATES.iterdir()) == 2
    for path, fields in forms.items():
        choice = {"cidrs": "1.1.1.0/24", "mode": "off", "ends_at": text, "confirm": "disable_enforcement"}
        refused = api.client.post(f"/console/{path}", data={**fields, **choice})
        assert refused.status_code == 422, path
        assert re.search("Choose when (the entries expire|it ends)[.]", refused.text), path
        assert (api.manager.account("acct-1"), api.manager.entries("acct-1")) == before, path


@pytest.mark.parametrize(
    "mode",
    [
        {"mode": "enforce"},
        {"mode": "enforce", "reason": "reviewed"},
        {"mode": "report_only", "reason": "trail"},
        {"mode": "off"},
        {"mode": "off", "until": _UNTIL, "reason": "incident 7"},
        {"mode": "report_only", "until": _UNTIL},
    ],
)
def test_the_form_of_the_mode_has_the_mode_as_it_is(api: Api, mode: dict[str, Any]) -> None:
    api.manager.add("acct-1", _CIDR)
    api.manager.set_mode("acct-1", **mode, confirmed=["disable_enforcement"])
    before = api.manager.account("acct-1")
    sign_in(api)
    page = api.client.get("/console/list/mode?account=acct-1").text
    assert api.client.post("/console/list/mode", data=sent(page, "list/mode")).status_code == 303
    assert api.manager.account("acct-1") == before
    if mode["mode"] == "enforce":
        return
    corrected = {**sent(page, "list/mode"), "reason": "corrected"}
    assert api.client.post("/console/list/mode", data=corrected).status_code == 303
    after = api.manager.account("acct-1")
    assert (after.mode, after.mode_until, after.mode_reason) == (before.mode, before.mode_until, "corrected")


@pytest.mark.parametrize("mode", ["off", "report_only"])
def test_what_the_form_hides_is_not_stored(api: Api, mode: Literal["off", "report_only"]) -> None:
    """The end and the reason of a pause are not those of an enforced list, nor of the next pause."""
    api.manager.add("acct-1", _CIDR)
    api.manager.set_mode("acct-1", mode, until=_UNTIL, reason="incident 7", confirmed=["disable_enforcement"])
    sign_in(api)
    form = {**sent(api.client.get("/console/list/mode?account=acct-1").text, "list/mode"), "mode": "enforce"}
    asked = api.client.post("/console/list/mode", data=form)
    confirmed = {**sent(asked.text, "list/mode"), "confirm": "enable_enforcement"}
    assert confirmed["reason"] == "incident 7"  # nothing is lost, if the person pauses it after all
    assert api.client.post("/console/list/mode", data=confirmed).status_code == 303
    account = api.manager.account("acct-1")
    assert (account.mode, account.mode_until, account.mode_reason) == ("enforce", None, None)
    assert api.manager.history("acct-1")[0].action == "set_mode"
    api.manager.set_mode("acct-1", "enforce", reason="reviewed")
    assert sent(api.client.get("/console/list/mode?account=acct-1").text, "list/mode")["reason"] == ""


def test_the_form_of_a_mode_that_has_ended_begins_anew(api: Api) -> None:
    api.manager.add("acct-1", _CIDR)
    until = datetime.now(UTC) + timedelta(milliseconds=200)
    api.manager.set_mode("acct-1", "off", until=until, reason="incident 7", confirmed=["disable_enforcement"])
    eventually(lambda: api.manager.account("acct-1").mode_at() == "enforce")
    sign_in(api)
    fields = sent(api.client.get("/console/list/mode?account=acct-1").text, "list/mode")
    assert (fields["mode"], fields["ends"], fields["ends_at"], fields["reason"]) == ("enforce", "1", "", "")


def test_every_other_form_for_what_exists_has_it_as_it_is(api: Api) -> None:
    api.manager.add("acct-1", _CIDR, label="office", expires_at=_UNTIL, enabled=False)
    api.manager.edit_account("sub-1", display_name="Sub <1>")
    [entry] = api.manager.entries("acct-1")
    sign_in(api)
    pages = {
        "list/edit": f"account=acct-1&entry={entry.id}",
        "accounts/edit": "account=sub-1",
    }
    before = api.manager.entries("acct-1"), api.manager.account("sub-1"), api.manager.account("acct-1")
    for path, query in pages.items():
        page = api.client.get(f"/console/{path}?{query}").text
        assert api.client.post(f"/console/{path}", data=sent(page, path)).status_code == 303
    assert (api.manager.entries("acct-1"), api.manager.account("sub-1"), api.manager.account("acct-1")) == before


def test_a_form_for_a_token_creates_one_token(api: Api) -> None:
    sign_in(api)

    def opened(**changed: str) -> dict[str, str]:
        fields = sent(api.client.get("/console/tokens/new?account=acct-1").text, "tokens/new")
        return {**fields, "name": "billing", **changed}

    def created() -> list[str]:
        return [token.name for token in api.credentials.tokens() if token.name != "tester"]

    form = opened()
    made = api.client.post("/console/tokens/new", data=form)
    assert made.status_code == 200
    assert "cidrgate_" in made.text
    again = api.client.post("/console/tokens/new", data=form)
    assert again.status_code == 409
    assert "This token exists already" in again.text
    assert 'value="cidrgate_' not in again.text
    assert created() == ["billing"]
    for other in (opened(), form | {"name": "other"}, form | {"may": "read"}):
        assert api.client.post("/console/tokens/new", data=other).status_code == 200, other
    assert created() == ["billing", "billing", "other", "billing"]


def test_a_form_of_the_greatest_length_is_not_lost(api: Api) -> None:
    """A browser sends up to three bytes for each character."""
    typed = ",/" * (LONGEST_FORM_LIST // 2)
    refused = api.client.post("/console/list/add", data={"account": "acct-1", "cidrs": typed})
    assert refused.status_code == 401
    assert typed in refused.text


def test_a_form_that_is_too_large_is_refused_with_a_reason(api: Api) -> None:
    sign_in(api)
    refused = api.client.post("/console/list/add", data={"account": "acct-1", "cidrs": "8" * (LARGEST_BODY + 1)})
    assert refused.status_code == 413
    assert "<h1>Your input is too long</h1>" in refused.text
    assert "Send less at a time." in refused.text


def test_the_page_of_sessions_says_when_they_end(api: Api) -> None:
    sign_in(api)
    [session] = api.credentials.sessions()
    page = api.client.get("/console/sessions").text
    assert f'datetime="{session.expires_at.isoformat(timespec="seconds")}"' in page
    assert "hours," not in page
