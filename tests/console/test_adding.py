"""The dialog for new entries: what it says while somebody types, hints to click on, and what it stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.console.a_console import ADDRESS, Console, Visitors

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def open_dialog(page: Page, account: str) -> Locator:
    page.goto(f"list?account={account}")
    page.locator("#add").click()
    dialog = page.get_by_role("dialog", name="Add CIDR address")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Networks")).to_be_focused()
    return dialog


def test_several_entries_with_a_label_and_an_end(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console, name="ada")
    dialog = open_dialog(page, account)
    dialog.get_by_label("Networks").fill("8.8.8.0/24, 1.1.1.1/32\n2606:4700:0::/32")
    expect(dialog.locator("#verdict")).to_contain_text("3 networks can be added")
    expect(dialog.locator("#verdict")).to_contain_text("255.255.255.0, 256 addresses")
    dialog.get_by_label("Label").fill("Office <b>Berlin</b>")
    dialog.get_by_label("Expires", exact=True).select_option("In 7 days")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Added 8.8.8.0/24, 1.1.1.1/32 and 2606:4700::/32")
    expect(page.get_by_role("status")).to_be_focused()
    row = page.get_by_role("row").filter(has_text="8.8.8.0/24")
    for text in ("/24", "255.255.255.0", "256 addresses", "Office <b>Berlin</b>", "by ada", "just now", "in 7 days"):
        expect(row).to_contain_text(text)
    added = [entry for entry in console.manager.entries(account) if entry.cidr == "1.1.1.1/32"]
    assert [(entry.label, entry.created_by) for entry in added] == [("Office <b>Berlin</b>", "ada")]
    assert added[0].expires_at is not None
    assert timedelta(days=6, hours=23) < added[0].expires_at - datetime.now(UTC) <= timedelta(days=7)


@pytest.mark.parametrize(
    ("typed", "title", "hint"),
    [
        ("8.8.4.4", "Not a network yet", "Add the length: 8.8.4.4/32"),
        ("8.8.8.0/24", "Already listed", "8.8.8.0/24 is already listed."),
        ("8.8.8.8/32", "Already covered", "8.8.8.0/24 already covers these addresses"),
        ("8.8.0.0/16", "Covers listed entries", "It covers 8.8.8.0/24, which is listed."),
        ("10.0.0.0/8", "Not publicly reachable", "10.0.0.0/8 is Private-Use (RFC 1918)"),
    ],
)
def test_each_rule_is_told_while_somebody_types(
    console: Console, visitors: Visitors, typed: str, title: str, hint: str
) -> None:
    account = console.account("8.8.8.0/24")
    dialog = open_dialog(visitors.person(console), account)
    dialog.get_by_label("Networks").press_sequentially(typed)
    problem = dialog.locator(".problems li")
    expect(problem).to_contain_text(title)
    expect(problem).to_contain_text(hint, ignore_case=True)
    expect(dialog.get_by_label("Networks")).to_be_focused()
    assert console.cidrs(account) == ["8.8.8.0/24"]


def test_the_limit_is_told(console: Console, visitors: Visitors) -> None:
    account = console.account(*(f"8.8.{third}.0/24" for third in range(0, 98, 2)))
    dialog = open_dialog(visitors.person(console), account)
    dialog.get_by_label("Networks").fill("1.1.1.1/32, 9.9.9.9/32")
    expect(dialog.locator(".problems")).to_contain_text("The list is full")
    expect(dialog.locator(".problems")).to_contain_text("The account has 49 of at most 50 entries")


def test_every_problem_can_be_solved_with_a_click(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24", "8.8.9.0/24")
    page = visitors.person(console)
    dialog = open_dialog(page, account)
    networks = dialog.get_by_label("Networks")
    networks.fill("5.5.5.7/24, 1.1.1.1, 8.8.0.0/16, 9.9.9.9/32")
    expect(dialog.locator(".problems li")).to_have_count(4)
    dialog.get_by_label("Label").fill("kept while hints are accepted")
    expect(dialog.get_by_role("button", name="Fix 2 of 4")).to_be_visible()
    first = dialog.locator(".problems li").first
    expect(first.get_by_role("button", name="Use 5.5.5.7/32")).to_be_visible()
    first.get_by_role("button", name="Leave it out").click()
    expect(networks).to_have_value("1.1.1.1\n8.8.0.0/16\n9.9.9.9/32")
    dialog.get_by_role("button", name="Use 1.1.1.1/32").click()
    expect(networks).to_have_value("1.1.1.1/32\n8.8.0.0/16\n9.9.9.9/32")
    dialog.locator("li", has_text="9.9.9.9/32").get_by_role("button", name="Leave it out").click()
    expect(networks).to_have_value("1.1.1.1/32\n8.8.0.0/16")
    dialog.get_by_role("button", name="Put it in their place").click()
    expect(dialog.locator(".problems")).to_have_count(0)
    expect(dialog.get_by_role("group", name="Removed in the same step")).to_contain_text("8.8.8.0/24")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Replaced the list")
    assert console.cidrs(account) == ["1.1.1.1/32", "8.8.0.0/16", "9.9.9.0/24"]
    labels = {entry.cidr: entry.label for entry in console.manager.entries(account)}
    assert labels["8.8.0.0/16"] == "kept while hints are accepted"
    assert labels["9.9.9.0/24"] is None


def test_several_networks_that_were_meant_are_taken_together(console: Console, visitors: Visitors) -> None:
    dialog = open_dialog(visitors.person(console), console.account("9.9.9.0/24"))
    dialog.get_by_label("Networks").fill("8.8.8.0-8.8.9.127")
    dialog.get_by_role("button", name="Use 8.8.8.0/24, 8.8.9.0/25").click()
    expect(dialog.locator("#verdict")).to_contain_text("2 networks can be added")


def test_what_is_refused_stays_in_the_form(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    dialog = open_dialog(visitors.person(console), account)
    dialog.get_by_label("Label").fill("office")
    dialog.get_by_label("Networks").fill("8.8.8.8")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(dialog.locator(".problems")).to_contain_text("Not a network yet")
    expect(dialog.locator(".problems-title")).to_be_focused()
    expect(dialog.get_by_label("Networks")).to_have_value("8.8.8.8")
    expect(dialog.get_by_label("Label")).to_have_value("office")
    assert console.cidrs(account) == ["9.9.9.0/24"]


def test_a_time_of_ones_own(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    dialog = open_dialog(page, account)
    dialog.get_by_label("Networks").fill("8.8.8.0/24")
    expect(dialog.get_by_label("Expires at")).to_be_hidden()
    dialog.get_by_label("Expires", exact=True).select_option("At a time …")
    dialog.get_by_label("Expires at").fill("2020-01-31T18:00")
    expect(dialog.locator("#verdict")).to_contain_text("This time is in the past. Choose one in the future.")
    dialog.get_by_label("Expires at").fill("2199-01-31T18:00")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_be_visible()
    ends = {entry.cidr: entry.expires_at for entry in console.manager.entries(account)}
    assert ends["8.8.8.0/24"] == datetime(2199, 1, 31, 18, tzinfo=UTC)


def test_the_first_entry_is_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account()
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list?account={account}")
    expect(page.locator("#own")).to_contain_text(f"Your address is {ADDRESS}: not covered")
    expect(page.locator("#own")).to_contain_text("you would lock yourself out")
    dialog = open_dialog(page, account)
    dialog.get_by_label("Networks").fill("8.8.8.0/24")
    lock_out = dialog.get_by_role("checkbox", name="Lock my own address out")
    begins = dialog.get_by_role("checkbox", name="Start enforcing the list")
    expect(lock_out).to_be_visible()
    begins.check()
    dialog.get_by_label("Networks").fill(f"8.8.8.0/24, {ADDRESS}/32")
    expect(dialog.locator("#verdict")).to_contain_text(f"Your own address {ADDRESS} is covered")
    expect(lock_out).to_have_count(0)
    expect(begins).not_to_be_checked()  # it was shown for other networks
    dialog.get_by_role("button", name="Add to the list").click()  # the browser asks for the box
    assert console.cidrs(account) == []
    begins.check()
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.locator("#own")).to_contain_text(f"Your address is {ADDRESS}: covered by {ADDRESS}/32")
    assert console.cidrs(account) == ["8.8.8.0/24", f"{ADDRESS}/32"]


def test_the_own_address_is_a_click_away(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.0/24")
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list?account={account}")
    expect(page.locator("#own")).to_contain_text("Calls from it are denied; the closest entry is 8.8.8.0/24")
    page.get_by_role("link", name="Add my address").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Networks")).to_have_value(f"{ADDRESS}/32")
    expect(dialog.locator("#verdict")).to_contain_text("1 network can be added")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.locator("#own")).to_contain_text(f"covered by {ADDRESS}/32")


def test_an_address_no_list_can_hold_is_explained(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.0/24")
    page = visitors.person(console, f"account:{account}:write", address="10.1.2.3")
    page.goto(f"list?account={account}")
    expect(page.locator("#own")).to_contain_text("Private-Use")
    expect(page.get_by_role("link", name="Add my address")).to_have_count(0)


def test_closing_the_dialog_gives_the_focus_back(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console)
    dialog = open_dialog(page, console.account("9.9.9.0/24"))
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("link", name="+ Add CIDR address")).to_be_focused()


def test_an_entry_gives_way_only_while_a_typed_network_covers_it(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "50.1.1.1/32")
    page = visitors.person(console)
    dialog = open_dialog(page, account)
    networks = dialog.get_by_label("Networks")
    giving_way = dialog.get_by_role("group", name="Removed in the same step")
    networks.fill("50.1.1.0/24")
    dialog.get_by_role("button", name="Put it in its place").click()
    expect(giving_way).to_contain_text("50.1.1.1/32")
    networks.fill("60.1.1.0/24")
    expect(giving_way).to_have_count(0)
    expect(dialog.locator("#verdict")).to_contain_text("1 network can be added")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Added 60.1.1.0/24")
    assert console.cidrs(account) == ["9.9.9.0/24", "50.1.1.1/32", "60.1.1.0/24"]


def test_a_form_cannot_name_an_entry_that_nothing_covers(console: Console, visitors: Visitors) -> None:
    """Even where the typed network and the entry come in the same request, as without scripts."""
    account = console.account("9.9.9.0/24", "50.1.1.1/32")
    page = visitors.person(console, scripts=False)
    page.goto(f"list/add?account={account}&cidrs=50.1.1.0/24")
    page.get_by_role("button", name="Put it in its place").click()
    page.get_by_label("Networks").fill("60.1.1.0/24")
    page.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Added 60.1.1.0/24")
    assert console.cidrs(account) == ["9.9.9.0/24", "50.1.1.1/32", "60.1.1.0/24"]


def test_people_who_run_the_service_are_asked_about_enforcement_alone(console: Console, visitors: Visitors) -> None:
    account = console.account()
    page = visitors.person(console)
    dialog = open_dialog(page, account)
    expect(page.locator("#own")).to_have_count(0)
    dialog.get_by_label("Networks").fill("8.8.8.0/24")
    begins = dialog.get_by_role("checkbox", name="Start enforcing the list")
    expect(begins).to_be_visible()
    expect(dialog).not_to_contain_text("Lock my own address out")
    expect(dialog).not_to_contain_text(ADDRESS)
    begins.check()
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Added 8.8.8.0/24")


def test_everything_obvious_is_fixed_by_one_click(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24")
    page = visitors.person(console)
    dialog = open_dialog(page, account)
    networks = dialog.get_by_label("Networks")
    networks.fill("1.1.1.1, 9.9.9.9/32, 8.8.8.0/24, 4.4.4.4, 4.4.4.4/32")
    dialog.get_by_role("button", name="Fix all").click()
    expect(networks).to_have_value("1.1.1.1/32\n4.4.4.4/32")
    expect(dialog.locator("#verdict")).to_contain_text("2 networks can be added")
    networks.fill("1.1.1.1, 4.4.4.4, 10.0.0.0/8, 7.7.7.7/24")
    dialog.get_by_role("button", name="Fix 2 of 4").click()
    expect(networks).to_have_value("1.1.1.1/32\n4.4.4.4/32\n10.0.0.0/8\n7.7.7.7/24")
    expect(dialog.locator(".problems li")).to_have_count(2)


@pytest.mark.parametrize(
    ("pasted", "button", "networks"),
    [
        ("8.8.8.0/24 1.1.1.1/32 4.4.4.4", "Use 8.8.8.0/24, 1.1.1.1/32, 4.4.4.4/32", 3),
        ("8.8.8.0/24;1.1.1.1/32; 4.4.4.4", "Use 8.8.8.0/24, 1.1.1.1/32, 4.4.4.4/32", 3),
        ("8.8.8.0/24\t1.1.1.1/32\t4.4.4.4/32", "Use 8.8.8.0/24, 1.1.1.1/32, 4.4.4.4/32", 3),
        ("8.8.8.0 - 8.8.8.255", "Use 8.8.8.0/24", 1),
        ("8.8.8.1-8.8.8.255", "Split into 8 networks", 8),
        ("8.8.8.0/24 1.1.1.1 4.4.4.4 5.5.5.5 6.6.6.6 7.7.7.0/24", "Split into 6 networks", 6),
    ],
)
def test_a_paste_is_split_by_one_click(
    console: Console, visitors: Visitors, pasted: str, button: str, networks: int
) -> None:
    dialog = open_dialog(visitors.person(console), console.account("9.9.9.0/24"))
    dialog.get_by_label("Networks").fill(pasted)
    dialog.get_by_role("button", name=button).click()
    expect(dialog.locator("#verdict")).to_contain_text(f"{networks} network{'' if networks == 1 else 's'} can be added")


def test_what_a_paste_has_besides_networks_is_left_to_be_corrected(console: Console, visitors: Visitors) -> None:
    dialog = open_dialog(visitors.person(console), console.account("9.9.9.0/24"))
    dialog.get_by_label("Networks").fill("8.8.8.0/24; office; 1.1.1.1")
    dialog.get_by_role("button", name="Use 8.8.8.0/24, office, 1.1.1.1/32").click()
    expect(dialog.get_by_label("Networks")).to_have_value("8.8.8.0/24\noffice\n1.1.1.1/32")
    expect(dialog.locator(".problems li")).to_have_count(1)


def test_of_networks_that_were_typed_the_narrower_can_be_left_out(console: Console, visitors: Visitors) -> None:
    dialog = open_dialog(visitors.person(console), console.account("9.9.9.0/24"))
    dialog.get_by_label("Networks").fill("8.8.8.8/32, 8.8.8.0/24")
    expect(dialog.locator(".problems")).to_contain_text("It covers 8.8.8.8/32, which you typed too.")
    dialog.get_by_role("button", name="Leave out the narrower one").click()
    expect(dialog.get_by_label("Networks")).to_have_value("8.8.8.0/24")


def test_escape_drops_nothing_that_was_typed(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console)
    dialog = open_dialog(page, console.account("9.9.9.0/24"))
    page.keyboard.press("Escape")  # nothing was typed
    expect(dialog).to_be_hidden()
    page.locator("#add").click()
    networks = dialog.get_by_label("Networks")
    networks.fill("8.8.8.8")
    for _ in range(3):
        page.keyboard.press("Escape")
        expect(dialog.get_by_role("alert")).to_contain_text("What you typed is not stored yet.")
        expect(networks).to_have_value("8.8.8.8")
    dialog.get_by_role("button", name="Keep editing").click()
    expect(networks).to_be_focused()
    expect(dialog.get_by_role("alert")).to_have_count(0)
    dialog.get_by_role("button", name="Use 8.8.8.8/32").click()
    expect(networks).to_have_value("8.8.8.8/32")
    page.keyboard.press("Escape")  # a correction is typed text too
    expect(dialog.get_by_role("alert")).to_be_visible()
    page.evaluate("document.getElementById('dialog').close()")  # as a browser may, whatever a page says
    expect(networks).to_have_value("8.8.8.8/32")
    dialog.get_by_role("button", name="Discard it").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("link", name="+ Add CIDR address")).to_be_focused()


def test_a_refused_addition_leads_to_what_must_be_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account()
    dialog = open_dialog(visitors.person(console), account)
    dialog.get_by_label("Networks").evaluate("(field) => { field.value = '8.8.8.0/24' }")  # before any check
    dialog.get_by_role("button", name="Add to the list").click()
    expect(dialog.get_by_role("group", name="Please confirm")).to_be_focused()
