"""Picking and creating accounts, subaccounts, the test of an address, tokens, and what people may not see."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from cidrgate import Gate
from tests.console.a_console import ADDRESS, Console, Visitors, a_console

if TYPE_CHECKING:
    from pathlib import Path


def test_one_account_among_many_is_found(visitors: Visitors) -> None:
    with a_console("memory://") as console:
        console.manager.import_accounts({f"customer-{number:04}": [] for number in range(120)})
        page = visitors.person(console)
        page.goto("accounts")
        expect(page.get_by_role("row")).to_have_count(51)
        page.get_by_role("link", name="Next page").click()
        expect(page.get_by_role("link", name="customer-0050")).to_be_visible()
        page.get_by_role("link", name="Next page").click()
        expect(page.get_by_role("row")).to_have_count(21)
        page.get_by_role("link", name="First page").click()
        page.get_by_label("Find an account").press_sequentially("MER-011")
        expect(page.get_by_role("row")).to_have_count(11)
        page.get_by_label("Find an account").fill("100%")
        expect(page.get_by_role("heading", name="No account's name contains “100%”")).to_be_visible()
        page.get_by_label("Find an account").fill("0042")
        page.get_by_label("Find an account").press("Enter")
        page.wait_for_url("**/accounts?q=0042")
        page.get_by_role("link", name="customer-0042").click()
        expect(page.get_by_role("heading", name="customer-0042")).to_be_visible()


def test_a_list_says_which_entries_are_in_use_where_that_is_known(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.0/24", f"{ADDRESS}/32")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    expect(page.get_by_role("columnheader", name="Expires")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Last matched")).to_have_count(0)
    assert Gate(console.manager, unlisted="allow", note_matches=True).allows(account, "8.8.8.8", [])
    console.manager.store_matches()
    page.reload()
    expect(page.get_by_role("columnheader", name="Last matched")).to_be_visible()
    used, unused = (page.get_by_role("row").filter(has_text=cidr) for cidr in ("8.8.8.0/24", f"{ADDRESS}/32"))
    expect(used).to_contain_text("just now")
    expect(unused).to_contain_text("not seen")
    used.get_by_role("link", name="Edit").click()
    page.get_by_role("button", name="Cancel").or_(page.get_by_role("link", name="Cancel")).click()
    expect(used.get_by_role("cell")).to_have_count(page.get_by_role("columnheader").count() - 1)  # a header


def test_an_empty_service_says_what_to_do(visitors: Visitors) -> None:
    with a_console("memory://") as console:
        page = visitors.person(console)
        page.goto("")
        expect(page.get_by_role("heading", name="No accounts yet")).to_be_visible()
        page.get_by_role("link", name="+ Create account").last.click()
        page.get_by_label("Name", exact=True).fill("Müller & Söhne / 1")
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_role("heading", name="Müller & Söhne / 1")).to_be_visible()
        expect(page.get_by_role("heading", name="The list is empty")).to_be_visible()


@pytest.mark.parametrize("name", ["..", "a/b?c=d&e#f", "%2e%2e", "<script>alert(1)</script>"])
def test_any_name_has_a_page(console: Console, visitors: Visitors, name: str) -> None:
    console.manager.create_account(name)
    console.manager.add(name, "9.9.9.0/24")
    page = visitors.person(console)
    page.goto("accounts")
    page.get_by_label("Find an account").fill(name)
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_a_name_that_is_taken_is_refused_beside_what_was_typed(console: Console, visitors: Visitors) -> None:
    account = console.account()
    page = visitors.person(console)
    page.goto("accounts/new")
    page.get_by_label("Name", exact=True).fill(account)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text(f"There is already an account “{account}”.")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_have_value(account)
    page.get_by_label("Name", exact=True).fill(f"{account}-sub")
    page.get_by_label("Parent").fill("nobody")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no account “nobody” that could be the parent.")


def test_a_subaccount_shows_what_it_inherits(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", label="office")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.get_by_role("link", name="Subaccounts").click()
    expect(page.get_by_role("heading", name="No subaccounts")).to_be_visible()
    page.get_by_role("link", name="+ Create subaccount").click()
    page.get_by_label("Name", exact=True).fill(f"{account}-sub")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("This is a subaccount: it inherits the list of")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="9.9.9.0/24")).to_contain_text("office")
    for control in ("+ Add", "Edit", "Add my address"):
        expect(
            page.locator("main").get_by_role("link", name=re.compile(rf"^{re.escape(control)}(?! account)"))
        ).to_have_count(0)
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("Added 9.9.9.0/24")).to_be_visible()
    for way in ("Undo this change", "Go back to this list"):
        expect(page.get_by_role("link", name=way)).to_have_count(0)
    page.get_by_role("main").get_by_role("link", name=account, exact=True).first.click()
    expect(page.get_by_role("link", name="+ Add CIDR address")).to_be_visible()
    refused = page.request.get(f"list/add?account={account}-sub")
    assert refused.ok  # the form says nothing yet: a change would be refused
    page.get_by_role("link", name="Subaccounts").click()
    expect(page.get_by_role("link", name=f"{account}-sub")).to_be_visible()


def test_an_address_is_tested(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.0/24", label="office")
    page = visitors.person(console)
    page.goto(f"test?account={account}")
    answers = [
        ("8.8.8.8", "8.8.8.8 is allowed", "It is covered by 8.8.8.0/24, “office”"),
        ("8.8.9.1", "8.8.9.1 is denied", "The closest is 8.8.8.0/24"),
        ("8.8.8", "8.8.8 is neither an IP address nor a network", "Write a network as address/length"),
        ("8.8.8.0/25", "Every address of 8.8.8.0/25 is allowed", "It is covered by 8.8.8.0/24, “office”"),
        ("8.8.8.0/23", "A part of 8.8.8.0/23 is allowed", "No entry of"),
        ("8.8.8.0/23", "8.8.9.0/24", "Covered are the addresses in 8.8.8.0/24"),
        ("9.9.9.0/24", "No address of 9.9.9.0/24 is allowed", "the API answers 403 Forbidden there"),
        ("2606:4700::/32", "No address of 2606:4700::/32 is allowed", "No entry of"),
    ]
    for address, answer, why in answers:
        page.get_by_label("Address").fill(address)
        page.get_by_role("button", name="Test").click()
        expect(page.locator("#answer")).to_contain_text(answer)
        expect(page.locator("#answer")).to_contain_text(why)
    page.get_by_label("Address").fill("8.8.8.7/24")
    page.get_by_role("button", name="Test").click()
    page.get_by_role("link", name="Test 8.8.8.0/24").click()
    expect(page.locator("#answer")).to_contain_text("Every address of 8.8.8.0/24 is allowed")
    page.get_by_role("link", name=ADDRESS).click()
    expect(page.locator("#answer")).to_contain_text(f"{ADDRESS} is denied")
    page.get_by_role("link", name="Add it to the list").click()
    expect(page.get_by_label("Networks")).to_have_value(f"{ADDRESS}/32")
    page.goto(f"test?account={console.account()}&address=1.1.1.1")
    expect(page.locator("#answer")).to_contain_text("every address is allowed")
    page.goto(f"test?account={console.account()}&address=1.1.1.0/24")
    expect(page.locator("#answer")).to_contain_text("Every address of 1.1.1.0/24 is allowed")


def test_a_token_is_made_used_and_revoked(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto("tokens")
    page.get_by_role("link", name="+ Create token").click()
    page.get_by_label("Name", exact=True).fill(f"ci of {account}")
    page.get_by_label("May").select_option("Read the list of one account")
    page.get_by_label("Account").fill("nobody")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no account “nobody”")
    page.get_by_label("Account").fill(account)
    page.get_by_role("button", name="Create").click()
    secret = page.get_by_label("Token of").input_value()
    face = page.get_by_label("Token of").evaluate("(field) => getComputedStyle(field).fontFamily")
    assert "monospace" in face
    page.get_by_role("link", name="Done").click()
    row = page.get_by_role("row").filter(has_text=f"ci of {account}")
    expect(row).to_contain_text(f"account:{account}:read")
    assert secret not in page.content()
    reader = visitors.stranger(console)
    reader.goto("sign-in")
    reader.get_by_label("Token").fill(secret)
    reader.get_by_role("button", name="Sign in").click()
    expect(reader.get_by_role("heading", name=account)).to_be_visible()  # there is nothing to pick
    expect(reader.get_by_text("You may look at this list, but not change it.")).to_be_visible()
    row.get_by_role("link", name="Revoke").click()
    dialog = page.get_by_role("dialog", name=f"Revoke the token ci of {account}?")
    dialog.get_by_role("link", name="Keep it").click()
    expect(row.get_by_role("link", name="Revoke")).to_be_focused()
    row.get_by_role("link", name="Revoke").click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("Revoked")
    reader.reload()
    expect(reader.get_by_role("heading", name="Sign in")).to_be_visible()


def test_people_see_what_is_theirs(console: Console, visitors: Visitors) -> None:
    mine, shared, other = console.account("9.9.9.0/24"), console.account("9.9.9.0/24"), console.account("1.1.1.1/32")
    page = visitors.person(console, f"account:{mine}:write", f"account:{shared}:read")
    page.goto("accounts")
    expect(page.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("link", name="Tokens")).to_have_count(0)
    expect(page.get_by_role("link", name="+ Create account")).to_have_count(0)
    for path in (f"list?account={other}", "list?account=nobody", f"history?account={other}", f"test?account={other}"):
        response = page.goto(path)
        assert response is not None
        assert response.status == 404
        expect(page.get_by_role("heading", name="There is no such account")).to_be_visible()
        expect(page.get_by_role("navigation", name="Console")).to_be_visible()
    for path in ("tokens", "accounts/new", f"list/add?account={shared}"):
        response = page.goto(path)
        assert response is not None
        assert response.status == 403
        expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
        expect(page.get_by_text("Your token does not allow this.")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.get_by_role("link", name=f"Go to {shared}").click()
    expect(page.get_by_role("heading", name=shared)).to_be_visible()
    page.goto("nowhere")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    page.get_by_role("link", name="Sessions").click()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()


def test_a_session_that_ends_loses_nothing_that_was_typed(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.locator("#add").click()
    dialog = page.get_by_role("dialog")
    page.context.clear_cookies()
    dialog.get_by_label("Networks").fill("8.8.8.0/24")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(dialog.get_by_role("alert").first).to_contain_text("your session has ended")
    expect(dialog.get_by_label("Networks")).to_have_value("8.8.8.0/24")


def test_forms_of_others_change_nothing(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    for proof in ("", "0" * 64):
        form: dict[str, str | float | bool] = {"csrf": proof, "account": account, "cidrs": "8.8.8.0/24"}
        answer = page.request.post("list/add", form=form)
        assert answer.status == 403
        assert "8.8.8.0/24" in answer.text()  # to be copied
    stranger = visitors.stranger(console)
    form = {"token": console.token("admin")}
    foreign: list[dict[str, str]] = [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
    for headers in foreign:
        assert stranger.request.post("sign-in", form=form, headers=headers).status == 403
    assert console.cidrs(account) == ["9.9.9.0/24"]


def test_over_tls_the_cookie_stays_on_it(console: Console, visitors: Visitors) -> None:
    stranger = visitors.stranger(console)
    host = console.url.split("/")[2]
    headers = {"Origin": f"https://{host}"}  # the proxy ends TLS
    answer = stranger.request.post("sign-in", form={"token": console.token("admin")}, headers=headers, max_redirects=0)
    assert answer.status == 303
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-cidrgate_session=")
    assert "; Secure" in cookie


def test_the_policy_allows_nothing_inline(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console)
    response = page.goto(f"list?account={console.account('9.9.9.0/24')}")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin"


def test_what_a_proxy_says_takes_the_place_of_nothing(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console)
    page.goto(f"list?account={console.account('9.9.9.0/24')}")
    page.locator("#add").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Networks").fill("8.8.8.0/24")
    expect(dialog.locator("#verdict")).to_contain_text("1 network can be added")
    page.route("**/list/add", lambda route: route.fulfill(status=400, body="<h1>proxy</h1>", content_type="text/html"))
    dialog.get_by_role("button", name="Add to the list").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The service did not answer as expected (400)")
    expect(dialog.get_by_label("Networks")).to_have_value("8.8.8.0/24")


def test_a_store_that_fails_is_told(visitors: Visitors, tmp_path: Path) -> None:
    with a_console(f"sqlite:///{tmp_path}/lists.db") as console:
        account = console.account("9.9.9.0/24")
        page = visitors.person(console)
        page.goto(f"list?account={account}")
        with sqlite3.connect(tmp_path / "lists.db") as connection:
            connection.execute("ALTER TABLE changes RENAME TO gone")
        page.goto(f"history?account={account}")
        expect(page.get_by_role("heading", name="The lists are unavailable")).to_be_visible()
        expect(page.get_by_text("Nothing was changed")).to_be_visible()
        expect(page.get_by_role("navigation", name="Console")).to_be_visible()
        with sqlite3.connect(tmp_path / "lists.db") as connection:
            connection.execute("ALTER TABLE sessions RENAME TO gone_too")
        page.reload()  # who it is cannot be known now
        expect(page.get_by_role("navigation", name="Console")).to_be_visible()
        visitors.complaints.clear()  # the browser notes the status 503
