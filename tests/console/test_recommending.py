"""The recommended list, from which people take entries into the form, and what they are told without traffic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from sqlalchemy import update

from cidrgate.stores.schema import entries
from tests.observed import store_observed

if TYPE_CHECKING:
    from tests.console.a_console import Console, Visitors


def with_traffic(console: Console) -> str:
    """An account whose list only reports, with an entry that nobody used, one that is too wide, and who called."""
    account = console.account("9.9.9.0/24", "1.1.1.1/32")
    with console.manager._store.write() as transaction:
        transaction.connection.execute(update(entries).values(created_at=datetime.now(UTC) - timedelta(days=400)))
    seen = [("8.8.8.8/32", 7), ("8.8.8.9/32", 1), ("9.9.9.9/32", 300), ("4.4.4.4/32", 2), ("10.0.0.7/32", 3)]
    store_observed(console.manager, *((account, network, requests) for network, requests in seen))
    console.manager.set_mode(account, "report_only", confirmed=["disable_enforcement"])
    return account


def test_entries_are_taken_into_the_form(console: Console, visitors: Visitors) -> None:
    account = with_traffic(console)
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list?account={account}")
    page.get_by_role("navigation", name="Account").get_by_role("link", name="Recommendation").click()
    expect(page.get_by_text("3 entries cover 4 addresses with 310 requests")).to_be_visible()
    expect(page.get_by_text("10.0.0.7 with 3 requests: 10.0.0.0/8 is Private-Use")).to_be_visible()
    expect(page.get_by_role("img", name="Extra addresses of the best list")).to_be_visible()
    page.get_by_role("checkbox", name="Take 4.4.4.4/32").uncheck()
    page.get_by_role("checkbox", name="Take 9.9.9.9/32").uncheck()
    page.get_by_role("button", name="Take the chosen entries").click()
    expect(page.get_by_label("Networks")).to_have_value("8.8.8.8/31")
    expect(page.locator("#verdict")).to_contain_text("1 network can be added")
    page.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Added 8.8.8.8/31")
    assert console.cidrs(account) == ["1.1.1.1/32", "8.8.8.8/31", "9.9.9.0/24"]
    page.get_by_role("link", name="Recommendation").click()
    expect(page.get_by_role("row").filter(has_text="8.8.8.8/31")).to_contain_text("Listed")


def test_a_whole_list_of_long_networks_is_taken(console: Console, visitors: Visitors) -> None:
    account = console.account()
    console.manager.set_policy(account, max_entries=400)
    addresses = [f"2606:4700:{number:x}:aaaa:bbbb:cccc:dddd:eeee/128" for number in range(1, 401)]
    store_observed(console.manager, *((account, address, 1) for address in addresses))
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list/recommendation?account={account}")
    page.get_by_role("button", name="Take the chosen entries").click()
    typed = page.get_by_label("Networks").input_value()
    assert set(typed.split(", ")) == set(addresses)
    expect(page.locator("#verdict")).to_contain_text("400 networks can be added")
    assert console.cidrs(account) == []


def test_networks_are_taken_only_by_a_form_of_the_session(console: Console, visitors: Visitors) -> None:
    account = with_traffic(console)
    page = visitors.person(console)
    page.goto(f"list/recommendation?account={account}")
    csrf = page.locator("input[name=csrf]").first.input_value()
    path = "list/recommendation/take"
    most = "&".join(["cidr=8.8.8.8/31", *(f"cidr=9.9.{number // 250}.{number % 250}/32" for number in range(999))])
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    taken = page.request.post(path, data=f"csrf={csrf}&account={account}&{most}", headers=form)
    assert (taken.status, "9.9.3.248/32" in taken.text()) == (200, True)
    refused = page.request.post(path, data=f"csrf={csrf}&account={account}&{most}&cidr=1.1.1.0/24", headers=form)
    assert refused.status == 422
    assert page.request.post(path, form={"account": account, "cidr": "8.8.8.8/31"}).status == 403
    assert page.request.get(path, params={"account": account, "cidr": "8.8.8.8/31"}).status == 405


def test_an_entry_is_made_narrower_and_an_unused_one_is_named(console: Console, visitors: Visitors) -> None:
    account = with_traffic(console)
    page = visitors.person(console)
    page.goto(f"list/recommendation?account={account}")
    expect(page.get_by_text("1.1.1.1/32: nobody used it since")).to_be_visible()
    page.get_by_role("link", name="Make it narrower 9.9.9.0/24").click()
    expect(page.get_by_label("CIDR", exact=True)).to_have_value("9.9.9.9/32")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 9.9.9.0/24 to 9.9.9.9/32")
    assert console.cidrs(account) == ["1.1.1.1/32", "9.9.9.9/32"]


def test_networks_are_not_called_addresses(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.8/32")
    store_observed(console.manager, (account, "8.8.8.0/24", 3))
    page = visitors.person(console)
    page.goto(f"list/recommendation?account={account}")
    expect(page.get_by_text("1 entry covers 1 network with 3 requests")).to_contain_text("no address outside of them")
    expect(page.get_by_text("Not known: of 1 network, the single addresses were not kept")).to_be_visible()


def test_options_change_the_list(console: Console, visitors: Visitors) -> None:
    account = with_traffic(console)
    page = visitors.person(console, f"account:{account}:read")
    page.goto(f"list/recommendation?account={account}")
    page.get_by_label("Leave out").fill("9.9.9.9, 4.4.4.0/24")
    page.get_by_label("Most entries").fill("2")
    page.get_by_role("button", name="Recommend").click()
    expect(page.get_by_text("1 entry covers 2 addresses with 8 requests")).to_be_visible()
    expect(page.get_by_text("9.9.9.9 with 300 requests: 9.9.9.9/32 is excluded")).to_be_visible()
    # Who may only read takes nothing.
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("button", name="Take the chosen entries")).to_have_count(0)


def test_what_cannot_be_recommended_is_said(console: Console, visitors: Visitors) -> None:
    account = with_traffic(console)
    page = visitors.person(console)
    page.goto(f"list/recommendation?account={account}&most=1")
    expect(page.get_by_role("alert")).to_contain_text("At least 3 entries are needed for everybody who called")
    page.goto(f"list/recommendation?account={account}&exclude=everybody")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("Leave out")).to_have_value("everybody")
    silent = console.account("9.9.9.0/24")
    page.goto(f"list/recommendation?account={silent}")
    expect(page.get_by_text("no request of this account was recorded in these days")).to_be_visible()


def test_a_subaccount_has_no_recommendation(console: Console, visitors: Visitors) -> None:
    account = with_traffic(console)
    console.manager.create_account(f"{account}-sub", parent=account)
    page = visitors.person(console, f"account:{account}-sub:read")
    page.goto(f"list?account={account}-sub")
    expect(page.get_by_role("link", name="Recommendation")).to_have_count(0)
    page.goto(f"list/recommendation?account={account}-sub")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text("8.8.8.8")


def test_what_the_list_denies_is_left_out_and_a_disabled_entry_is_called_so(
    console: Console, visitors: Visitors
) -> None:
    account = with_traffic(console)
    console.manager.add(account, "4.4.4.4/32", enabled=False)
    page = visitors.person(console)
    page.goto(f"list/recommendation?account={account}")
    row = page.get_by_role("row").filter(has_text="4.4.4.4/32")
    expect(row).to_contain_text("disabled")
    expect(row).not_to_contain_text("Listed")
    row.get_by_role("link", name="Edit 4.4.4.4/32").click()
    expect(page.get_by_label("CIDR", exact=True)).to_have_value("4.4.4.4/32")
    console.manager.resume(account)
    page.goto(f"list/recommendation?account={account}")
    expect(page.get_by_text("1 entry covers 1 address with 300 requests")).to_be_visible()
    expect(page.get_by_text("4.4.4.4 with 2 requests: requests from it are denied")).to_be_visible()
