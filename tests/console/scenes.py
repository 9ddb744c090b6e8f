"""Every page of the console in every state worth looking at, for checks of how it looks and how it can be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from cidrgate import NewEntry, Observation
from cidrgate.stores.observations import add_observations
from tests.console.a_console import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from cidrgate import RuleManager
    from tests.console.a_console import Console

__all__ = ["SCENES", "furnish"]


def furnish(console: Console) -> None:
    """Accounts with lists, a subaccount and a history, as of an API platform."""
    manager = console.manager
    soon = datetime.now(UTC) + timedelta(days=14)
    manager.create_account("acme", actor="ops")
    manager.add(
        "acme",
        [
            NewEntry("8.8.8.0/24", label="Office Berlin"),
            NewEntry(f"{ADDRESS}/32", label="VPN gateway"),
            NewEntry("185.199.108.0/22", label="Build servers"),
            NewEntry("2606:4700::/32", label="Edge network"),
            NewEntry("1.1.1.1/32", label="Load test", expires_at=soon),
        ],
        actor="ada",
    )
    manager.add("acme", "151.101.1.0/24", label="Staging", actor="grace")
    manager.edit("acme", "151.101.1.0/24", "151.101.0.0/22", actor="grace")
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        seen = [("acme", cidr) for cidr in ("8.8.8.0/24", "185.199.108.0/22", "151.101.0.0/22")]
        transaction.note_matches(seen[:2], now - timedelta(minutes=25))
        transaction.note_matches(seen[2:], now - timedelta(days=41))
    for name in ("acme-eu", "acme-us"):
        manager.create_account(name, parent="acme", actor="ops")
    for name in ("globex", "initech", "umbrella"):
        manager.create_account(name, actor="ops")
        manager.add(name, "8.8.4.0/24", actor="ops")
    manager.create_account("new-customer", actor="ops")
    _furnish_traffic(manager)
    console.token("account:acme:write", name="deploy")


def _furnish_traffic(manager: RuleManager) -> None:
    """An account of which it is known who called."""
    manager.create_account("hooli", actor="ops")
    manager.add("hooli", [NewEntry("9.9.9.0/24", label="Office"), NewEntry("4.4.4.0/24", label="Old data centre")])
    manager.create_account("hooli-labs", parent="hooli", actor="ops")
    seen = [("hooli", "9.9.9.7/32", 52_310), ("hooli", "4.4.4.12/32", 1_102), ("hooli-labs", "4.4.4.13/32", 87)]
    seen += [("hooli", "4.4.4.200/32", 15), ("hooli", "8.8.4.4/32", 3)]
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        add_observations(
            transaction,
            [
                Observation(
                    account=account,
                    network=network,
                    allowed=network != "8.8.4.4/32",
                    requests=requests,
                    first_seen=now - timedelta(days=40),
                    last_seen=now,
                )
                for account, network, requests in seen
            ],
        )


def _deleting_what_is_in_use(page: Page) -> None:
    page.goto("list?account=hooli")
    page.get_by_role("button", name="Delete 4.4.4.0/24").click()
    expect(page.get_by_role("dialog").locator(".foresight.loss")).to_be_visible()


def _pausing(page: Page) -> None:
    page.goto("list/mode?account=hooli")
    page.get_by_role("radio", name="Pause").check()
    page.get_by_role("button", name="Set the mode").click()
    expect(page.locator(".foresight.info")).to_be_visible()


def _signed_out(page: Page) -> None:
    page.goto("sign-in")


def _refused(page: Page) -> None:
    page.goto("sign-in")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _visit(path: str) -> Callable[[Page], None]:
    def visit(page: Page) -> None:
        page.goto(path)

    return visit


def _dialog(account: str, typed: str, shown: str) -> Callable[[Page], None]:
    def visit(page: Page) -> None:
        page.goto(f"list?account={account}")
        page.locator("main").get_by_role("link", name="+ Add").first.click()
        page.get_by_label("Networks").fill(typed)
        expect(page.locator("#verdict")).to_contain_text(shown)

    return visit


def _editing(page: Page) -> None:
    page.goto("list?account=acme")
    page.get_by_role("row").filter(has_text="8.8.8.0/24").get_by_role("link", name="Edit").click()
    page.get_by_label("CIDR", exact=True).fill("8.8.8.7/24")
    expect(page.locator(".problems")).to_be_visible()


def _last(page: Page) -> None:
    page.goto("list?account=initech")
    page.get_by_role("button", name="Delete 8.8.4.0/24").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _giving_way(page: Page) -> None:
    _dialog("acme", "8.8.0.0/16", "1 problem")(page)
    page.get_by_role("button", name="Put it in its place").click()
    expect(page.get_by_role("group", name="Removed in the same step")).to_be_visible()


def _losing(page: Page) -> None:
    page.goto("list?account=acme")
    page.get_by_role("row").filter(has_text="8.8.8.0/24").get_by_role("link", name="Edit").click()
    page.get_by_label("CIDR", exact=True).fill("8.8.8.0/25")
    expect(page.locator(".loss")).to_be_visible()


def _back(name: str) -> Callable[[Page], None]:
    def visit(page: Page) -> None:
        page.goto("history?account=acme")
        page.get_by_role("link", name=name).last.click()
        expect(page.get_by_role("dialog")).to_be_visible()

    return visit


def _discarding(page: Page) -> None:
    _dialog("acme", "4.4.4.0/24", "1 network can be added")(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_be_visible()


def _revoking(page: Page) -> None:
    page.goto("tokens")
    page.get_by_role("link", name="Revoke").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _notice(page: Page) -> None:
    page.goto("list?account=globex")
    page.get_by_role("row").get_by_role("link", name="Edit").click()
    label = page.get_by_label("Label")
    label.fill("Backup site" if label.input_value() == "Data centre" else "Data centre")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_be_visible()


def _made_token(page: Page) -> None:
    page.goto("tokens/new?account=acme")
    page.get_by_label("Name", exact=True).fill("billing")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_label("Token of")).to_be_visible()


SCENES: dict[str, Callable[[Page], None]] = {
    "sign-in": _signed_out,
    "sign-in-refused": _refused,
    "link": _visit("link/secret"),
    "accounts": _visit("accounts"),
    "accounts-none-found": _visit("accounts?q=nobody"),
    "new-account": _visit("accounts/new"),
    "list": _visit("list?account=acme"),
    "list-empty": _visit("list?account=new-customer"),
    "list-after-change": _notice,
    "add-problems": _dialog("acme", "8.8.8.8, 10.0.0.0/8, 1.1.1.0/24", "3 problems"),
    "add-first": _dialog("new-customer", "8.8.8.0/24", "Please confirm"),
    "add-page": _visit("list/add?account=acme&cidrs=4.4.4.4"),
    "edit": _editing,
    "edit-loses": _losing,
    "add-gives-way": _giving_way,
    "add-escape": _discarding,
    "delete-last": _last,
    "delete-in-use": _deleting_what_is_in_use,
    "add-who-calls": _dialog("hooli", "8.8.4.0/24", "would be allowed"),
    "subaccount": _visit("list?account=acme-eu"),
    "subaccounts": _visit("subaccounts?account=acme"),
    "test-allowed": _visit("test?account=acme&address=8.8.8.8"),
    "test-denied": _visit("test?account=acme&address=8.8.9.1"),
    "test-network": _visit("test?account=acme&address=8.8.8.0/23"),
    "test-no-address": _visit("test?account=acme&address=8.8.8.7/24"),
    "recommendation": _visit("list/recommendation?account=hooli"),
    "recommendation-few": _visit("list/recommendation?account=hooli&most=2"),
    "recommendation-no-traffic": _visit("list/recommendation?account=acme"),
    "history": _visit("history?account=acme"),
    "history-undo": _back("Undo this change"),
    "history-go-back": _back("Go back to this list"),
    "revoke": _revoking,
    "tokens": _visit("tokens"),
    "new-token": _visit("tokens/new"),
    "sessions": _visit("sessions"),
    "token-made": _made_token,
    "mode": _visit("list/mode?account=acme"),
    "mode-who-calls": _pausing,
    "edit-account": _visit("accounts/edit?account=acme"),
    "delete-account": _visit("accounts/delete?account=acme"),
    "not-found": _visit("list?account=nobody"),
}
"""By name: brings a browser, signed in as an admin, to a state."""
