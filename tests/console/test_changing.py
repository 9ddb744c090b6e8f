"""Editing in place, deleting with undo, restoring, and what happens when somebody else was faster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from cidrgate import NewEntry
from cidrgate.stores.schema import observations
from tests.console.a_console import ADDRESS, Console, Visitors
from tests.observed import store_observed

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page


def row_of(page: Page, cidr: str) -> Locator:
    return page.get_by_role("row").filter(has_text=cidr)


def edit(page: Page, account: str, cidr: str) -> Locator:
    page.goto(f"list?account={account}")
    row_of(page, cidr).get_by_role("link", name="Edit").click()
    form = page.get_by_role("form", name=f"Edit {cidr}")
    expect(form.get_by_label("CIDR")).to_be_focused()
    return form


def test_an_entry_is_edited_in_its_place(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "1.1.1.1/32")
    end = datetime.now(UTC) + timedelta(days=3)
    console.manager.edit(account, "1.1.1.1/32", expires_at=end)
    page = visitors.person(console)
    form = edit(page, account, "1.1.1.1/32")
    form.get_by_label("CIDR").fill("9.9.9.9/32")
    expect(form).to_contain_text("9.9.9.0/24 already covers these addresses.")
    form.get_by_role("button", name="Keep 1.1.1.1/32").click()
    expect(form.get_by_label("CIDR")).to_have_value("1.1.1.1/32")
    form.get_by_label("CIDR").fill("1.1.1.7/24")
    form.get_by_role("button", name="Use 1.1.1.0/24").click()
    expect(form.get_by_label("CIDR")).to_have_value("1.1.1.0/24")
    expect(form).to_contain_text("255.255.255.0, 256 addresses")
    form.get_by_label("Label").fill("resolver")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 1.1.1.1/32 to 1.1.1.0/24")
    [entry, _] = console.manager.entries(account)
    assert (entry.cidr, entry.label, entry.expires_at) == ("1.1.1.0/24", "resolver", end)


def test_editing_can_be_left(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    form = edit(page, account, "9.9.9.0/24")
    form.get_by_label("CIDR").fill("8.8.8.0/24")
    form.get_by_role("link", name="Cancel").click()
    expect(row_of(page, "9.9.9.0/24").get_by_role("link", name="Edit")).to_be_focused()
    assert console.cidrs(account) == ["9.9.9.0/24"]


def test_an_end_is_taken_away(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.edit(account, "9.9.9.0/24", expires_at=datetime.now(UTC) + timedelta(days=3))
    page = visitors.person(console)
    form = edit(page, account, "9.9.9.0/24")
    form.get_by_label("Expires at").fill("")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 9.9.9.0/24")
    expect(row_of(page, "9.9.9.0/24")).to_contain_text("never")
    assert console.manager.entries(account)[0].expires_at is None


def test_an_edit_that_locks_out_is_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account(f"{ADDRESS}/32")
    page = visitors.person(console, f"account:{account}:write")
    form = edit(page, account, f"{ADDRESS}/32")
    form.get_by_label("CIDR").fill("8.8.8.0/24")
    expect(form).to_contain_text("you would lock yourself out")
    form.get_by_role("checkbox", name="Lock my own address out").check()
    form.get_by_role("button", name="Save").click()
    expect(page.locator("#own")).to_contain_text("not covered")
    assert console.cidrs(account) == ["8.8.8.0/24"]


def test_what_is_deleted_can_be_had_back(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "8.8.8.0/24", label="office", actor="setup")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    row_of(page, "8.8.8.0/24").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 8.8.8.0/24")
    assert console.cidrs(account) == ["9.9.9.0/24"]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Undid a change: added 8.8.8.0/24")
    assert [(entry.cidr, entry.label) for entry in console.manager.entries(account)] == [
        ("8.8.8.0/24", "office"),
        ("9.9.9.0/24", None),
    ]
    assert console.manager.history(account)[0].action == "undo"


def test_the_last_entry_is_deleted_only_when_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.get_by_role("button", name="Delete 9.9.9.0/24").click()
    dialog = page.get_by_role("dialog", name="Delete 9.9.9.0/24?")
    expect(dialog.get_by_role("link", name="Keep it")).to_be_focused()
    dialog.get_by_role("link", name="Keep it").click()
    expect(page.get_by_role("button", name="Delete 9.9.9.0/24")).to_be_focused()
    assert console.cidrs(account) == ["9.9.9.0/24"]
    page.get_by_role("button", name="Delete 9.9.9.0/24").click()
    dialog.get_by_role("checkbox", name="Stop enforcing").check()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="The list is empty")).to_be_visible()
    assert console.cidrs(account) == []
    page.get_by_role("button", name="Undo").click()  # it begins to be enforced again
    page.get_by_role("checkbox", name="Start enforcing").check()
    page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("added 9.9.9.0/24")


def test_ones_own_entry_is_deleted_only_when_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account("8.8.8.0/24", "9.9.9.0/24")
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list?account={account}")
    page.get_by_role("button", name="Delete 9.9.9.0/24").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Your own address {ADDRESS} is not covered after this")
    dialog.get_by_role("checkbox", name="Lock my own address out").check()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 9.9.9.0/24")
    assert console.cidrs(account) == ["8.8.8.0/24"]


def test_an_edit_of_a_list_that_somebody_changed_loses_nothing(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "1.1.1.1/32")
    page = visitors.person(console)
    form = edit(page, account, "1.1.1.1/32")
    form.get_by_label("Label").fill("typed with care")
    console.manager.add(account, "8.8.8.0/24", actor="somebody else")
    form.get_by_role("button", name="Save").click()
    alert = form.locator("xpath=..").get_by_role("alert")
    expect(alert).to_contain_text("Another person or program has changed this list. Added 8.8.8.0/24, by somebody else")
    expect(alert).to_be_focused()
    expect(form.get_by_label("Label")).to_have_value("typed with care")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 1.1.1.1/32")
    assert {entry.label for entry in console.manager.entries(account)} == {"typed with care", None}


def test_an_entry_that_is_gone_loses_nothing(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "1.1.1.1/32")
    page = visitors.person(console)
    form = edit(page, account, "1.1.1.1/32")
    form.get_by_label("Label").fill("typed with care")
    console.manager.remove(account, "1.1.1.1/32", actor="somebody else")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("no longer in the list")
    expect(form.get_by_label("Label")).to_have_value("typed with care")


def test_a_replacement_of_a_list_that_somebody_changed_loses_nothing(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.locator("#add").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Networks").fill("8.8.0.0/16")
    dialog.get_by_role("button", name="Put it in its place").click()
    expect(dialog.get_by_role("group", name="Removed in the same step")).to_be_visible()
    console.manager.add(account, "1.1.1.1/32", actor="somebody else")
    dialog.get_by_role("button", name="Add to the list").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Added 1.1.1.1/32, by somebody else")
    expect(dialog.get_by_label("Networks")).to_have_value("8.8.0.0/16")
    dialog.get_by_role("button", name="Put it in its place").click()
    expect(dialog.get_by_role("group", name="Removed in the same step")).to_be_visible()
    dialog.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_be_visible()
    assert console.cidrs(account) == ["1.1.1.1/32", "8.8.0.0/16", "9.9.9.0/24"]


def test_what_somebody_changed_is_not_deleted_unseen(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    console.manager.edit(account, "8.8.8.0/24", "8.8.0.0/16", actor="somebody else")
    page.get_by_role("button", name="Delete 8.8.8.0/24").click()
    dialog = page.get_by_role("dialog", name="The list has changed")
    expect(dialog).to_contain_text("Changed 8.8.8.0/24 to 8.8.0.0/16, by somebody else")
    dialog.get_by_role("link", name="Show the list").click()
    expect(row_of(page, "8.8.0.0/16")).to_be_visible()
    assert console.cidrs(account) == ["8.8.0.0/16", "9.9.9.0/24"]


def test_there_is_no_undo_over_somebody_elses_change(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.get_by_role("button", name="Delete 8.8.8.0/24").click()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    console.manager.add(account, "1.1.1.1/32", actor="somebody else")
    undo.click()
    expect(page.get_by_role("dialog", name="The list has changed")).to_be_visible()
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("Deleted 8.8.8.0/24")
    expect(undo).to_have_count(0)


def test_the_history_leads_back(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "8.8.8.0/24", actor="ada")
    console.manager.edit(account, "8.8.8.0/24", "8.8.0.0/16", actor="grace")
    page = visitors.person(console)
    page.goto(f"history?account={account}")
    items = page.get_by_role("listitem")
    expect(items).to_have_count(4)
    expect(items.nth(0)).to_contain_text("Changed 8.8.8.0/24 to 8.8.0.0/16")
    expect(items.nth(0)).to_contain_text("by grace")
    items.nth(1).get_by_role("link", name="Go back to this list").click()
    dialog = page.get_by_role("dialog", name="Go back to this list?")
    expect(dialog.get_by_role("row").filter(has_text="8.8.0.0/16")).to_contain_text("Goes")
    expect(dialog.get_by_role("row").filter(has_text="8.8.8.0/24")).to_contain_text("Comes back")
    expect(dialog.locator(".loss")).to_contain_text("Loses access: 8.8.0.0/21")
    dialog.get_by_role("link", name="Cancel").click()
    assert console.cidrs(account) == ["8.8.0.0/16", "9.9.9.0/24"]
    items.nth(1).get_by_role("link", name="Go back to this list").click()
    dialog.get_by_role("button", name="Go back").click()
    expect(page.get_by_role("status")).to_contain_text("added 8.8.8.0/24 and removed 8.8.0.0/16")
    assert console.cidrs(account) == ["8.8.8.0/24", "9.9.9.0/24"]


def test_one_change_of_the_history_is_undone(console: Console, visitors: Visitors) -> None:
    """The row "Deleted 8.8.0.0/22" brings it back, and does not delete it again."""
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "8.8.0.0/22", label="office", actor="ada")
    console.manager.remove(account, "8.8.0.0/22", actor="grace")
    console.manager.add(account, "1.1.1.1/32", actor="ada")
    page = visitors.person(console, name="ops")
    page.goto(f"history?account={account}")
    row = page.get_by_role("listitem").filter(has_text="Deleted 8.8.0.0/22")
    row.get_by_role("link", name="Undo this change").click()
    dialog = page.get_by_role("dialog", name="Undo this change?")
    expect(dialog.get_by_role("row").filter(has_text="8.8.0.0/22")).to_contain_text("Comes back")
    dialog.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Undid a change: added 8.8.0.0/22")
    assert console.cidrs(account) == ["1.1.1.1/32", "8.8.0.0/22", "9.9.9.0/24"]
    last = console.manager.history(account)[0]
    assert (last.action, last.actor) == ("undo", "ops")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()  # an undo too


def test_what_stands_in_the_way_of_an_undo_is_said(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "8.8.8.0/24")
    console.manager.edit(account, "8.8.8.0/24", "8.8.0.0/16")
    later = console.manager.history(account)[0].sequence
    console.manager.remove(account, "9.9.9.0/24")
    console.manager.add(account, "9.9.0.0/16")
    page = visitors.person(console)
    page.goto(f"history?account={account}")
    undo = {
        "Added 8.8.8.0/24": f"has been changed or deleted since, by change {later}. Undo change {later} first",
        "Deleted 9.9.9.0/24": "9.9.9.0/24: 9.9.0.0/16 already covers these addresses.",
    }
    for sentence, why in undo.items():
        page.get_by_role("listitem").filter(has_text=sentence).get_by_role("link", name="Undo").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("alert")).to_contain_text(why)
        expect(dialog.get_by_role("alert")).to_be_focused()
        dialog.get_by_role("link", name="Back to the history").click()
    assert console.cidrs(account) == ["8.8.0.0/16", "9.9.0.0/16"]


def test_going_back_without_scripts_shows_the_difference_too(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "8.8.8.0/24")
    page = visitors.person(console, scripts=False)
    page.goto(f"history?account={account}")
    page.get_by_role("listitem").nth(1).get_by_role("link", name="Go back to this list").click()
    expect(page.get_by_role("row").filter(has_text="8.8.8.0/24")).to_contain_text("Goes")
    assert console.cidrs(account) == ["8.8.8.0/24", "9.9.9.0/24"]
    page.get_by_role("button", name="Go back").click()
    expect(page.get_by_role("status")).to_contain_text("removed 8.8.8.0/24")
    page.goto(f"list/restore?account={account}&at={console.manager.history(account)[0].sequence}")
    expect(page.get_by_text("The list is like that already: nothing would change.")).to_be_visible()


def test_an_edit_is_put_in_the_place_of_others(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24", "8.8.9.9/32")
    page = visitors.person(console)
    form = edit(page, account, "8.8.8.0/24")
    form.get_by_label("Label").fill("office")
    form.get_by_label("CIDR").fill("8.8.0.0/16")
    expect(form).to_contain_text("It covers 8.8.9.9/32, which is listed.")
    form.get_by_role("button", name="Put it in its place").click()
    giving_way = form.get_by_role("group", name="Removed in the same step")
    expect(giving_way).to_contain_text("8.8.9.9/32")
    form.get_by_label("CIDR").fill("8.8.8.0/23")
    expect(giving_way).to_contain_text("8.8.9.9/32")
    form.get_by_label("CIDR").fill("8.8.8.0/25")
    expect(giving_way).to_have_count(0)
    form.get_by_label("CIDR").fill("8.8.0.0/16")
    form.get_by_role("button", name="Put it in its place").click()
    expect(giving_way).to_contain_text("8.8.9.9/32")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Replaced the list")
    assert [(entry.cidr, entry.label) for entry in console.manager.entries(account)] == [
        ("8.8.0.0/16", "office"),
        ("9.9.9.0/24", None),
    ]


def test_a_loss_is_shown_as_a_loss(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console)
    form = edit(page, console.account("9.9.9.0/24", "8.8.8.0/24"), "8.8.8.0/24")
    form.get_by_label("CIDR").fill("8.8.8.0/25")
    expect(form.locator(".loss")).to_contain_text("Loses access: 8.8.8.128/25.")
    expect(form.locator(".message.good")).not_to_contain_text("Loses")


def test_a_refused_edit_leads_to_what_is_wrong(console: Console, visitors: Visitors) -> None:
    form = edit(visitors.person(console), console.account("9.9.9.0/24"), "9.9.9.0/24")
    form.get_by_label("CIDR").fill("9.9.9.0-9.9.10.255")
    form.get_by_role("button", name="Save").click()
    expect(form.locator(".problems-title")).to_be_focused()
    form.get_by_role("button", name="Use 9.9.10.0/24").click()  # one of the two: an entry is one network
    expect(form.get_by_label("CIDR")).to_have_value("9.9.10.0/24")


def test_what_is_typed_in_a_row_is_not_lost_by_leaving_the_page(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24")
    page = visitors.person(console)
    form = edit(page, account, "8.8.8.0/24")
    form.get_by_label("Label").press_sequentially("typed with care")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    with page.expect_event("dialog"):
        page.get_by_role("button", name="Delete 9.9.9.0/24").click()  # its answer is another page
    expect(form.get_by_label("Label")).to_have_value("typed with care")
    form.get_by_role("button", name="Save").click()
    expect(form.locator("xpath=..").get_by_role("alert")).to_contain_text("Deleted 9.9.9.0/24")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("label: typed with care")
    assert asked == ["beforeunload"]


def test_a_long_history_has_pages(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    for number in range(30):
        console.manager.edit(account, "9.9.9.0/24", label=f"{number}")
    page = visitors.person(console)
    page.goto(f"history?account={account}")
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("Created the account")).to_be_visible()
    page.get_by_role("link", name="Newest").click()
    expect(page.get_by_text("Now", exact=True)).to_be_visible()


def test_an_entry_is_disabled_and_enabled_by_one_click(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "8.8.8.0/24")
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list?account={account}")
    page.get_by_role("button", name="Disable 8.8.8.0/24").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 8.8.8.0/24 (enabled: no)")
    expect(row_of(page, "8.8.8.0/24")).to_contain_text("disabled")
    assert [entry.enabled for entry in console.manager.entries(account)] == [False, True]
    page.get_by_role("button", name="Disable 9.9.9.0/24").click()
    dialog = page.get_by_role("dialog", name="Disable 9.9.9.0/24?")
    dialog.get_by_role("checkbox", name="Lock my own address out").check()
    dialog.get_by_role("button", name="Disable").click()
    expect(page.locator("#own")).to_contain_text("not covered")
    page.get_by_role("button", name="Enable 9.9.9.0/24").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 9.9.9.0/24 (enabled: yes)")
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("dialog").get_by_role("checkbox", name="Lock my own address out").check()
    page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(row_of(page, "9.9.9.0/24")).to_contain_text("disabled")


def called(console: Console, account: str, *seen: tuple[str, int]) -> None:
    """Store that addresses called for an account."""
    store_observed(console.manager, *((account, network, requests) for network, requests in seen))


def test_before_a_change_denies_addresses_that_called_a_person_is_asked(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "1.1.1.1/32", "4.4.4.0/24")
    called(console, account, ("9.9.9.7/32", 1_200), ("9.9.9.8/32", 4), ("4.4.4.0/24", 55))
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.get_by_role("button", name="Delete 1.1.1.1/32").click()  # nobody called from there
    expect(page.get_by_role("status")).to_contain_text("Deleted 1.1.1.1/32")
    page.get_by_role("button", name="Delete 9.9.9.0/24").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("In the last 30 days, 2 addresses with 1,204 requests would be denied")
    expect(dialog).to_contain_text("9.9.9.7 (1,200), 9.9.9.8 (4).")
    dialog.get_by_role("link", name="Keep it").click()
    assert console.cidrs(account) == ["4.4.4.0/24", "9.9.9.0/24"]
    page.get_by_role("button", name="Disable 9.9.9.0/24").click()
    expect(dialog).to_contain_text("2 addresses with 1,204 requests would be denied")
    dialog.get_by_role("link", name="Keep it").click()
    page.get_by_role("button", name="Delete 9.9.9.0/24").click()
    dialog.get_by_role("checkbox", name="Deny these addresses").check()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 9.9.9.0/24")
    assert console.cidrs(account) == ["4.4.4.0/24"]
    # An edit shows it while a person types, and says what nobody knows of a part of a network.
    form = edit(page, account, "4.4.4.0/24")
    form.get_by_label("CIDR").fill("4.4.4.0/25")
    expect(form).to_contain_text("some requests of 1 network with 55 requests would be denied: 4.4.4.0/24 (55)")
    expect(form).to_contain_text("Not known: the change affects a part of networks")


def test_going_back_shows_who_would_be_denied_and_asks_once(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.add(account, "4.4.4.0/24")
    called(console, account, ("4.4.4.4/32", 31))
    page = visitors.person(console)
    page.goto(f"history?account={account}")
    page.get_by_role("listitem").first.get_by_role("link", name="Undo this change").click()
    dialog = page.get_by_role("dialog", name="Undo this change?")
    expect(dialog).to_contain_text("1 address with 31 requests would be denied: 4.4.4.4 (31).")
    dialog.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Undid a change")
    assert console.cidrs(account) == ["9.9.9.0/24"]


def test_what_is_not_recorded_is_said_where_it_matters(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    with console.manager._store.write() as transaction:
        transaction.connection.execute(observations.delete())
    page = visitors.person(console)
    form = edit(page, account, "9.9.9.0/24")
    form.get_by_label("CIDR").fill("9.9.9.0/25")
    expect(form.locator(".foresight")).to_contain_text("it is not known who calls")
    form.get_by_label("CIDR").fill("9.9.8.0/23")
    expect(form.locator(".preview")).to_contain_text("9.9.8.0/23")
    expect(form.locator(".foresight")).to_have_count(0)  # nobody can be denied
    page.goto(f"accounts/delete?account={account}")
    expect(page.locator(".foresight")).to_contain_text("it is not known who calls")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_change_on_a_later_page_comes_back_to_it(console: Console, visitors: Visitors, scripts: bool) -> None:
    account = console.account()
    console.manager.set_policy(account, max_entries=300)
    console.manager.add(account, [NewEntry(f"20.0.{number}.0/24", label="odd") for number in range(1, 251, 2)])
    console.manager.add(account, [NewEntry(f"20.0.{number}.0/25", label="even") for number in range(0, 250, 2)])
    page = visitors.person(console, scripts=scripts)
    page.goto(f"list?account={account}")
    expect(page.locator("#count")).to_have_text("Entries 1 to 100 of 250")
    page.get_by_label("Find entries").fill("odd")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("#count")).to_contain_text("Entries 101 to 125 of 125 found")
    page.get_by_role("button", name="Delete 20.0.203.0/24").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 20.0.203.0/24")
    expect(page.locator("#count")).to_contain_text("Entries 101 to 124 of 124 found")
    page.get_by_role("button", name="Undo").click()
    expect(row_of(page, "20.0.203.0/24")).to_be_visible()
    page.get_by_role("button", name="Disable 20.0.205.0/24").click()
    expect(row_of(page, "20.0.205.0/24")).to_contain_text("disabled")
    page.get_by_role("button", name="Enable 20.0.205.0/24").click()
    expect(row_of(page, "20.0.205.0/24")).not_to_contain_text("disabled")
    page.get_by_role("link", name="Edit 20.0.249.0/24").click()
    page.get_by_label("Label").fill("odd and last")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Show it").click()
    expect(row_of(page, "odd and last")).to_be_in_viewport()
    page.get_by_role("link", name="Show all entries").click()
    expect(page.locator("#count")).to_have_text("Entries 1 to 100 of 250")
