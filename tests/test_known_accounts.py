"""The matcher knows every account of the store, with or without entries, however it learnt of it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cidrgate import Matcher, NewEntry, RuleManager
from tests.length import length
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [f"acct-{number}" for number in range(6)]
CIDRS = ["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"]

names = st.sampled_from(NAMES)
lists = st.lists(st.sampled_from(CIDRS), max_size=2, unique=True)


def known(manager: RuleManager) -> set[str]:
    """The names that the matcher knows; fails where it knows others than those that may be there."""
    found = {name for name in [*NAMES, "stranger"] if name in manager.matcher}
    assert len(manager.matcher) == len(found)
    return found


def stored(manager: RuleManager) -> set[str]:
    return {account.name for account in manager.accounts()}


class KnownAccounts(RuleBasedStateMachine):
    """Two managers on one file, opened again and again, from the store or from a snapshot of any age."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "lists.db"
        self.snapshot = self.folder / "lists.snapshot"

    @initialize()
    def open(self) -> None:
        self.served = RuleManager.open(self.path, create=True, follow=False)
        self.other = RuleManager.open(self.path, load=False)

    def teardown(self) -> None:
        for manager in (self.served, self.other):
            manager.close()
        shutil.rmtree(self.folder)

    @property
    def parents(self) -> dict[str, str | None]:
        return {account.name: account.parent for account in self.other.accounts()}

    def by(self, here: bool) -> RuleManager:
        return self.served if here else self.other

    @rule(name=names, here=st.booleans(), parent=st.none() | names)
    def create(self, name: str, here: bool, parent: str | None) -> None:
        parents = self.parents
        if name not in parents and (parent is None or parents.get(parent, name) is None):
            self.by(here).create_account(name, parent=parent)

    @rule(name=names, here=st.booleans(), cidrs=lists)
    def replace(self, name: str, here: bool, cidrs: list[str]) -> None:
        if self.parents.get(name, name) is None:
            self.by(here).replace(name, cidrs, allow_empty=True)

    @rule(here=st.booleans(), imported=st.dictionaries(names, lists, max_size=4))
    def import_lists(self, here: bool, imported: dict[str, list[str]]) -> None:
        pieces = {name: [NewEntry(cidr) for cidr in cidrs] for name, cidrs in imported.items()}
        self.by(here).import_accounts(pieces, replace=True, allow_empty=True)

    @rule(name=names, data=st.data(), here=st.booleans())
    def restore(self, name: str, data: st.DataObject, here: bool) -> None:
        if self.parents.get(name, name) is None:
            change = data.draw(st.sampled_from(self.other.history(name)))
            self.by(here).restore(name, to_sequence=change.sequence, allow_empty=True)

    @rule()
    def compile(self) -> None:
        self.served.save_snapshot(self.snapshot)

    @rule()
    def restart(self) -> None:
        self.served.close()
        self.served = RuleManager.open(self.path, follow=False)

    @precondition(lambda self: self.snapshot.exists())
    @rule()
    def restart_from_the_snapshot(self) -> None:
        self.served.close()
        self.served = RuleManager.open(self.path, follow=False, snapshot=self.snapshot)

    @invariant()
    def the_matcher_knows_the_accounts_of_the_store(self) -> None:
        self.served._replica.published.catch_up()
        assert known(self.served) == stored(self.other)
        for name, parent in self.parents.items():
            listed = bool(self.other.entries(parent or name))
            assert self.served.matcher.enforced(name) == listed
            assert self.served.matcher.allows_known(name, "7.7.7.7") is not listed
        assert not self.served.matcher.allows_known("stranger", "8.8.8.8")


TestKnownAccounts = KnownAccounts.TestCase
TestKnownAccounts.settings = settings(stateful_step_count=25, max_examples=length(15, 30))


def test_accounts_of_other_processes_become_known(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url) as follower, RuleManager.open(shared_store_url, load=False) as other:
        other.create_account("acct-0")
        other.create_account("acct-1", parent="acct-0")
        other.import_accounts({"acct-2": [], "acct-3": [NewEntry(CIDRS[0])]})
        eventually(lambda: known(follower) == {"acct-0", "acct-1", "acct-2", "acct-3"})
    with RuleManager.open(shared_store_url) as again:
        assert known(again) == {"acct-0", "acct-1", "acct-2", "acct-3"}


def test_a_list_that_ends_leaves_its_account_known(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url) as manager:
        manager.create_account("acct-0")
        manager.add("acct-0", CIDRS[0])
        manager.remove("acct-0", CIDRS[0], allow_empty=True)
        assert manager.matcher.allows_known("acct-0", "7.7.7.7")
        assert not manager.matcher.allows_enforced("acct-0", "8.8.8.8")


def in_a_child(ask: Callable[[], object]) -> object:
    """What a function returns in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as answer:  # noqa: PTH123
        told = answer.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else None


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_knows_what_its_parent_does_and_what_comes(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, follow=False) as manager:
        manager.create_account("acct-0")

        def asked() -> object:
            manager.create_account("acct-1")
            return sorted(known(manager))

        assert in_a_child(asked) == ["acct-0", "acct-1"]
        manager._replica.published.catch_up()
        assert known(manager) == {"acct-0", "acct-1"}


def test_a_snapshot_of_an_earlier_version_makes_no_account_unknown(
    shared_store_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds accounts with entries only."""
    snapshot = tmp_path / "lists.snapshot"
    with RuleManager.open(shared_store_url, follow=False) as manager:
        manager.create_account("acct-0")
        manager.create_account("acct-1")
        manager.add("acct-1", CIDRS[0])
        manager.save_snapshot(snapshot)
    new = Matcher.open(snapshot)
    old = Matcher()
    old.publish("acct-1", new.prefixes("acct-1"))
    note = json.loads(new.note)
    del note["content"]
    old.save(snapshot, note=json.dumps(note).encode())
    with (
        caplog.at_level(logging.WARNING, "cidrgate"),
        RuleManager.open(shared_store_url, follow=False, snapshot=snapshot) as manager,
    ):
        assert known(manager) == {"acct-0", "acct-1"}
    assert "accounts without entries" in caplog.text
