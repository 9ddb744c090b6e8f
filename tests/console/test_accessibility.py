"""What a screen reader, a keyboard, a narrow screen and a browser without scripts make of the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.console.a_console import ADDRESS, DESKTOP, PHONE, Console, Visitors, a_console
from tests.console.scenes import SCENES, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

_SERIOUS = ("serious", "critical")


@pytest.fixture(scope="package")
def furnished() -> Iterator[Console]:
    """A console with something to see on each of its pages."""
    with a_console("memory://") as console:
        furnish(console)
        yield console


@pytest.mark.parametrize("name", SCENES)
def test_nothing_serious_is_found_by_axe(furnished: Console, visitors: Visitors, name: str) -> None:
    page = visitors.person(furnished)
    SCENES[name](page)
    assert serious(page) == []
    page.set_viewport_size({"width": PHONE, "height": 740})
    page.emulate_media(color_scheme="dark")
    assert serious(page) == []
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= shown, "it scrolls sideways"


def serious(page: Page) -> list[object]:
    """What axe finds in a page that keeps people from using it."""
    answer: dict[str, Any] = Axe().run(page, options={"resultTypes": ["violations"]}).response
    return [
        (violation["id"], [node["target"] for node in violation["nodes"]])
        for violation in answer["violations"]
        if violation["impact"] in _SERIOUS
    ]


@pytest.mark.parametrize(("width", "dark"), [(DESKTOP, True), (PHONE, False)], ids=["desktop-dark", "phone-light"])
def test_contrast_holds_in_the_other_colours(furnished: Console, visitors: Visitors, width: int, dark: bool) -> None:
    page = visitors.person(furnished, width=width, dark=dark)
    for name in (
        *("list", "add-problems", "add-first", "add-gives-way", "add-escape", "edit-loses", "history", "history-undo"),
        *("history-go-back", "test-denied", "test-network", "revoke"),
    ):
        SCENES[name](page)
        answer = Axe().run(page, options={"runOnly": ["color-contrast"]}).response
        assert answer["violations"] == [], name


def _press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until something of this name has the focus, which must be visible there."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "[(document.activeElement.labels?.[0] ?? document.activeElement).textContent,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        if name in (focused[0] or ""):
            assert focused[1] != "none", f"the focus on {name} cannot be seen"
            return
    raise AssertionError(f"{name} cannot be reached")


def test_everything_can_be_done_with_the_keyboard(console: Console, visitors: Visitors) -> None:
    account = console.account(f"{ADDRESS}/32")
    page = visitors.stranger(console)
    page.goto(f"list?account={account}")
    page.keyboard.type(console.token(f"account:{account}:write"))  # the field has the focus
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=account)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    _tab_to(page, "+ Add CIDR address")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Networks")).to_be_focused()
    page.keyboard.type("8.8.8.8")
    expect(page.locator(".problems")).to_be_visible()
    _tab_to(page, "Use 8.8.8.8/32")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Networks")).to_be_focused()
    expect(page.get_by_label("Networks")).to_have_value("8.8.8.8/32")
    _tab_to(page, "Add to the list")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_be_focused()
    _tab_to(page, "Delete 8.8.8.8/32")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Deleted 8.8.8.8/32")
    _tab_to(page, "Undo")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Undid a change")
    _tab_to(page, "Edit 8.8.8.8/32")
    page.keyboard.press("Enter")
    expect(page.get_by_label("CIDR", exact=True)).to_be_focused()
    _press(page, "Control+A", "Delete")
    page.keyboard.type("8.8.8.0/24")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Changed 8.8.8.8/32 to 8.8.8.0/24")
    _tab_to(page, f"Delete {ADDRESS}/32")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name=f"Delete {ADDRESS}/32")).to_be_focused()
    assert console.cidrs(account) == ["8.8.8.0/24", f"{ADDRESS}/32"]


def test_everything_can_be_done_without_scripts(console: Console, visitors: Visitors) -> None:
    account = console.account()
    page = visitors.person(console, f"account:{account}:write", scripts=False)
    page.goto(f"list?account={account}")
    page.get_by_role("link", name="+ Add CIDR address").click()
    page.get_by_label("Networks").fill("8.8.8.8, 10.0.0.0/8")
    page.get_by_label("Label").fill("office")
    page.get_by_role("button", name="Add to the list").click()
    page.get_by_role("button", name="Use 8.8.8.8/32").click()
    page.get_by_role("button", name="Leave it out").click()
    expect(page.get_by_label("Networks")).to_have_value("8.8.8.8/32")
    expect(page.get_by_label("Label")).to_have_value("office")
    page.get_by_role("checkbox", name="Start enforcing").check()
    page.get_by_role("checkbox", name="Lock my own address out").check()
    page.get_by_role("button", name="Add to the list").click()
    expect(page.get_by_role("status")).to_contain_text("Added 8.8.8.8/32")
    page.get_by_role("row").get_by_role("link", name="Edit").click()
    page.get_by_label("CIDR", exact=True).fill("9.9.9.9")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Use 9.9.9.9/32").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 8.8.8.8/32 to 9.9.9.9/32")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 9.9.9.9/32 (office)?")).to_be_visible()
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="The list is empty")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("checkbox", name="Start enforcing").check()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("row").filter(has_text="9.9.9.9/32")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_without_scripts_somebody_elses_change_loses_nothing(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24", "1.1.1.1/32")
    page = visitors.person(console, scripts=False)
    page.goto(f"list?account={account}")
    page.get_by_role("row").filter(has_text="1.1.1.1/32").get_by_role("link", name="Edit").click()
    page.get_by_label("Label").fill("typed with care")
    console.manager.add(account, "8.8.8.0/24", actor="somebody else")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Another person or program has changed this list")
    expect(page.get_by_label("Label")).to_have_value("typed with care")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changed 1.1.1.1/32")


@pytest.mark.parametrize(("width", "height"), [(320, 256), (360, 400), (1200, 800)])
def test_nothing_covers_what_has_the_focus(console: Console, visitors: Visitors, width: int, height: int) -> None:
    """Also in a low window, which is what a window is at 400 % zoom."""
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"list?account={account}")
    page.get_by_role("link", name="+ Add CIDR address").click()
    page.get_by_label("Networks").fill("8.8.8.8, 10.0.0.0/8, 9.9.9.9/32")
    expect(page.locator(".problems li")).to_have_count(3)
    covered = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen, name = page.evaluate("""() => {
          const focused = document.activeElement, box = focused.getBoundingClientRect();
          const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
          return [focused === document.body || focused.contains(at), focused.name || focused.textContent];
        }""")
        if not seen:
            covered.append(name)
    assert covered == []
