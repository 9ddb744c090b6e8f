"""What is not asked about, what a confirmation is good for, and what previews say of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from threading import Barrier
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest

from cidrgate import EntryNotFoundError, NewEntry, RuleError, RuleManager, UnconfirmedChangeError
from cidrgate.errors import (
    Confirmation,
    WouldAddWideEntryError,
    WouldDisableEnforcementError,
    WouldLockOutCallerError,
    WouldUseOtherListError,
)
from cidrgate.manager import Guard
from tests.command_line import typed
from tests.guards.cases import OTHER, OWN, a_world, sequence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.guards.cases import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path / "lists.db") as world:
        yield world


def test_no_file_empties_a_list(world: World) -> None:
    """A row without a network is refused, and an account that no row names is left alone."""
    before = world.everything()
    file = world.path.with_name("lists.csv")
    for text in ("account,cidr\nacct-1,\n", "account,cidr\nacct-1,,\n", "account,cidr\n", 'account,cidr\nacct-1,""\n'):
        file.write_text(text)
        for options in ([], ["--strict"], ["--no-create"]):
            typed(["import", str(file), "--replace", *options, "-d", str(world.path)])
            assert world.everything() == before, (text, options)


def test_no_form_lets_entries_give_way_to_nothing(world: World) -> None:
    before = world.everything()
    entry = world.id_of("acct-1", OWN)
    for cidrs in ("", " ", ",\n,"):
        data = {"csrf": world.csrf, "account": "acct-1", "cidrs": cidrs, "replaces": [entry], "version": 1}
        answer = world.client.post("/console/list/add", data=data)
        assert answer.status_code in (409, 422), answer.status_code
        assert world.everything() == before


def test_no_form_lets_an_entry_give_way_to_a_network_that_does_not_cover_it(world: World) -> None:
    entry = world.id_of("acct-2", OWN)
    data = {"csrf": world.csrf, "account": "acct-2", "cidrs": "7.7.7.0/24", "replaces": [entry], "version": 2}
    assert world.client.post("/console/list/add", data=data).status_code == 303
    assert [one.cidr for one in world.manager.entries("acct-2")] == ["7.7.7.0/24", OWN, OTHER]


def test_to_empty_what_is_empty_is_no_question(world: World) -> None:
    manager = world.manager
    assert manager.replace("acct-3", []).entries == ()
    assert manager.restore("acct-3", to_sequence=sequence_of(world, "acct-3", 0)).entries == ()
    assert not manager.import_accounts({"acct-3": []}, replace=True).problems
    assert typed(["replace", "acct-3", "-d", str(world.path)]).exit_code == 0
    headers = {"Authorization": f"Bearer {world.token}"}
    answer = world.client.put("/v1/accounts/acct-3/entries", json={"entries": []}, headers=headers)
    assert (answer.status_code, answer.json()["enforced"]) == (200, False)


def test_a_confirmation_is_for_the_call_that_carries_it(world: World) -> None:
    world.manager.remove("acct-1", OWN, allow_empty=True)
    world.manager.add("acct-1", OWN)
    with pytest.raises(UnconfirmedChangeError):
        world.manager.remove("acct-1", OWN)
    with pytest.raises(ValueError, match="'yes' confirms nothing: name disable_enforcement or lock_out"):
        world.manager.with_hooks(confirmed=["yes"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="as a collection"):
        world.manager.with_hooks(confirmed="lock_out")  # type: ignore[arg-type]


def test_who_runs_the_service_is_asked_about_enforcement_and_not_about_an_own_address(world: World) -> None:
    """In lists of customers. With a token for the list itself, the same form asks."""
    entry, version = world.id_of("acct-2", OWN), world.manager.account("acct-2").version
    data = {"account": "acct-2", "entry": entry, "version": version}
    asked = world.customer.post("/console/list/remove", data={**data, "csrf": world.customer_csrf})
    assert (asked.status_code, "Lock my own address out" in asked.text) == (409, True)
    assert world.client.post("/console/list/remove", data={**data, "csrf": world.csrf}).status_code == 303
    data |= {"entry": world.id_of("acct-2", OTHER), "version": version + 1, "csrf": world.csrf}
    asked = world.client.post("/console/list/remove", data=data)
    assert (asked.status_code, "Stop enforcing" in asked.text, "own address" in asked.text) == (409, True, False)


PREVIEWED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("acct-1", {"change": "replace", "cidrs": ""}, ["disable_enforcement"]),
    ("acct-1", {"change": "replace", "entries": []}, ["disable_enforcement"]),
    ("acct-1", {"change": "remove", "entry_ids": [1]}, ["disable_enforcement"]),
    ("acct-1", {"change": "restore", "to_sequence": 4}, ["disable_enforcement"]),
    ("acct-2", {"change": "remove", "entry_ids": [3]}, ["lock_out"]),
    ("acct-2", {"change": "edit", "entry_id": 3, "cidr": "7.7.7.0/24"}, ["lock_out"]),
    ("acct-3", {"change": "add", "cidrs": OTHER}, ["lock_out"]),
    ("acct-3", {"change": "add", "cidrs": OWN}, []),
    ("acct-3", {"change": "replace", "cidrs": ""}, []),
    ("acct-2", {"change": "remove", "entry_ids": [2]}, []),
]


@pytest.mark.parametrize(("account", "change", "needed"), PREVIEWED)
def test_a_preview_says_what_a_change_needs_and_makes_nothing(
    world: World, account: str, change: dict[str, Any], needed: list[str]
) -> None:
    before = world.everything()
    headers = {"Authorization": f"Bearer {world.token}"}
    seen = world.client.post(f"/v1/accounts/{account}/preview", json=change, headers=headers).json()
    assert (seen["ok"], seen["confirm"]) == (True, needed)
    assert seen["enforcement_ends"] == ("disable_enforcement" in needed)
    assert seen["caller"]["would_lock_out"] == ("lock_out" in needed)
    assert world.everything() == before


def refused(manager: RuleManager, account: str, cidr: str, together: Barrier) -> bool:
    """Whether a guard keeps an entry from being removed, while somebody else removes another."""
    together.wait(30)
    try:
        manager.remove(account, cidr)
    except UnconfirmedChangeError:
        return True
    return False


def test_two_who_each_remove_an_entry_never_remove_the_last_together(shared_store_url: str) -> None:
    """The guard is judged on the list that the change really meets."""
    with RuleManager.open(shared_store_url, load=False) as one, RuleManager.open(shared_store_url, load=False) as two:
        for turn in range(10):
            account, together = f"acct-{turn}", Barrier(2)
            one.create_account(account)
            one.add(account, [OWN, OTHER])
            with ThreadPoolExecutor(2) as pool:
                made = [
                    pool.submit(refused, *asked, together) for asked in ((one, account, OWN), (two, account, OTHER))
                ]
                assert sorted(future.result() for future in made) == [False, True]
            assert len(one.entries(account)) == 1


def test_nothing_is_no_submission(world: World) -> None:
    """At every edge; only a replacement can be by nothing, and that has a guard."""
    before = world.everything()
    manager = world.manager
    headers = {"Authorization": f"Bearer {world.token}"}
    for nothing in ("", " , ", "\n"):
        with pytest.raises(RuleError, match="invalid_format"):
            manager.add("acct-1", nothing)
        with pytest.raises(RuleError, match="invalid_format"):
            manager.edit("acct-1", OWN, nothing)
        with pytest.raises(EntryNotFoundError, match="no entry of account 'acct-1' was named"):
            manager.remove("acct-1", nothing)
        problems = manager.import_accounts({"acct-1": [NewEntry(nothing)]}).problems
        assert problems.keys() == {"acct-1"}
        for command, status in (
            (["add", "acct-1", nothing], 3),
            (["edit", "acct-1", OWN, nothing], 3),
            (["remove", "acct-1", nothing], 4),
        ):
            assert typed([*command, "-d", str(world.path)]).exit_code == status, command
        entries = "/v1/accounts/acct-1/entries"
        for method, path, body in (
            ("POST", entries, {"cidrs": nothing}),
            ("PATCH", f"{entries}/{world.id_of('acct-1', OWN)}", {"cidr": nothing}),
        ):
            assert world.client.request(method, path, json=body, headers=headers).status_code == 422
        form = {"csrf": world.csrf, "account": "acct-1", "cidrs": nothing, "cidr": nothing, "version": 1, "entry": 1}
        for page in ("add", "edit"):
            assert world.client.post(f"/console/list/{page}", data=form).status_code == 422, (page, nothing)
        assert world.everything() == before


def test_a_token_ends_when_the_form_says_or_is_not_made(world: World) -> None:
    before = world.everything()
    for ends in ("soon", "-1", "0", "30d", "Never"):
        form = {"csrf": world.csrf, "name": "new", "may": "admin", "ends": ends}
        answer = world.client.post("/console/tokens/new", data=form)
        assert answer.status_code == 422, ends
        assert "Choose when it expires." in answer.text
        assert world.everything() == before


def test_each_guard_has_a_name_for_type_checkers() -> None:
    assert get_args(Confirmation) == tuple(Guard)


RENAMES: dict[str, tuple[dict[str, Any], list[Confirmation]]] = {
    "a new name": ({"name": "new"}, ["disable_enforcement"]),
    "a new name, with its own list": ({"name": "new", "parent": None}, ["disable_enforcement"]),
    "another parent": ({"parent": "acct-2"}, ["other_list"]),
    "a new name and another parent": ({"name": "new", "parent": "acct-2"}, ["disable_enforcement", "other_list"]),
}


@pytest.mark.parametrize("edit", RENAMES)
def test_a_refused_edit_names_the_account_that_exists_and_every_guard(edit: str) -> None:
    arguments, guards = RENAMES[edit]
    with RuleManager.open("memory://") as manager:
        for account, cidr in (("acct-1", "8.8.8.0/24"), ("acct-2", "9.9.9.0/24")):
            manager.create_account(account)
            manager.add(account, cidr)
        manager.create_account("sub-1", parent="acct-1")
        for confirmed in subsets(guards):
            with pytest.raises(UnconfirmedChangeError) as caught:
                manager.edit_account("sub-1", **arguments, confirmed=confirmed)
            error = caught.value
            assert error.account == "sub-1"
            assert manager.account(error.account).name == "sub-1"
            assert sorted(error.confirm) == guards
            assert error.way == f"pass confirmed={{{', '.join(map(repr, error.confirm))}}}"
            assert error.way in str(error)
            assert "'new'" not in str(error)
        assert manager.edit_account("sub-1", **arguments, confirmed=error.confirm)


def subsets(guards: list[Confirmation]) -> Iterator[list[Confirmation]]:
    """Yield every choice of guards that leaves one out."""
    for size in range(len(guards)):
        yield from map(list, combinations(guards, size))


ERRORS: dict[str, Callable[[list[Confirmation]], UnconfirmedChangeError]] = {
    "disable_enforcement": lambda confirm: WouldDisableEnforcementError(account="a", confirm=confirm),
    "lock_out": lambda confirm: WouldLockOutCallerError(account="a", address="8.8.8.8", confirm=confirm),
    "other_list": lambda confirm: WouldUseOtherListError(account="a", consequence="…", confirm=confirm),
    "wide_entry": lambda confirm: WouldAddWideEntryError(account="a", networks=[], consequence="…", confirm=confirm),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_names_every_guard_that_the_change_meets(kind: str) -> None:
    assert set(ERRORS) == set(Guard)
    for other in get_args(Confirmation):
        if other != kind:
            told = str(ERRORS[kind]([cast("Confirmation", kind), other]))
            assert f"pass confirmed={{'{kind}', '{other}'}} if that is wanted" in told
