"""Names, parents, modes and lives of accounts against a plain model: store, log, a follower and a snapshot equal it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cidrgate import (
    AccountExistsError,
    AccountHasSubaccountsError,
    AccountNotFoundError,
    HistoryError,
    InvalidTextError,
    RuleManager,
    SubaccountError,
    UnconfirmedChangeError,
    VersionConflictError,
)
from cidrgate.manager import DeclaredAccount
from cidrgate.manager.outcomes import Guard
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.values import MODES, Mode
from tests.change_log import Replay, assert_consistent
from tests.length import length
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate import Account
    from tests.postgres import PostgresServer

NETWORKS = ("8.8.8.0/24", "1.1.1.0/24", "9.9.9.9/32")
"""They do not overlap, so that a set of them says which addresses a list allows."""

names = st.sampled_from(["a", "b", "c", "d"])
networks = st.sampled_from(NETWORKS)


@dataclass
class Held:
    """An account in the model."""

    parent: str | None = None
    listed: set[str] = field(default_factory=set)
    display_name: str | None = None
    version: int = 0
    mode: Mode = "enforce"
    closed: bool = False

    @property
    def has_list(self) -> bool:
        return bool(self.listed) or self.closed

    @property
    def enforced(self) -> bool:
        return self.mode == "enforce" and self.has_list

    def ends_with(self, after: Held) -> bool:
        """Whether this list is enforced now or after its pause, and not, or only later, once another one decides."""
        return self.has_list and (not after.has_list or (self.mode == "enforce" and after.mode != "enforce"))


class AccountsMachine(RuleBasedStateMachine):
    """Drives a manager and the model side by side, with a follower and a snapshot beside."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.model: dict[str, Held] = {}
        self.left: dict[str, int] = {}
        self.replay = Replay()

    @initialize()
    def open(self) -> None:
        self.url = self.new_store()
        self.manager = RuleManager.open(self.url, create=True, follow=False)
        self.follower = RuleManager.open(self.url, follow=False)
        self.manager.save_snapshot(self.directory / "lists.snapshot")

    def new_store(self) -> str:
        return f"sqlite:///{self.directory}/lists.db"

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.manager.close()
            self.follower.close()
        shutil.rmtree(self.directory)

    def decider(self, name: str) -> Held:
        held = self.model[name]
        return held if held.parent is None else self.model[held.parent]

    def stops(self, name: str) -> set[Guard]:
        """The guard of a change after which no list decides for a name, also when a pause has ended."""
        return {Guard.DISABLE_ENFORCEMENT} if self.decider(name).has_list else set()

    def below(self, name: str) -> list[str]:
        return [one for one, held in self.model.items() if held.parent == name]

    def guarded(self, expected: set[Guard], change: Callable[[list[Guard]], object]) -> None:
        """A change is refused as long as one of its guards is not confirmed, and then made."""
        before = self.manager.history(limit=1)
        for missing in expected:
            with pytest.raises(UnconfirmedChangeError) as error:
                change([guard for guard in Guard if guard != missing])
            assert set(error.value.confirm) == expected
        assert self.manager.history(limit=1) == before
        change([*expected])

    @rule(name=names, parent=st.none() | names, shown=st.sampled_from([None, "Acme"]))
    def create(self, name: str, parent: str | None, shown: str | None) -> None:
        def change() -> object:
            return self.manager.create_account(name, parent=parent, display_name=shown)

        if parent is not None and parent not in self.model:
            with pytest.raises(AccountNotFoundError):
                change()
        elif parent is not None and self.model[parent].parent is not None:
            with pytest.raises(SubaccountError):
                change()
        elif name in self.model:
            with pytest.raises(AccountExistsError):
                change()
        else:
            version = self.left.get(name, -1) + 1 + (shown is not None)
            assert change() == self.manager.account(name)
            self.model[name] = Held(parent, display_name=shown, version=version)

    @rule(name=names, network=networks)
    def add(self, name: str, network: str) -> None:
        if name in self.model and self.model[name].parent is None and network not in self.model[name].listed:
            self.manager.add(name, network)
            self.model[name].listed.add(network)
            self.model[name].version += 1

    @rule(old=names, new=names)
    def rename(self, old: str, new: str) -> None:
        def change(confirmed: list[Guard]) -> object:
            return self.manager.rename_account(old, new, confirmed=confirmed)

        if old not in self.model:
            with pytest.raises(AccountNotFoundError):
                change([])
            return
        if old == new:
            assert change([]) == self.manager.account(old)
            return
        if new in self.model:
            with pytest.raises(AccountExistsError):
                change([])
            return
        self.guarded(self.stops(old), change)
        held = self.model.pop(old)
        self.left[old] = max(self.left.get(old, 0), held.version)
        held.version = max(held.version + 1, self.left.get(new, 0) + 1)
        for one in self.below(old):
            self.model[one].parent = new
            self.model[one].version += 1
        self.model[new] = held

    @rule(name=names, parent=st.none() | names)
    def move(self, name: str, parent: str | None) -> None:
        def change(confirmed: list[Guard]) -> object:
            return self.manager.edit_account(name, parent=parent, confirmed=confirmed)

        if name not in self.model or (parent is not None and parent not in self.model):
            with pytest.raises(AccountNotFoundError):
                change([])
            return
        held = self.model[name]
        if parent == held.parent:
            assert change([]) == self.manager.account(name)
            return
        if parent == name or (parent is not None and self.model[parent].parent is not None):
            with pytest.raises(SubaccountError):
                change([])
            return
        if parent is not None and self.below(name):
            with pytest.raises(AccountHasSubaccountsError):
                change([])
            return
        before = self.decider(name)
        after = Held() if parent is None else self.model[parent]
        guards = set()
        if before.ends_with(after):
            guards = {Guard.DISABLE_ENFORCEMENT}
        elif after.has_list and (not before.has_list or before.listed != after.listed):
            guards = {Guard.OTHER_LIST}
        self.guarded(guards, change)
        self.model[name] = Held(parent, display_name=held.display_name, version=held.version + 1)

    @rule(name=names, mode=st.sampled_from(MODES), closed=st.none() | st.booleans())
    def set_mode(self, name: str, mode: Mode, closed: bool | None) -> None:
        def change(confirmed: list[Guard]) -> object:
            return self.manager.set_mode(name, mode, closed=closed, confirmed=confirmed)

        if name not in self.model:
            with pytest.raises(AccountNotFoundError):
                change([])
            return
        held = self.model[name]
        if held.parent is not None:
            with pytest.raises(SubaccountError):
                change([])
            return
        after = replace(held, mode=mode, closed=held.closed if closed is None else closed)
        self.guarded({Guard.DISABLE_ENFORCEMENT} if held.ends_with(after) else set(), change)
        self.model[name] = replace(after, version=held.version + (after != held))

    @rule(name=names, shown=st.sampled_from([None, "Acme", "Acme Ltd"]))
    def show(self, name: str, shown: str | None) -> None:
        if name in self.model:
            changed = shown != self.model[name].display_name
            assert self.manager.edit_account(name, display_name=shown).display_name == shown
            self.model[name].display_name = shown
            self.model[name].version += changed

    @rule(name=names, recursive=st.booleans())
    def delete(self, name: str, recursive: bool) -> None:
        def change(confirmed: list[Guard]) -> object:
            return self.manager.delete_account(name, recursive=recursive, confirmed=confirmed)

        if name not in self.model:
            with pytest.raises(AccountNotFoundError):
                change([])
            return
        if self.below(name) and not recursive:
            with pytest.raises(AccountHasSubaccountsError):
                change([])
            return
        self.guarded(self.stops(name), change)
        for one in [*self.below(name), name]:
            self.left[one] = max(self.left.get(one, 0), self.model.pop(one).version)

    @rule()
    def save_snapshot(self) -> None:
        self.manager.save_snapshot(self.directory / "lists.snapshot")

    @rule()
    def open_snapshot(self) -> None:
        """A snapshot of any age becomes the present lists."""
        with RuleManager.open(self.url, snapshot=self.directory / "lists.snapshot", follow=False) as opened:
            self.same(opened)

    @rule()
    def load_again(self) -> None:
        self.manager.load()

    def same(self, manager: RuleManager) -> None:
        matcher = manager.matcher
        assert set(matcher) == self.model.keys()
        for name, held in self.model.items():
            assert matcher._parent_of(name) == held.parent
            decider = self.decider(name)
            assert set(matcher.prefixes(name)) == decider.listed
            assert (matcher.mode(name), matcher.enforced(name)) == (decider.mode, decider.enforced)
            assert matcher.allows(name, "7.7.7.7") == (not decider.enforced)

    @invariant()
    def all_equal_the_model(self) -> None:
        if not hasattr(self, "manager"):
            return

        def told(one: Account | Held) -> tuple[object, ...]:
            return one.parent, one.display_name, one.version, one.mode, one.closed

        assert {one.name: told(one) for one in self.manager.accounts()} == {
            name: told(one) for name, one in self.model.items()
        }
        assert_consistent(self.manager, self.replay)
        self.same(self.manager)
        self.follower._replica.published.catch_up()
        self.same(self.follower)


TestAccounts = AccountsMachine.TestCase
TestAccounts.settings = settings(stateful_step_count=30, max_examples=length(15, 100))


def test_accounts_on_postgres(shared_postgres_server: PostgresServer) -> None:
    class PostgresAccountsMachine(AccountsMachine):
        """On a database."""

        def new_store(self) -> str:
            return shared_postgres_server.new_database()

    run_state_machine_as_test(
        PostgresAccountsMachine, settings=settings(stateful_step_count=30, max_examples=length(4, 20))
    )


@pytest.fixture
def manager(store_url: str) -> RuleManager:
    return RuleManager.open(store_url, create=True)


def test_the_history_of_an_account_is_found_under_its_names_and_ends_with_it(manager: RuleManager) -> None:
    with manager:
        manager.create_account("old")
        manager.add("old", "8.8.8.0/24")
        manager.create_account("new")
        manager.add("new", "1.1.1.0/24")
        manager.delete_account("new", confirmed=["disable_enforcement"])
        manager.rename_account("old", "new", confirmed=["disable_enforcement"])
        manager.add("new", "9.9.9.9/32")

        def told(account: str, *, present: bool = False) -> list[tuple[str | None, str]]:
            return [(one.account, one.action) for one in manager.history(account, present=present)[::-1]]

        its_own = [("old", "create_account"), ("old", "add"), ("new", "rename_account"), ("new", "add")]
        assert told("new", present=True) == its_own
        of_another = [("new", "create_account"), ("new", "add"), ("new", "delete_account")]
        assert told("new") == [*its_own[:2], *of_another, *its_own[2:]]
        assert told("old") == [("old", "create_account"), ("old", "add"), ("old", "rename_account")]
        with pytest.raises(AccountNotFoundError):
            manager.history("old", present=True)
        with pytest.raises(AccountNotFoundError):
            manager.history("nobody")
        assert [entry.cidr for entry in manager.history("new")[2].before] == ["1.1.1.0/24"]


def test_a_list_is_restored_from_before_a_rename_and_not_from_another_account_of_the_name(
    manager: RuleManager,
) -> None:
    with manager:
        manager.create_account("old")
        manager.add("old", "8.8.8.0/24")
        then = manager.history("old")[0].sequence
        manager.create_account("new")
        manager.add("new", "1.1.1.0/24")
        foreign = manager.history("new")[0].sequence
        manager.delete_account("new", confirmed=["disable_enforcement"])
        manager.rename_account("old", "new", confirmed=["disable_enforcement"])
        manager.replace("new", "9.9.9.9/32")
        for sequence in (then, foreign):
            assert [entry.cidr for entry in manager.restore("new", to_sequence=sequence).entries] == ["8.8.8.0/24"]
        manager.create_account("old")
        with pytest.raises(HistoryError):
            manager.restore("old", to_sequence=then)


def test_a_version_that_a_client_saw_of_a_deleted_account_changes_no_later_account(manager: RuleManager) -> None:
    with manager:
        manager.create_account("a")
        seen = manager.add("a", "8.8.8.0/24").version
        manager.delete_account("a", confirmed=["disable_enforcement"])
        report = manager.import_accounts({"a": "1.1.1.0/24"})
        assert report.created == 1
        assert manager.account("a").version > seen
        with pytest.raises(VersionConflictError):
            manager.remove("a", "1.1.1.0/24", expect_version=seen, allow_empty=True)
        for change in (
            lambda: manager.rename_account("a", "b", expect_version=seen),
            lambda: manager.edit_account("a", display_name="A", expect_version=seen),
            lambda: manager.delete_account("a", expect_version=seen),
        ):
            with pytest.raises(VersionConflictError):
                change()


def test_tokens_and_sessions_follow_a_rename_and_end_with_their_account(manager: RuleManager) -> None:
    with manager:
        credentials = Credentials(manager._store)
        for name in ("a", "a_", "sub:a"):
            manager.create_account(name)
        one = credentials.create_token("one", [Scope.parse("account:a:write")])
        both = credentials.create_token("both", [Scope.parse("account:a:read"), Scope.parse("account:sub:a:read")])
        other = credentials.create_token("other", [Scope.parse("account:a_:write")])
        session = credentials.begin_session(one.token, lifetime=3600)
        manager.rename_account("a", "ä%")

        def scopes() -> dict[str, list[str]]:
            found = credentials.tokens()
            return {one.name: [str(scope) for scope in one.scopes] for one in found if one.revoked_at is None}

        assert scopes() == {
            "one": ["account:ä%:write"],
            "both": ["account:ä%:read", "account:sub:a:read"],
            "other": ["account:a_:write"],
        }
        found = credentials.session(session)
        assert found is not None
        assert [str(scope) for scope in found.scopes] == ["account:ä%:write"]
        manager.delete_account("ä%")
        assert scopes() == {"both": ["account:sub:a:read"], "other": ["account:a_:write"]}
        assert credentials.session(session) is None
        assert credentials.authenticate(one.secret) is None
        assert credentials.authenticate(both.secret) is not None
        assert credentials.authenticate(other.secret) is not None


def test_a_dry_run_changes_no_account_and_says_which_guards_are_met(manager: RuleManager) -> None:
    with manager:
        manager.create_account("a")
        manager.create_account("b", parent="a")
        manager.add("a", "8.8.8.0/24")
        before = manager.history(), manager.accounts()
        outcomes: list[object] = []
        dry = manager.with_hooks(dry_run=True, before_store=lambda outcome: outcomes.append(outcome.confirm))
        assert dry.rename_account("a", "c").name == "c"
        assert dry.edit_account("b", parent=None).parent is None
        assert dry.delete_account("a", recursive=True).subaccounts == ("b",)
        assert outcomes == [("disable_enforcement",)] * 3
        assert (manager.history(), manager.accounts()) == before


def test_a_move_may_lock_the_caller_out(manager: RuleManager) -> None:
    with manager:
        for name, network in (("a", "8.8.8.0/24"), ("b", "1.1.1.0/24")):
            manager.create_account(name)
            manager.add(name, network)
        caller = manager.with_hooks(address="8.8.8.8")
        with pytest.raises(UnconfirmedChangeError) as error:
            caller.edit_account("a", parent="b")
        assert error.value.confirm == ("lock_out", "other_list")
        caller.edit_account("a", parent="b", confirmed=error.value.confirm)
        assert not manager.allows("a", "8.8.8.8")


def test_names_for_people_are_validated_like_labels(manager: RuleManager) -> None:
    with manager:
        for wrong in ("a\nb", "a\u202eb", "x" * 256):
            with pytest.raises(InvalidTextError):
                manager.create_account("a", display_name=wrong)
        manager.create_account("a", display_name="")
        assert manager.account("a").display_name is None
        with pytest.raises(InvalidTextError):
            manager.edit_account("a", display_name="a\x07")


def _import_copy(manager: RuleManager) -> None:
    with RuleManager.open("memory://") as other:
        other.create_account("again")
        manager.import_export(list(other.export()))


def _renamed(manager: RuleManager) -> None:
    manager.create_account("new")
    manager.rename_account("new", "again")


WAYS_TO_GET_A_NAME: dict[str, Callable[[RuleManager], object]] = {
    "create": lambda manager: manager.create_account("again"),
    "create, with settings": lambda manager: manager.create_account("again", display_name="Again", closed=True),
    "create a subaccount": lambda manager: manager.create_account("again", parent="acct-1"),
    "apply": lambda manager: manager.apply({"again": ["9.9.9.9/32"]}),
    "apply an empty list": lambda manager: manager.apply({"again": []}),
    "apply a subaccount": lambda manager: manager.apply({"again": DeclaredAccount(parent="acct-1")}),
    "import": lambda manager: manager.import_accounts({"again": ["9.9.9.9/32"]}),
    "import an empty list": lambda manager: manager.import_accounts({"again": []}),
    "import a copy": _import_copy,
    "rename": _renamed,
}


@pytest.mark.parametrize("way", WAYS_TO_GET_A_NAME)
def test_an_account_that_gets_a_name_again_has_later_versions(store_url: str, way: str) -> None:
    with RuleManager.open(store_url, create=True, follow=False) as manager:
        manager.create_account("acct-1")
        manager.create_account("again")
        for number in range(6):
            manager.add("again", f"8.8.8.{number}/32")
        left = manager.account("again").version
        manager.delete_account("again", confirmed=["disable_enforcement"])
        WAYS_TO_GET_A_NAME[way](manager)
        assert manager.account("again").version > left
        assert manager.create_account("other").version == 0


def test_every_way_to_create_accounts_continues_their_versions() -> None:
    source = Path(__file__).parents[2] / "src" / "cidrgate"
    callers = [path.name for path in source.rglob("*.py") if ".insert_accounts(" in path.read_text()]
    assert callers == ["account_changes.py"], "create accounts with `new_accounts`"


def test_a_follower_that_runs_drops_the_old_name_and_serves_the_new_one(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, create=True) as one, RuleManager.open(shared_store_url) as other:
        one.create_account("a")
        one.add("a", "8.8.8.0/24")
        one.create_account("s", parent="a")
        eventually(lambda: "s" in other.matcher)
        one.rename_account("a", "b", confirmed=["disable_enforcement"])
        eventually(lambda: "a" not in other.matcher)
        assert not other.allows("b", "9.9.9.9")
        assert not other.allows("s", "9.9.9.9")
        one.delete_account("b", recursive=True, confirmed=["disable_enforcement"])
        eventually(lambda: len(other.matcher) == 0)
