"""What every store promises of its transactions, on each store."""

from __future__ import annotations

import gc
import re
import threading
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from cidrgate import Account, Entry, StoreError
from cidrgate.errors import CredentialEndedError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import Store, StoredChange, StoredList, open_store
from cidrgate.stores.credentials import CredentialRows

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2025, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)
_SNAPSHOT = re.compile(r"(?<=\|)[0-9]+:[0-9]+:[0-9,]*(?=\|)")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    yield opened
    opened.close()


def create(store: Store, *names: str, parent: str | None = None) -> None:
    with store.write() as transaction:
        owner = None if parent is None else transaction.account(parent)
        transaction.insert_accounts(names, parent=owner, at=NOW, actor=None)


def add(
    store: Store, account: str, *cidrs: str, label: str | None = None, expires_at: datetime | None = None
) -> list[Entry]:
    with store.write() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        ids = transaction.new_entry_ids()
        added = [
            Entry(
                id=next(ids),
                account=account,
                cidr=cidr,
                label=label,
                created_at=NOW,
                created_by="me",
                expires_at=expires_at,
            )
            for cidr in cidrs
        ]
        transaction.apply([StoredChange(owner, "add", after=tuple(added), actor="me")], at=NOW)
    return added


def remove(store: Store, account: str, *removed: Entry) -> None:
    with store.write() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        transaction.apply([StoredChange(owner, "remove", before=removed, actor="me")], at=NOW)


def listed(store: Store, account: str) -> list[Entry]:
    with store.read() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        return sorted(transaction.entries(owner), key=lambda entry: entry.id)


def test_accounts_are_found_by_a_part_of_their_names(store: Store) -> None:
    create(store, "acme", "acme-2", "Big-Acme", "100%", "1000", "a_b", "axb")
    with store.read() as transaction:

        def named(text: str, after: str | None = None) -> set[str]:
            return {account.name for account in transaction.accounts(containing=text, after=after, limit=10)}

        assert named("ACME") == {"acme", "acme-2", "Big-Acme"}
        assert named("acme-") == {"acme-2"}
        assert named("acme", after="acme") >= {"acme-2"}
        assert "acme" not in named("acme", after="acme")
        assert named("0%") == {"100%"}  # what means something to SQL is searched like any other character
        assert named("_") == {"a_b"}
        assert named("\\") == set()


def test_accounts_come_back_by_name_with_their_parents(store: Store) -> None:
    create(store, "b", "a")
    create(store, "aa", parent="b")
    with store.read() as transaction:
        assert transaction.accounts() == [
            Account(name="a", parent=None, created_at=NOW),
            Account(name="aa", parent="b", created_at=NOW),
            Account(name="b", parent=None, created_at=NOW),
        ]
        assert transaction.account("c") is None
        assert set(transaction.accounts_named(["a", "aa", "c"])) == {"a", "aa"}


def test_entries_come_back_as_they_were_stored(store: Store) -> None:
    create(store, "a", "b")
    entries = add(store, "a", "8.8.8.0/24", "2606:4700::/32", label="büro ☕ \\x\t\n")
    assert listed(store, "a") == entries
    assert listed(store, "b") == []
    with store.read() as transaction:
        assert transaction.entry_counts(NOW) == {"a": 2}


def test_times_are_stored_in_utc_and_come_back_aware(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with store.write() as transaction:
        transaction.insert_accounts(["a"], parent=None, at=there, actor=None)
    with store.read() as transaction:
        [account] = transaction.accounts()
        [change] = transaction.changes(None, None)
    assert account.created_at == change.at == NOW
    assert account.created_at.tzinfo is UTC or account.created_at.utcoffset() == timedelta(0)


def test_a_naive_time_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="aware"), store.write() as transaction:
        transaction.insert_accounts(["a"], parent=None, at=NOW.replace(tzinfo=None), actor=None)


def test_ids_are_never_given_twice(store: Store) -> None:
    create(store, "a")
    one, two = add(store, "a", "1.1.1.1/32", "2.2.2.2/32")
    remove(store, "a", one, two)
    [three] = add(store, "a", "1.1.1.1/32")
    assert three.id > two.id > one.id


def test_a_change_alters_removes_and_inserts_by_id(store: Store) -> None:
    create(store, "a")
    kept, gone = add(store, "a", "1.1.1.1/32", "2.2.2.2/32")
    expiring = NOW + timedelta(days=1)
    altered = Entry(
        id=kept.id,
        account="a",
        cidr="1.1.1.0/24",
        label="wider",
        created_at=kept.created_at,
        created_by="me",
        expires_at=expiring,
    )
    with store.write() as transaction:
        owner = transaction.account("a")
        assert owner is not None
        new = Entry(
            id=next(transaction.new_entry_ids()),
            account="a",
            cidr="3.3.3.3/32",
            label=None,
            created_at=NOW,
            created_by=None,
        )
        change = StoredChange(owner, "replace", before=(kept, gone), after=(altered, new))
        transaction.apply([change], at=NOW)
    assert listed(store, "a") == [altered, new]
    with store.read() as transaction:
        [last] = transaction.changes("a", 1)
    assert (last.before, last.after, last.actor) == ((kept, gone), (altered, new), None)


def test_changes_are_numbered_from_one_and_come_newest_last(store: Store) -> None:
    create(store, "a", "b")
    added = tuple(add(store, "a", "1.1.1.1/32"))
    with store.read() as transaction:
        everything = transaction.changes(None, None)
        assert [(change.sequence, change.account, change.action) for change in everything] == [
            (1, "a", "create_account"),
            (2, "b", "create_account"),
            (3, "a", "add"),
        ]
        assert (everything[-1].before, everything[-1].after, everything[-1].actor) == ((), added, "me")
        assert transaction.changes(None, 2) == everything[1:]
        assert transaction.changes("a", None) == [everything[0], everything[2]]
        assert transaction.changes("a", 0) == []


def test_lists_come_parents_first_with_accounts_that_have_none(store: Store) -> None:
    create(store, "z")
    create(store, "a", parent="z")
    create(store, "m")
    add(store, "z", "8.8.8.0/24", "1.1.1.1/32")
    with store.read() as transaction:
        found = [(one.account, one.parent, sorted(one.cidrs)) for one in transaction.lists()]
        assert found == [("z", None, ["1.1.1.1/32", "8.8.8.0/24"]), ("a", "z", []), ("m", None, [])]
        assert [one.account for one in transaction.lists_named({"m", "a"})] == ["a", "m"]
        assert transaction.lists_named(set()) == []


def test_one_statement_reads_what_two_read_of_the_changes_since_a_position(store: Store) -> None:
    """For every position there was, few and many accounts, and positions that are none."""
    create(store, "z")
    create(store, "sub", parent="z")
    create(store, "m", "empty")
    positions = [position_of(store)]
    added = add(store, "z", "8.8.8.0/24", "1.1.1.1/32", expires_at=NOW + timedelta(hours=1, microseconds=7))
    positions.append(position_of(store))
    add(store, "m", "2606:4700::/32", "9.9.9.9/32")
    positions.append(position_of(store))
    remove(store, "z", added[0])
    create(store, "new", parent="m")
    positions += [position_of(store), "", "none", "|", f"other{positions[0]}"]
    seen = set()
    for position in positions:
        for limit in (0, 1, 2, 10):
            with store.read() as transaction:
                names = transaction.changed_since(position, limit)
                expected = None if names is None else listed_by_name(transaction.lists_named(names))
                end = transaction.position()
            with store.read_autocommit() as transaction:
                found = transaction.lists_changed_since(position, limit)
                assert (None if found is None else listed_by_name(found[0])) == expected
                if found is not None:
                    assert without_transactions(transaction.position()) == without_transactions(end)
            seen.add(None if names is None else len(names))
    assert seen == {None, 0, 2, 3}


def without_transactions(position: str) -> str:
    """A position without which transactions were under way: a server that is busy elsewhere begins others meanwhile."""
    return _SNAPSHOT.sub("", position)


def position_of(store: Store) -> str:
    with store.read() as transaction:
        return transaction.position()


def listed_by_name(lists: list[StoredList]) -> list[tuple[object, ...]]:
    return [(one.account, one.parent, sorted(one.cidrs), one.expiring, one.enforced) for one in lists]


def test_lists_have_the_expiries_of_their_entries_to_the_microsecond(store: Store) -> None:
    create(store, "a", "b")
    end = datetime(2031, 2, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    add(store, "a", "8.8.8.0/24", expires_at=end)
    add(store, "a", "1.1.1.1/32")
    with store.read() as transaction:
        for lists in (transaction.lists_named(["a", "b"]), list(transaction.lists())):
            assert [(one.account, one.expiring, one.enforced) for one in lists] == [
                ("a", {"8.8.8.0/24": end}, True),
                ("b", {}, False),
            ]


def test_a_token_is_read_once_in_a_transaction_that_relies_on_it_and_again_after_it_was_revoked(store: Store) -> None:
    credentials = Credentials(store)
    token = credentials.create_token("load", [Scope("admin")]).token
    with store.write() as transaction:
        rows = CredentialRows(transaction)
        assert rows.token_to_rely_on(token.id) is CredentialRows(transaction).token_to_rely_on(token.id)
        assert rows.token_to_rely_on(token.id + 1) is None
        rows.revoke_token(token.id, NOW)
        with pytest.raises(CredentialEndedError):
            credentials.rely_on_token(transaction, token.id)
    with store.write() as transaction, pytest.raises(CredentialEndedError):
        credentials.rely_on_token(transaction, token.id)


def test_an_exception_leaves_the_store_as_it_was(store: Store) -> None:
    create(store, "a")

    def fail() -> None:
        with store.write() as transaction:
            transaction.insert_accounts(["b"], parent=None, at=NOW, actor=None)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with store.read() as transaction:
        assert [account.name for account in transaction.accounts()] == ["a"]
        assert len(transaction.changes(None, None)) == 1


def test_a_list_never_holds_a_network_twice(store: Store) -> None:
    create(store, "a")
    add(store, "a", "1.1.1.1/32")
    with pytest.raises(StoreError, match=r"UNIQUE|entries_no_overlap"):
        add(store, "a", "1.1.1.1/32")


def test_text_that_is_no_unicode_is_refused(store: Store) -> None:
    create(store, "a")
    with pytest.raises(StoreError, match="Unicode"):
        add(store, "a", "1.1.1.1/32", label="\ud800")
    assert listed(store, "a") == []


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"), store.read():
        pass
    with pytest.raises(StoreError, match="closed"), store.write():
        pass


def test_a_store_nobody_closed_leaves_no_connection_open(store_url: str) -> None:
    create(open_store(store_url), "a")
    gc.collect()


def test_threads_take_turns_to_write(store: Store) -> None:
    create(store, "a")

    def work(thread: int) -> None:
        for number in range(10):
            add(store, "a", f"8.{thread}.{number}.0/24")
            listed(store, "a")

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(listed(store, "a")) == 40
    with store.read() as transaction:
        assert [change.sequence for change in transaction.changes(None, None)] == list(range(1, 42))


def test_pruning_deletes_no_newer_row_that_was_committed_while_it_looked(postgres_url: str) -> None:
    """On PostgreSQL, rows are committed in another order than that of their sequences."""
    later = NOW + timedelta(days=1)
    with closing(open_store(postgres_url)) as store:
        create(store, "old")
        with ExitStack() as late:
            late.enter_context(store.write()).insert_accounts(["late"], parent=None, at=later, actor=None)
            with store.write() as transaction:
                transaction.insert_accounts(["early"], parent=None, at=later, actor=None)
            with store.write() as pruning:

                @event.listens_for(pruning.connection, "before_cursor_execute")
                def commit_the_late_one(_connection: object, _cursor: object, statement: str, *_: object) -> None:
                    if statement.startswith("DELETE"):
                        late.close()

                assert pruning.prune(later) == 1
        with store.read() as transaction:
            assert {change.account for change in transaction.changes(None, None)} == {"early", "late"}
