"""A change in several commits: if a later one fails, the error says what the earlier ones have stored."""

from __future__ import annotations

import itertools
import pickle
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import NewEntry, OutcomeUnknownError, RuleManager, StoreBusyError, StoreError
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = [f"acct-{number}" for number in range(40)]
LISTS = {key: ["8.8.8.0/24"] for key in NAMES}

CHANGES: dict[str, tuple[Callable[[RuleManager], object], str]] = {
    "apply": (lambda manager: manager.apply(LISTS), " of 40"),
    "import_accounts": (lambda manager: manager.import_accounts(LISTS), " of 40"),
    "import_accounts of pairs": (lambda manager: manager.import_accounts(iter(LISTS.items())), ""),
    "sweep": (RuleManager.sweep, " of 40"),
}
"""Changes in several commits, and what their errors say of the number of accounts."""


@pytest.fixture(autouse=True)
def short_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few accounts a commit."""
    monkeypatch.setattr("cidrgate.manager.rule_manager._ACCOUNTS_A_TRANSACTION", 80)
    monkeypatch.setattr("cidrgate.manager.declared._ACCOUNTS_A_PART", 10)


def fails_after(writes: int, begin: Callable[..., Any], error: StoreError) -> Callable[..., Any]:
    """The function that begins a write transaction, but fails after so many of them."""
    numbers = itertools.count()

    @contextmanager
    def write(*arguments: Any, **settings: Any) -> Iterator[Any]:
        if next(numbers) >= writes:
            raise error
        with begin(*arguments, **settings) as transaction:
            yield transaction

    return write


def done(manager: RuleManager, change: str) -> int:
    """The number of accounts for which a change is made."""
    if change == "sweep":
        return sum(len(manager.entries(name)) == 1 for name in NAMES)
    return len(manager.accounts())


@pytest.mark.parametrize("kind", [StoreBusyError, StoreError, OutcomeUnknownError])
@pytest.mark.parametrize("change", CHANGES)
def test_an_error_of_a_later_commit_says_what_is_stored(
    change: str, kind: type[StoreError], store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, of_all = CHANGES[change]
    error = kind("the store is locked; nothing was changed: try again")
    with RuleManager.open(store_url, follow=False, lock_timeout=0.2) as manager:
        if change == "sweep":
            ends = soon()
            both = [NewEntry("8.8.8.0/24"), NewEntry("1.1.1.1/32", expires_at=ends)]
            assert not manager.import_accounts(dict.fromkeys(NAMES, both)).problems
            eventually(lambda: datetime.now(UTC) > ends + timedelta(seconds=0.2))
        with monkeypatch.context() as patch:
            patch.setattr(manager._store, "write", fails_after(0, manager._store.write, error))
            with pytest.raises(kind, match="nothing was changed") as first:
                make(manager)
            assert first.value.stored is None
        with monkeypatch.context() as patch:
            patch.setattr(manager._store, "write", fails_after(2, manager._store.write, error))
            with pytest.raises(kind) as later:
                make(manager)
        stored = f"{done(manager, change)}{of_all} accounts are done, and a repetition does the rest"
        assert later.value.stored == stored
        assert str(later.value) == f"the store is locked; {stored}: try again"
        assert str(pickle.loads(pickle.dumps(later.value))) == str(later.value)
        assert 0 < done(manager, change) < 40
        assert "8.8.8.0/24" in manager.matcher.prefixes("acct-0")
        make(manager)
        assert done(manager, change) == 40
