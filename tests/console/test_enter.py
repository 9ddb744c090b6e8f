"""Enter in a field presses the button of the form itself, whatever other buttons the form has."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import pytest
from playwright.sync_api import expect

from tests.service.test_console_forms import TYPED

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.console.a_console import Console, Visitors

_TEMPLATES = files("cidrgate.service.console") / "templates"
_ONE_LINE = "input:not([type=hidden], [type=checkbox], [type=radio])"


class Form(NamedTuple):
    """A form with fields in which Enter sends it.

    Attributes:
        page: The path of the page that has it, with `{account}`, and `{entry}` for an entry of the account.
        opens: What opens it on that page; empty if it is there.
        typed: The field in which something is typed that offers corrections, and the text; empty if it has none.
        choices: What is chosen before, so that every field is shown.
    """

    page: str
    opens: str = ""
    typed: tuple[str, str] = ("", "")
    choices: tuple[str, ...] = ()


_ADD = ("[name=cidrs]", "8.8.0.0/16, 10.0.0.0/8")
_EDIT = ("[name=cidr]", "8.8.0.0/16")
_AT = "option[value=at]"

FORMS = {
    "list/add": Form("list/add?account={account}", "", _ADD, (_AT,)),
    "list/add in a dialog": Form("list?account={account}", "#add", _ADD, (_AT,)),
    "list/edit": Form("list/edit?account={account}&entry={entry}", "", _EDIT),
    "list/edit in a row": Form("list?account={account}", "#entry-{entry} a", _EDIT),
    "list": Form("list?account={account}&q=8"),
    "list/mode": Form("list/mode?account={account}", "", choices=("[name=mode][value=off]", _AT)),
    "accounts": Form("accounts"),
    "accounts/new": Form("accounts/new"),
    "accounts/edit": Form("accounts/edit?account={account}"),
    "tokens/new": Form("tokens/new"),
    "test": Form("test?account={account}"),
    "list/recommendation": Form("list/recommendation?account={account}"),
    "sign-in": Form("sign-in"),
}
"""By the path to which the form is sent, with what opens it if there is another way."""


def test_every_form_in_which_people_type_is_in_the_table() -> None:
    pages = [one.read_text() for one in _TEMPLATES.iterdir()]
    asking = {
        path for text in pages for path in re.findall(r"""<form[^>]* method="get" action="{{ link\('(.+?)'""", text)
    }
    assert TYPED.keys() | asking | {"sign-in"} == {name.partition(" ")[0] for name in FORMS}


def the_form(console: Console, page: Page, name: str) -> Locator:
    """The form, with every field shown, and with corrections if it offers some."""
    account = console.account("9.9.9.0/24", "8.8.8.0/24", "8.8.9.9/32")
    form, entry = FORMS[name], console.manager.entries(account)[0].id
    page.goto(form.page.format(account=account, entry=entry))
    if form.opens:
        page.locator(form.opens.format(entry=entry)).click()
    found = page.locator(f"form[action$='/console/{name.partition(' ')[0]}']")
    for choice in form.choices:
        if choice == _AT:
            found.locator(f"select:has({choice})").select_option("at")
            found.locator("[name=ends_at]").fill("2199-01-31T18:00")
        else:
            found.locator(choice).check()
    field, text = form.typed
    if field:
        found.locator(field).fill(text)
        expect(found.locator(".ways button").first).to_be_visible()
    return found


@pytest.mark.parametrize("name", FORMS)
def test_enter_presses_the_button_of_the_form(console: Console, visitors: Visitors, name: str) -> None:
    page = visitors.person(console)
    form = the_form(console, page, name)
    own = "button[type=submit]:not([name]):not([aria-hidden])"
    expect(form.locator(own)).to_have_count(1)
    fields = form.locator(_ONE_LINE)
    assert fields.count()
    page.evaluate(
        """() => document.addEventListener("click", (event) => {
            window.pressed = event.target.closest("button").textContent;
            event.preventDefault();
            event.stopImmediatePropagation();
        }, true)"""
    )
    for field in fields.all():
        page.evaluate("window.pressed = null")
        field.press("Enter")
        assert page.evaluate("window.pressed") == form.locator(own).text_content(), field.get_attribute("name")


@pytest.mark.parametrize("scripts", [True, False])
def test_enter_chooses_no_correction(console: Console, visitors: Visitors, scripts: bool) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/25", "8.8.8.128/26")
    page = visitors.person(console, scripts=scripts)
    page.goto(f"list/add?account={account}&cidrs=8.8.8.0/24,10.0.0.0/8")
    for label in ("Office", "Office Berlin"):
        page.get_by_label("Label").fill(label)
        page.get_by_label("Label").press("Enter")
        expect(page.get_by_label("Label")).to_have_value(label)
        expect(page.locator(".problems-title")).to_be_focused()
        assert re.split(r"\s*[,\n]\s*", page.get_by_label("Networks").input_value()) == ["8.8.8.0/24", "10.0.0.0/8"]
    page.goto(f"list/edit?account={account}&entry={console.manager.entries(account)[0].id}")
    for _ in range(2):
        page.get_by_label("CIDR").fill("10.1.0.0/16")
        page.get_by_label("CIDR").press("Enter")
        expect(page.locator(".problems-title")).to_be_focused()
        expect(page.get_by_label("CIDR")).to_have_value("10.1.0.0/16")
    assert console.cidrs(account) == ["8.8.8.0/25", "8.8.8.128/26", "9.9.9.0/24"]


def test_the_button_that_enter_presses_is_for_nobody_else(console: Console, visitors: Visitors) -> None:
    """A person who tabs through the form, or hears it, meets one button to send it."""
    page = visitors.person(console)
    form = the_form(console, page, "list/edit")
    expect(form.get_by_role("button", name="Save")).to_have_count(1)
    form.get_by_label("CIDR").focus()
    page.keyboard.press("Shift+Tab")
    expect(form.locator("[aria-hidden]:focus")).to_have_count(0)
