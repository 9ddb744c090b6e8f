"""Random sequences of operations against a slow model: store, log and matcher equal it after every step."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cidrgate import (
    AccountExistsError,
    EntryEdit,
    EntryNotFoundError,
    NewEntry,
    Policy,
    RuleError,
    RuleManager,
    SubaccountError,
    UndoConflictError,
    WouldDisableEnforcementError,
)
from tests.change_log import Replay, assert_consistent
from tests.entry_details import all_details, some_details
from tests.golden_rules import PERMISSIVE, golden_validate, policies
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres import PostgresServer

MAX_ENTRIES = 5

# Few networks, so that they meet: nested, adjacent, in several spellings, special, and no networks at all.
texts = st.sampled_from(
    [
        "8.8.0.0/16",
        "8.8.8.0/24",
        "8.8.8.0/25",
        "8.8.8.128/25",
        "8.8.8.8/32",
        "::ffff:8.8.8.0/120",
        "1.1.1.1/32",
        "1.1.1.0/24",
        "9.9.9.9/32",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "127.0.0.1/32",
        "100.64.0.0/11",
        "2606:4700::/32",
        "2606:4700:0:0::/32",
        "2606:4700:4700::1111/128",
        "2606:4700:4700::/48",
        "2A00::/16",
        "2001:db8::/32",
        "fe80::/10",
        "::/0",
        "8.8.8.8",
        "8.8.8.1/24",
        "8.8.8.0/33",
        "x",
    ]
)
submissions = st.lists(texts, min_size=1, max_size=4)
actors = st.sampled_from([None, "me", "you"])
addresses = st.sampled_from(["8.8.8.8", "8.8.8.200", "8.8.9.9", "1.1.1.1", "10.1.2.3", "2606:4700::1", "fe80::1"])


class ManagerMachine(RuleBasedStateMachine):
    """Drives a manager and the model side by side. The model: each account's networks with their details."""

    accounts: Bundle[str] = Bundle("accounts")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.model: dict[str, dict[str, dict[str, Any]]] = {}
        self.past: list[tuple[int, str, dict[str, dict[str, Any]]]] = []
        self.parents: dict[str, str] = {}
        self.replay = Replay(MAX_ENTRIES)

    @initialize(target=accounts, policy=policies)
    def open(self, policy: Policy) -> MultipleResults[str]:
        self.policy = dataclasses.replace(policy, max_entries=MAX_ENTRIES)
        self.store = self.new_store()
        self.manager = RuleManager.open(self.store, policy=self.policy, create=True)
        for name in ("acct-1", "acct-2"):
            self.manager.create_account(name)
            self.model[name] = {}
        self.manager.create_account("sub-1", parent="acct-1")
        self.parents["sub-1"] = "acct-1"
        return multiple("acct-1", "acct-1", "acct-2", "sub-1")

    def new_store(self) -> str:
        return "memory://"

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.manager.close()
        shutil.rmtree(self.directory)

    def validate(self, pieces: list[str], existing: list[str]) -> tuple[set[object], list[str]]:
        problems, canonical = golden_validate(pieces, existing, self.policy)
        return set(problems), list(canonical)

    def refused(self, account: str, change: Callable[[], object]) -> bool:
        """Whether the account's list cannot be managed, in which case the change was tried and refused."""
        if account not in self.parents:
            return False
        with pytest.raises(SubaccountError):
            change()
        return True

    def expect_problems(self, problems: set[object], change: Callable[[], object]) -> None:
        with pytest.raises(RuleError) as error:
            change()
        found = {(problem.code, problem.position, frozenset(problem.conflicts)) for problem in error.value.problems}
        assert found == problems

    @rule(target=accounts, name=st.sampled_from(["acct-1", "acct-2", "acct-3", "sub-2"]), actor=actors)
    def create_account(self, name: str, actor: str | None) -> MultipleResults[str] | str:
        if name in self.model or name in self.parents:
            with pytest.raises(AccountExistsError):
                self.manager.create_account(name)
            return multiple()
        self.manager.create_account(name, actor=actor)
        self.model[name] = {}
        return name

    @rule(target=accounts, name=st.sampled_from(["acct-3", "sub-2", "sub-3"]), parent=accounts)
    def create_subaccount(self, name: str, parent: str) -> MultipleResults[str] | str:
        if parent in self.parents:
            with pytest.raises(SubaccountError):
                self.manager.create_account(name, parent=parent)
            return multiple()
        if name in self.model or name in self.parents:
            with pytest.raises(AccountExistsError):
                self.manager.create_account(name, parent=parent)
            return multiple()
        self.manager.create_account(name, parent=parent)
        self.parents[name] = parent
        return name

    @rule(account=accounts, pieces=submissions, said=all_details, actor=actors)
    def add(self, account: str, pieces: list[str], said: dict[str, Any], actor: str | None) -> None:
        def change() -> list[str]:
            added = self.manager.add(account, ", ".join(pieces), actor=actor, **said)
            return [entry.cidr for entry in added.after]

        if self.refused(account, change):
            return
        problems, canonical = self.validate(pieces, list(self.model[account]))
        if problems:
            self.expect_problems(problems, change)
            return
        assert change() == canonical
        self.model[account] |= dict.fromkeys(canonical, said)

    @rule(
        account=accounts,
        pieces=st.one_of(st.just([]), submissions),
        said=some_details,
        bulk=st.booleans(),
        empty=st.booleans(),
    )
    def replace(self, account: str, pieces: list[str], said: dict[str, Any], bulk: bool, empty: bool) -> None:
        def change() -> object:
            if not bulk:
                return self.manager.replace(account, pieces, allow_empty=empty, **said)
            lists = {account: [NewEntry(piece, **said) for piece in pieces]}
            report = self.manager.import_accounts(lists, replace=True, allow_empty=empty)
            for problem in report.problems.values():
                raise problem
            return None

        if self.refused(account, change):
            return
        problems, canonical = self.validate(pieces, []) if pieces else (set(), [])
        if problems:
            self.expect_problems(problems, change)
            return
        if not empty and self.model[account] and not canonical:
            self.expect_guard(change)
            return
        change()
        old = self.model[account]
        unset = dict(NewEntry("").details())
        self.model[account] = {cidr: old.get(cidr, unset) | said for cidr in canonical}

    @rule(account=accounts, pieces=submissions, said=all_details)
    def import_list(self, account: str, pieces: list[str], said: dict[str, Any]) -> None:
        def change() -> None:
            report = self.manager.import_accounts({account: [NewEntry(piece, **said) for piece in pieces]})
            for problem in report.problems.values():
                raise problem

        if self.refused(account, change):
            return
        problems, canonical = self.validate(pieces, list(self.model[account]))
        if problems:
            self.expect_problems(problems, change)
            return
        change()
        self.model[account] |= dict.fromkeys(canonical, said)

    def expect_guard(self, change: Callable[[], object]) -> None:
        """A change that would end enforcement is refused, and changes nothing, unless that was said."""
        before = self.manager.history()
        with pytest.raises(WouldDisableEnforcementError, match="allow_empty=True"):
            change()
        assert self.manager.history() == before

    def choose(self, data: st.DataObject, account: str) -> tuple[int | str, str | None]:
        """How an entry is named, and the CIDR of the entry that is meant, None where it is not listed."""
        owner = self.parents.get(account, account)
        entries = self.manager.entries(owner)
        keys = [(key, entry.cidr) for entry in entries for key in (entry.id, entry.cidr)]
        if data.draw(st.booleans()) and keys:
            return data.draw(st.sampled_from(keys))
        text = data.draw(texts)
        problems, canonical = golden_validate([text], [], PERMISSIVE)
        cidr = None if problems else next(iter(canonical))
        return text, cidr if cidr in self.model[owner] else None

    @rule(account=accounts, data=st.data(), text=st.none() | texts, said=some_details)
    def edit(
        self,
        account: str,
        data: st.DataObject,
        text: str | None,
        said: dict[str, Any],
    ) -> None:
        which, meant = self.choose(data, account)

        def change() -> object:
            return self.manager.edit(account, which, EntryEdit(cidr=... if text is None else text, **said))

        if self.refused(account, change):
            return
        listed = self.model[account]
        if meant is None:
            with pytest.raises(EntryNotFoundError):
                change()
            return
        cidr = meant
        if text is not None:
            problems, canonical = self.validate([text], [other for other in listed if other != meant])
            if problems:
                self.expect_problems(problems, change)
                return
            [cidr] = canonical
        change()
        listed[cidr] = listed.pop(meant) | said

    @rule(account=accounts, data=st.data(), several=st.booleans(), empty=st.booleans())
    def remove(self, account: str, data: st.DataObject, several: bool, empty: bool) -> None:
        chosen = [self.choose(data, account) for _ in range(2 if several else 1)]

        def change() -> object:
            return self.manager.remove(account, *(which for which, _ in chosen), allow_empty=empty)

        if self.refused(account, change):
            return
        if any(meant is None for _, meant in chosen):
            with pytest.raises(EntryNotFoundError):
                change()
            return
        if not empty and self.model[account].keys() == {meant for _, meant in chosen}:
            self.expect_guard(change)
            return
        change()
        for _, meant in chosen:
            assert meant is not None
            self.model[account].pop(meant, None)

    @rule(account=accounts)
    def remember(self, account: str) -> None:
        if account not in self.parents:
            self.past.append((self.manager.history()[0].sequence, account, dict(self.model[account])))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        sequence, account, listed = data.draw(st.sampled_from(self.past))
        self.manager.restore(account, to_sequence=sequence, allow_empty=True)
        self.model[account] = dict(listed)

    @rule(account=accounts, data=st.data())
    def undo(self, account: str, data: st.DataObject) -> None:
        """A change is undone exactly where the model says that the list still allows it."""
        owner = self.parents.get(account, account)
        change = data.draw(st.sampled_from(self.manager.history(owner)))

        def undo() -> object:
            return self.manager.undo(account, change.sequence, allow_empty=True)

        if self.refused(account, undo):
            return
        listed = self.model[account]
        removed, added = (
            {entry.cidr: dict(NewEntry.of(entry).details()) for entry in entries}
            for entries in (change.before, change.after)
        )
        if not (removed or added) or any(listed.get(cidr) != said for cidr, said in added.items()):
            with pytest.raises(UndoConflictError):
                undo()
            return
        staying = {cidr: said for cidr, said in listed.items() if cidr not in added}
        # What only gets its details back was never checked, and need not be: the rules may have been others.
        coming = [cidr for cidr in removed if cidr not in added]
        staying |= {cidr: said for cidr, said in removed.items() if cidr in added}
        problems, _ = self.validate(coming, list(staying))
        if problems:
            with pytest.raises(RuleError):
                undo()
            return
        undo()
        self.model[account] = staying | {cidr: removed[cidr] for cidr in coming}

    @rule()
    def load_again(self) -> None:
        self.manager.load()

    @rule(account=accounts, address=addresses)
    def explain(self, account: str, address: str) -> None:
        assert self.manager.explain(account, address).allowed == self.manager.allows(account, address)

    @invariant()
    def store_matcher_and_log_equal_the_model(self) -> None:
        if not hasattr(self, "manager"):
            return
        for account, listed in self.model.items():
            entries = self.manager.entries(account)
            assert {entry.cidr: NewEntry.of(entry).details() for entry in entries} == listed
        assert {account.name: account.parent for account in self.manager.accounts() if account.parent} == self.parents
        assert_consistent(self.manager, self.replay)


class KeptManagerMachine(ManagerMachine):
    """The same on a store that is opened again now and then."""

    @rule()
    def open_again(self) -> None:
        self.manager.close()
        self.manager = RuleManager.open(self.store, policy=self.policy)


class SqliteManagerMachine(KeptManagerMachine):
    """On a file."""

    def new_store(self) -> str:
        return f"sqlite:///{self.directory}/lists.db"


TestMemoryManager = ManagerMachine.TestCase
TestMemoryManager.settings = settings(stateful_step_count=40, max_examples=length(30, 100))
TestSqliteManager = SqliteManagerMachine.TestCase
TestSqliteManager.settings = settings(stateful_step_count=40, max_examples=length(12, 30))


def test_postgres_manager(shared_postgres_server: PostgresServer) -> None:
    class PostgresManagerMachine(KeptManagerMachine):
        """On a database."""

        def new_store(self) -> str:
            return shared_postgres_server.new_database()

    examples = settings(stateful_step_count=40, max_examples=length(5, 8))
    run_state_machine_as_test(PostgresManagerMachine, settings=examples)
