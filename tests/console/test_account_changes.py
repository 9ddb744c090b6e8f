"""Renaming, moving and deleting accounts in the console, and what must be confirmed before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from cidrgate import AccountNotFoundError
from tests.observed import store_observed

if TYPE_CHECKING:
    from tests.console.a_console import Console, Visitors


def test_an_account_gets_a_name_for_people(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console)
    page.goto(f"list?account={account}")
    page.get_by_role("link", name="Edit account").click()
    page.get_by_label("Display name").fill("Müller & Söhne")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Müller & Söhne")).to_be_visible()
    assert console.manager.account(account).display_name == "Müller & Söhne"
    page.goto(f"accounts?q={account}")
    expect(page.get_by_role("row").filter(has_text=account).first).to_contain_text("Müller & Söhne")
    page.get_by_role("link", name=account, exact=True).click()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("listitem").first).to_contain_text("Changed the display name from none to Müller & Söhne")


def test_a_rename_of_an_enforced_account_is_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    other = console.account()
    page = visitors.person(console)
    page.goto(f"accounts/edit?account={account}")
    page.get_by_label("Name", exact=True).fill(other)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text(f"There is already an account “{other}”.")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_label("Name", exact=True).fill(f"{account}-new")
    page.get_by_role("button", name="Save").click()
    confirm = page.get_by_role("group", name="Please confirm")
    expect(confirm).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_have_value(f"{account}-new")
    confirm.get_by_role("checkbox").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=f"{account}-new")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("listitem").first).to_contain_text(f"Changed the account from {account} to {account}-new")
    expect(page.get_by_role("listitem").first.get_by_role("link", name="Undo this change")).to_have_count(0)
    assert console.cidrs(f"{account}-new") == ["9.9.9.0/24"]


def test_an_account_that_moves_says_what_it_does(console: Console, visitors: Visitors) -> None:
    parent, account = console.account("9.9.9.0/24"), console.account("1.1.1.1/32")
    page = visitors.person(console)
    page.goto(f"accounts/edit?account={account}")
    page.get_by_label("Parent").fill("nobody")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no account “nobody” that could be the parent.")
    page.get_by_label("Parent").fill(parent)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("checkbox", name="Let another list decide").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("This is a subaccount: it inherits the list of")).to_be_visible()
    assert console.manager.account(account).parent == parent


def test_a_move_says_who_called_and_would_be_denied(console: Console, visitors: Visitors) -> None:
    parent, account = console.account("9.9.9.0/24"), console.account("1.1.1.0/24")
    store_observed(console.manager, (account, "1.1.1.1/32", 12), (account, "9.9.9.9/32", 3))
    page = visitors.person(console)
    page.goto(f"accounts/edit?account={account}")
    page.get_by_label("Parent").fill(parent)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".foresight.loss")).to_contain_text("1 address with 12 requests would be denied: 1.1.1.1")
    expect(page.locator(".foresight.info")).to_contain_text("1 address with 3 requests would be allowed")
    assert console.manager.account(account).parent is None
    for box in page.get_by_role("group", name="Please confirm").get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("This is a subaccount")).to_be_visible()
    assert console.manager.account(account).parent == parent


def test_a_renaming_says_who_calls_with_the_old_name(console: Console, visitors: Visitors) -> None:
    account = console.account("1.1.1.0/24")
    store_observed(console.manager, (account, "1.1.1.1/32", 12))
    page = visitors.person(console)
    page.goto(f"accounts/edit?account={account}")
    page.get_by_label("Name", exact=True).fill(f"{account}-new")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".foresight.loss")).to_contain_text(
        "would be denied by gates that deny unknown accounts: 1.1.1.1"
    )
    expect(page.get_by_role("main")).not_to_contain_text("as it is now")
    for box in page.get_by_role("group", name="Please confirm").get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=f"{account}-new")).to_be_visible()


def test_a_deletion_says_who_called(console: Console, visitors: Visitors) -> None:
    account = console.account("1.1.1.0/24")
    store_observed(console.manager, (account, "1.1.1.1/32", 12))
    page = visitors.person(console)
    page.goto(f"accounts/delete?account={account}")
    expect(page.locator(".foresight.loss")).to_contain_text(
        "would be denied by gates that deny unknown accounts: 1.1.1.1"
    )


def test_a_deletion_says_that_nothing_is_known_of_an_account(console: Console, visitors: Visitors) -> None:
    account, other = console.account("1.1.1.0/24"), console.account("9.9.9.0/24")
    store_observed(console.manager, (other, "9.9.9.9/32", 12))
    page = visitors.person(console)
    page.goto(f"accounts/delete?account={account}")
    said = page.locator(".hint.foresight")
    expect(said.first).to_contain_text(f"no request for account '{account}' was observed")
    expect(said.last).to_contain_text("their setting for unknown accounts (unlisted) says it")


def test_an_account_is_deleted_only_when_confirmed(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.create_account(f"{account}-sub", parent=account)
    page = visitors.person(console)
    page.goto(f"accounts/edit?account={account}")
    page.get_by_role("link", name="Delete the account").click()
    expect(page.get_by_role("main")).to_contain_text("Its 1 entry goes with it.")
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_role("heading", name=account)).to_be_visible()
    page.goto(f"accounts/delete?account={account}")
    for box in page.get_by_role("checkbox").all():
        expect(box).to_have_attribute("required", "")
        box.check()
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_role("status")).to_contain_text(f"The account {account} was deleted.")
    for name in (account, f"{account}-sub"):
        with pytest.raises(AccountNotFoundError):
            console.manager.account(name)


def test_a_form_that_lacks_a_confirmation_deletes_nothing(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    console.manager.create_account(f"{account}-sub", parent=account)
    page = visitors.person(console)
    page.goto(f"accounts/delete?account={account}")
    csrf = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    version = console.manager.account(account).version
    form: dict[str, str | float | bool] = {"csrf": csrf, "account": account, "version": str(version)}
    refused = page.request.post("accounts/delete", form={**form, "confirm": "disable_enforcement"})
    assert (refused.status, "The account has subaccounts" in refused.text()) == (409, True)
    refused = page.request.post("accounts/delete", form={**form, "recursive": "yes"})
    assert (refused.status, "Please confirm" in refused.text()) == (409, True)
    refused = page.request.post("accounts/delete", form={**form, "version": "77", "confirm": "disable_enforcement"})
    assert refused.status == 409
    assert console.cidrs(account) == ["9.9.9.0/24"]


@pytest.mark.parametrize("meanwhile", ["created", "moved", "renamed"])
def test_subaccounts_that_the_page_did_not_show_stay(console: Console, visitors: Visitors, meanwhile: str) -> None:
    account, other = console.account(), console.account()
    console.manager.create_account(f"{account}-shown", parent=account)
    page = visitors.person(console)
    page.goto(f"accounts/delete?account={account}")
    page.get_by_role("checkbox").check()
    if meanwhile == "created":
        console.manager.create_account(f"{account}-late", parent=account)
    elif meanwhile == "moved":
        console.manager.edit_account(other, parent=account)
    else:
        console.manager.rename_account(f"{account}-shown", f"{account}-late")
    before = [one.name for one in console.manager.accounts(parent=account)]
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_role("alert")).to_contain_text("Another person or program has changed the subaccounts.")
    assert [one.name for one in console.manager.accounts(parent=account)] == before
    # The new list was not agreed to yet.
    expect(page.get_by_role("checkbox")).not_to_be_checked()
    expect(page.get_by_role("main")).to_contain_text(f"Delete its subaccounts too: {', '.join(before)}.")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_role("status")).to_contain_text(f"The account {account} was deleted.")
    assert console.manager.accounts(parent=account) == []


def test_subaccounts_that_a_confirmation_first_shows_are_not_agreed_to(console: Console, visitors: Visitors) -> None:
    account = console.account()
    console.manager.create_account(f"{account}-shown", parent=account)
    page = visitors.person(console)
    page.goto(f"accounts/delete?account={account}")
    page.get_by_role("checkbox").check()
    form: dict[str, str | float | bool] = {
        name: page.locator(f"input[name={name}]").last.input_value() for name in ("csrf", "shown")
    }
    console.manager.add(account, "9.9.9.0/24")
    form |= {"account": account, "recursive": "yes", "version": str(console.manager.account(account).version)}
    agreed = 'name="recursive" value="yes" required checked'
    refused = page.request.post("accounts/delete", form=form)
    assert ("Please confirm" in refused.text(), agreed in refused.text()) == (True, True)
    console.manager.create_account(f"{account}-late", parent=account)
    refused = page.request.post("accounts/delete", form=form)
    assert ("Please confirm" in refused.text(), agreed in refused.text()) == (True, False)
    [shown_for] = re.findall(r'name="shown_for" value="(\w+)"', refused.text())
    form |= {"confirm": "disable_enforcement", "shown_for": shown_for}
    refused = page.request.post("accounts/delete", form=form)
    assert (refused.status, "has changed the subaccounts" in refused.text()) == (409, True)
    assert len(console.manager.accounts(parent=account)) == 2


def test_only_people_who_run_the_service_change_accounts(console: Console, visitors: Visitors) -> None:
    account = console.account("9.9.9.0/24")
    page = visitors.person(console, f"account:{account}:write")
    page.goto(f"list?account={account}")
    expect(page.get_by_role("link", name="Edit account")).to_have_count(0)
    for path in ("accounts/edit", "accounts/delete"):
        response = page.goto(f"{path}?account={account}")
        assert response is not None
        assert response.status == 403
