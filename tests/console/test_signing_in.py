"""Signing in by token and by link, what is remembered of it, and signing out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from cidrgate.service import Settings
from cidrgate.service.auth.values import Scope
from tests.console.a_console import Console, Visitors, a_console

if TYPE_CHECKING:
    from playwright.sync_api import Page


def paste(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_a_token_signs_in_and_leads_to_the_page_that_was_asked_for(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.0/24")
    page = visitors.stranger(console)
    page.goto(f"list?account={account}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    paste(page, f"  {console.token('admin')} ")
    expect(page.get_by_role("heading", name=account)).to_be_visible()
    [cookie] = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert console.credentials.session(cookie["value"]) is None
    page.goto("accounts")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_wrong_token_is_refused(console: Console, visitors: Visitors) -> None:
    page = visitors.stranger(console)
    page.goto("sign-in")
    paste(page, "cidrgate_1_wrong")
    expect(page.get_by_role("alert")).to_contain_text("unknown, revoked or expired")
    assert page.context.cookies() == []


def test_a_token_for_measurements_opens_nothing(console: Console, visitors: Visitors) -> None:
    page = visitors.stranger(console)
    page.goto("sign-in")
    paste(page, console.token("metrics"))
    expect(page.get_by_role("alert")).to_contain_text("can only read metrics")


def test_a_link_signs_in_once(console: Console, visitors: Visitors) -> None:
    secret = console.credentials.create_link("ops", [Scope("admin")], lifetime=timedelta(hours=1))
    page = visitors.stranger(console)
    page.goto(f"link/{secret}")
    page.reload()  # to look at it does not use it up
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Accounts", exact=True)).to_be_visible()
    other = visitors.stranger(console)
    other.goto(f"link/{secret}")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("alert")).to_contain_text("already used")


def test_nobody_is_sent_to_another_site(console: Console, visitors: Visitors) -> None:
    page = visitors.stranger(console)
    for then in ("https://evil.example/", "//evil.example/", "/console//evil.example", "/console/\\evil.example"):
        page.goto("sign-in")
        page.locator("[name=then]").evaluate("(field, value) => { field.value = value; }", then)
        paste(page, console.token("admin"))
        expect(page.get_by_role("heading", name="Accounts", exact=True)).to_be_visible()
        assert page.url == f"{console.url}/accounts"
        page.context.clear_cookies()


def test_somebody_who_guesses_has_to_wait(visitors: Visitors) -> None:
    with a_console("memory://", Settings(login_failures=2)) as console:
        page = visitors.stranger(console)
        for _ in range(2):
            page.goto("sign-in")
            paste(page, "guess")
            expect(page.get_by_role("alert")).to_be_visible()
        paste(page, "guess")
        expect(page.get_by_role("heading", name="Too many attempts")).to_be_visible()
        # Whoever knows a token is not kept out by those who guess from the same address.
        page.goto("sign-in")
        paste(page, console.token("admin"))
        expect(page.get_by_role("heading", name="Accounts", exact=True)).to_be_visible()
        other = visitors.stranger(console, address="8.8.4.4")
        other.goto("sign-in")
        paste(other, console.token("admin"))
        expect(other.get_by_role("heading", name="Accounts", exact=True)).to_be_visible()
