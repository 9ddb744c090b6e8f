"""The mode of a list in the console: what is shown, what must be confirmed, and how it is undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.console.test_changing import called

if TYPE_CHECKING:
    from tests.console.a_console import Console, Visitors


def test_a_list_is_paused_for_a_time_and_enforced_again(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console, name="ada")
    page.goto(f"list?account={account}")
    page.get_by_role("link", name="Mode").click()
    expect(page.get_by_label("Reason")).to_be_hidden()  # it is enforced
    page.get_by_role("radio", name="Pause").check()
    page.get_by_label("Enforce it again").select_option("In 4 hours")
    page.get_by_label("Reason").fill("incident 7")
    page.get_by_role("button", name="Set the mode").click()
    confirm = page.get_by_role("group", name="Please confirm")
    expect(confirm).to_be_focused()
    expect(page.get_by_label("Reason")).to_have_value("incident 7")
    assert console.manager.account(account).mode == "enforce"
    confirm.get_by_role("checkbox", name="Stop enforcing").check()
    page.get_by_role("button", name="Set the mode").click()
    expect(page.get_by_role("status")).to_contain_text("Paused the list until")
    expect(page.get_by_role("main")).to_contain_text("Paused until")
    expect(page.get_by_role("main")).to_contain_text("incident 7")
    paused = console.manager.account(account)
    assert (paused.mode, paused.mode_reason) == ("off", "incident 7")
    assert paused.mode_until is not None
    assert timedelta(hours=3, minutes=59) < paused.mode_until - datetime.now(UTC) <= timedelta(hours=4)
    page.get_by_role("button", name="Undo").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox", name="Start enforcing").check()
    dialog.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Undid a change. Enforced the list")
    assert console.manager.account(account).mode == "enforce"


def test_the_history_undoes_a_mode_and_says_when_it_cannot(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.set_mode(account, "report_only", confirmed=["disable_enforcement"])
    page = visitors.person(console)
    page.goto(f"history?account={account}")
    page.get_by_role("listitem").first.get_by_role("link", name="Undo this change").click()
    dialog = page.get_by_role("dialog", name="Undo this change?")
    expect(dialog.get_by_role("row")).to_contain_text("Mode: only report")
    console.manager.set_mode(account, "off", confirmed=["disable_enforcement"])
    page.goto(f"history?account={account}")
    row = page.get_by_role("listitem").filter(has_text="Let the list only report")
    row.get_by_role("link", name="Undo this change").click()
    expect(dialog.get_by_role("alert")).to_contain_text("This change cannot be undone.")


def test_a_time_that_is_over_is_refused_beside_what_was_typed(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto(f"list/mode?account={account}")
    page.get_by_role("radio", name="Only report").check()
    page.get_by_label("Enforce it again").select_option("At a time …")
    page.get_by_label("At UTC").fill("2020-01-31T18:00")
    page.get_by_role("button", name="Set the mode").click()
    expect(page.get_by_role("alert")).to_contain_text("This time is in the past. Choose one in the future.")
    expect(page.get_by_role("radio", name="Only report")).to_be_checked()


def test_enforcing_asks_before_it_denies_addresses_that_called(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.set_mode(account, "report_only", confirmed=["disable_enforcement"])
    called(console, account, ("4.4.4.4/32", 31), ("9.9.9.9/32", 7))
    page = visitors.person(console)
    page.goto(f"list/mode?account={account}")
    page.get_by_role("radio", name="Enforce").check()
    page.get_by_role("button", name="Set the mode").click()
    expect(page.locator(".foresight.loss")).to_contain_text(
        "In the last 30 days, 1 address with 31 requests would be denied: 4.4.4.4 (31)."
    )
    assert console.manager.account(account).mode == "report_only"
    confirm = page.get_by_role("group", name="Please confirm")
    confirm.get_by_role("checkbox", name="Deny these addresses").check()
    confirm.get_by_role("checkbox", name="Start enforcing").check()
    page.get_by_role("button", name="Set the mode").click()
    expect(page.get_by_role("status")).to_contain_text("Enforced the list")
    assert console.manager.account(account).mode == "enforce"
