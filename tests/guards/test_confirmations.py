"""What is not asked about, what a confirmation is good for, and what previews say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cidrgate import UnconfirmedChangeError
from cidrgate.cli.app import app as cli
from tests.guards.cases import OTHER, OWN, a_world, sequence_of

if TYPE_CHECKING:
    from collections.abc import Iterator
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
            CliRunner().invoke(cli, ["import", str(file), "--replace", *options, "-d", str(world.path)])
            assert world.everything() == before, (text, options)


def test_no_form_lets_entries_give_way_to_nothing(world: World) -> None:
    before = world.everything()
    entry = world.id_of("acct-1", OWN)
    for cidrs in ("", " ", ",\n,"):
        data = {"csrf": world.csrf, "account": "acct-1", "cidrs": cidrs, "instead": [entry], "version": 1}
        answer = world.client.post("/console/list/add", data=data)
        assert answer.status_code in (409, 422), answer.status_code
        assert world.everything() == before


def test_to_empty_what_is_empty_is_no_question(world: World) -> None:
    manager = world.manager
    assert manager.replace("acct-3", []) == []
    assert manager.restore("acct-3", at=sequence_of(world, "acct-3", 0)) == []
    assert not manager.import_accounts({"acct-3": []}, replace=True).problems
    assert CliRunner().invoke(cli, ["replace", "acct-3", "-d", str(world.path)]).exit_code == 0
    headers = {"Authorization": f"Bearer {world.token}"}
    answer = world.client.put("/v1/accounts/acct-3/entries", json={"cidrs": []}, headers=headers)
    assert (answer.status_code, answer.json()["enforced"]) == (200, False)


def test_a_confirmation_is_for_the_call_that_carries_it(world: World) -> None:
    world.manager.remove("acct-1", OWN, allow_empty=True)
    world.manager.add("acct-1", OWN)
    with pytest.raises(UnconfirmedChangeError):
        world.manager.remove("acct-1", OWN)
    with pytest.raises(ValueError, match="'yes' confirms nothing: name disable_enforcement or lock_out"):
        world.manager.supervised(confirmed=["yes"])
    with pytest.raises(TypeError, match="as a collection"):
        world.manager.supervised(confirmed="lock_out")


PREVIEWED: list[tuple[str, dict[str, Any], list[str]]] = [
    ("acct-1", {"change": "replace", "cidrs": ""}, ["disable_enforcement"]),
    ("acct-1", {"change": "replace", "cidrs": []}, ["disable_enforcement"]),
    ("acct-1", {"change": "remove", "entries": [1]}, ["disable_enforcement"]),
    ("acct-1", {"change": "restore", "sequence": 4}, ["disable_enforcement"]),
    ("acct-2", {"change": "remove", "entries": [3]}, ["lock_out"]),
    ("acct-2", {"change": "edit", "entry": 3, "cidr": "7.7.7.0/24"}, ["lock_out"]),
    ("acct-3", {"change": "add", "cidrs": OTHER}, ["lock_out"]),
    ("acct-3", {"change": "add", "cidrs": OWN}, []),
    ("acct-3", {"change": "replace", "cidrs": ""}, []),
    ("acct-2", {"change": "remove", "entries": [2]}, []),
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
