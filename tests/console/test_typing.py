"""Nothing that a person typed is lost: by leaving the page, by an answer that is slow, or by one that does not come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.console.test_adding import open_dialog
from tests.console.test_changing import edit

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Dialog, Locator, Page, Route

    from tests.console.a_console import Console, Visitors


def questions(page: Page) -> list[str]:
    """The questions of the browser, each of which is answered with staying."""
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    return asked


def slowly(route: Route) -> None:
    """Pass a request on after a while."""
    time.sleep(0.7)
    route.continue_()


def _sign_out(page: Page, form: Locator) -> None:
    form.get_by_label("Label").press_sequentially("typed")
    page.get_by_role("button", name="Sign out").click()


def _dialog_between(page: Page, form: Locator) -> None:
    form.get_by_label("Label").press_sequentially("typed")
    form.get_by_label("CIDR").fill("10.1.0.0/16")
    form.get_by_role("button", name="Save").click()
    expect(form.locator(".problems-title")).to_be_focused()
    page.locator("#add").click()
    page.get_by_role("dialog").get_by_role("link", name="Cancel").click()
    page.get_by_role("link", name="History").click()


def _emptied(page: Page, form: Locator) -> None:
    form.get_by_label("Label").press("ControlOrMeta+a")
    form.get_by_label("Label").press("Delete")
    page.get_by_role("link", name="History").click()


def _chosen(page: Page, form: Locator) -> None:
    form.get_by_label("CIDR").press("Tab")
    form.get_by_label("Enabled").select_option("No")
    page.get_by_role("link", name="History").click()


@pytest.mark.parametrize("leave", [_sign_out, _dialog_between, _emptied, _chosen])
def test_leaving_a_form_that_was_changed_is_asked_about(
    console: Console, visitors: Visitors, leave: Callable[[Page, Locator], None]
) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "8.8.8.0/24", label="office")
    page = visitors.person(console)
    form = edit(page, account, "8.8.8.0/24")
    asked = questions(page)
    leave(page, form)
    expect(form).to_be_visible()
    assert asked == ["beforeunload"]
    page.get_by_role("link", name="History").click()  # and again
    assert asked == ["beforeunload"] * 2
    form.get_by_role("link", name="Cancel").click()  # the way to discard it
    expect(form).to_have_count(0)
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("listitem").first).to_be_visible()
    assert asked == ["beforeunload"] * 2


@pytest.mark.parametrize(
    ("path", "field", "refused"),
    [
        ("accounts/new", "Name", "already"),
        ("accounts/edit?account={account}", "Parent", "no account"),
        ("tokens/new", "Name", "Type the account"),
        ("list/add?account={account}", "Networks", "1 problem"),
        ("list/mode?account={account}", "Reason", "in the past"),
    ],
)
def test_leaving_a_form_that_was_refused_is_asked_about(
    console: Console, visitors: Visitors, path: str, field: str, refused: str
) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto(path.format(account=account))
    asked = questions(page)
    if "mode" in path:
        page.get_by_role("radio", name="Pause").check()
        page.get_by_label("Enforce it again").select_option("At a time …")
        page.get_by_label("At UTC").fill("2020-01-31T18:00")
    page.get_by_label(field, exact=field == "Name").press_sequentially(account if "already" in refused else "nobody")
    page.locator("form.stack .actions button").click()
    expect(page.locator("form.stack, #refused, [role=alert]").filter(has_text=refused).first).to_be_visible()
    page.get_by_role("link", name="Sessions").click()
    expect(page.get_by_role("link", name="Sessions")).to_be_visible()
    assert asked == ["beforeunload"]


def test_a_form_that_was_not_changed_is_left_without_a_question(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    asked = questions(page)
    for path in ("accounts/edit", "list/mode", "list/add", "tokens/new", "accounts/new"):
        page.goto(f"{path}{'' if 'new' in path else f'?account={account}'}")
        page.locator("form.stack input:not([type=hidden], [type=radio])").first.press("Shift")
        page.get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    assert asked == []


def test_what_is_typed_while_a_correction_is_under_way_stays(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console)
    dialog = open_dialog(page, console.account("9.9.9.0/24"))
    networks, label = dialog.get_by_label("Networks"), dialog.get_by_label("Label")
    networks.fill("8.8.8.8")
    correction = dialog.get_by_role("button", name="Use 8.8.8.8/32")
    expect(correction).to_be_visible()
    page.route("**/rewrite", slowly)
    correction.click(no_wait_after=True)
    label.press_sequentially("Office")
    expect(networks).to_have_value("8.8.8.8/32")
    expect(label).to_have_value("Office")
    expect(label).to_be_focused()
    page.keyboard.type(" Berlin")
    expect(label).to_have_value("Office Berlin")


def test_a_form_is_sent_once(console: Console, visitors: Visitors) -> None:
    name = f"{console.account()}-new"
    page = visitors.person(console)
    page.goto("accounts/new")
    page.get_by_label("Name", exact=True).fill(name)
    sent = page.get_by_role("button", name="Create").evaluate(
        """(button) => {
            let sent = 0;
            window.addEventListener("submit", (event) => { sent += event.defaultPrevented ? 0 : 1; });
            button.click();
            button.click();
            return sent;
        }"""
    )
    assert sent == 1
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def _search(page: Page) -> None:
    page.get_by_label("Find an account").press_sequentially("acct-1")


def _revoke(page: Page) -> None:
    page.get_by_role("link", name="Revoke").first.click()


def _save(page: Page) -> None:
    page.get_by_role("link", name="Edit 8.8.40.0/25").click()
    page.get_by_label("Label").fill("x")
    page.get_by_role("button", name="Save").click()


def _delete(page: Page) -> None:
    page.get_by_role("button", name="Delete 8.8.40.0/25").click()


def _check(page: Page) -> None:
    page.locator("#add").click()
    page.get_by_label("Networks").press_sequentially("8")


BROKEN: dict[str, tuple[str, Callable[[Page], None], str]] = {
    "search": ("accounts", _search, "**/accounts?q=*"),
    "revoke": ("tokens", _revoke, "**/tokens/revoke*"),
    "save": ("list?account={account}", _save, "**/list/edit"),
    "delete": ("list?account={account}", _delete, "**/list/remove"),
    "check": ("list?account={account}", _check, "**/list/add/check"),
}
"""A page, what a person does there, and the request that fails."""


@pytest.mark.parametrize("how", ["signed out", "offline", "a proxy"])
@pytest.mark.parametrize("what", BROKEN)
def test_a_request_that_fails_is_told_where_the_person_is(
    console: Console, visitors: Visitors, what: str, how: str
) -> None:
    path, act, pattern = BROKEN[what]
    account = console.account(*(f"8.8.{number}.0/25" for number in range(45)))
    page = visitors.person(console)
    page.goto(path.format(account=account))

    def fail(route: Route) -> None:
        if how == "offline":
            route.abort()
        elif how == "a proxy":
            route.fulfill(status=502, body="<h1>Bad gateway</h1>")
        else:
            page.context.clear_cookies()
            route.continue_(headers={**route.request.headers, "cookie": ""})

    page.route(pattern, fail)
    act(page)
    alert = page.locator(".trouble [role=alert]")
    expect(alert).to_contain_text({"signed out": "Sign in", "offline": "reached", "a proxy": "502"}[how])
    expect(alert).to_be_in_viewport()
    if what in ("search", "check"):
        expect(page.get_by_role("searchbox") if what == "search" else page.get_by_label("Networks")).to_be_focused()
    else:
        expect(alert).to_be_focused()
    visitors.complaints.clear()  # a request that fails is one of them
