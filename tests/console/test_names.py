"""Names and labels that are very long, or written from right to left, on every page that shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from cidrgate import NewEntry, Observation
from cidrgate.stores.observations import add_observations

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.console.a_console import Console, Visitors

LONG = "W" * 200
TURNED = "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"
"""Hebrew and Arabic letters."""

PAGES = [
    "accounts",
    "accounts?q={name}",
    "list?account={name}",
    "list?account={name}&q={name}",
    "list?account={name}&q=nobody",
    "list?account={name}%20below",
    "list/add?account={name}&cidrs=8.0.0.0/9",
    "list/edit?account={name}&entry={entry}",
    "list/mode?account={name}",
    "list/undo?account={name}&at={last}",
    "list/restore?account={name}&at={first}",
    "list/recommendation?account={name}",
    "history?account={name}",
    "history?account={name}%20below",
    "subaccounts?account={name}",
    "test?account={name}&address=8.8.8.8",
    "test?account={name}&address=8.0.0.0/7",
    "test?account={name}&address=7.7.7.7",
    "accounts/edit?account={name}",
    "accounts/delete?account={name}",
    "accounts/new?parent={name}",
    "tokens",
    "tokens/new?account={name}",
    "tokens/revoke?token={token}",
    "sessions",
]


def named(console: Console, name: str) -> list[str]:
    """An account with this name that has everything of this name, and its pages."""
    manager = console.manager
    if all(account.name != name for account in manager.accounts()):
        manager.create_account(name, actor=name, display_name=name)
        manager.create_account(f"{name} below", parent=name, display_name=name)
        manager.add(name, [NewEntry(f"8.8.{number}.0/24", label=name) for number in range(8, 20)], actor=name)
        manager.edit(name, "8.8.8.0/24", label=f"{name} 2", actor=name)
        manager.set_mode(name, "report_only", reason=name, actor=name, confirmed={"disable_enforcement"})
        now = datetime.now(UTC)
        seen = [(name, "8.8.8.8/32"), (f"{name} below", "8.8.9.9/32"), (name, "7.7.7.7/32")]
        with manager._store.write() as transaction:
            rows = [
                Observation(account=account, network=network, allowed=True, requests=7, first_seen=now, last_seen=now)
                for account, network in seen
            ]
            add_observations(transaction, rows)
        console.token(f"account:{name}:write", name=name)
    log = [change.sequence for change in manager.history(name)]
    known = {
        "name": name,
        "entry": manager.entries(name)[0].id,
        "first": log[-2],
        "last": log[1],
        "token": next(token.id for token in console.credentials.tokens() if token.name == name),
    }
    return [page.format(**known) for page in PAGES]


@pytest.mark.parametrize("width", [320, 1280])
def test_long_words_widen_no_page(console: Console, visitors: Visitors, width: int) -> None:
    page = visitors.person(console, name=LONG, width=width)
    wide = []
    for path in named(console, LONG):
        page.goto(path)
        expect(page.locator("h1").first).to_be_visible()
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path.replace(LONG, "W"))
    assert wide == []


_NOT_ISOLATED = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode, around = text.parentElement;
    if (!/[\\u0590-\\u06ff]/.test(text.data.replace(/\\u2068[^\\u2069]*\\u2069/g, ""))) continue;
    if (around.closest("textarea, title, option, script")) continue;
    if (getComputedStyle(around).unicodeBidi !== "isolate") found.push(text.data.trim());
  }
  return found;
}"""


def _mixed(page: Page) -> list[str]:
    """The texts written from right to left that can reorder what stands beside them."""
    found: list[str] = page.evaluate(_NOT_ISOLATED)
    return found


def test_names_from_right_to_left_reorder_nothing(console: Console, visitors: Visitors) -> None:
    page = visitors.person(console, name=TURNED)
    mixed = {}
    for path in named(console, TURNED):
        page.goto(path)
        expect(page.locator("h1").first).to_be_visible()
        if found := _mixed(page):
            mixed[path.replace(TURNED, "name")] = found
    page.goto(f"list?account={TURNED}")
    page.get_by_role("button", name="Delete 8.8.8.0/24").click()
    expect(page.locator("dialog[open], #notice")).to_be_visible()
    if found := _mixed(page):
        mixed["delete"] = found
    assert mixed == {}
