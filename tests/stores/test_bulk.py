"""New lists stored in bulk are what the same lists are, stored one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from cidrgate import Entry, NewEntry
from cidrgate.stores import ListChange, NewList, Store, open_store
from cidrgate.stores.bulk import rows_of
from cidrgate.stores.changelog import entry_to_json

NOW = datetime(2025, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ends = st.none() | st.integers(1, 1000).map(lambda hours: NOW + timedelta(hours=hours))
pieces = st.builds(NewEntry, st.just(""), st.none() | texts, ends)
cidrs = st.sampled_from(["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32", "::/0"])
lists = st.lists(st.dictionaries(cidrs, pieces, min_size=1), min_size=1, max_size=4)


@given(lists, st.none() | texts)
def test_the_log_is_written_as_for_a_single_entry(made: list[dict[str, NewEntry]], actor: str | None) -> None:
    new = [NewList(number, f"a{number}", list(some.values()), list(some)) for number, some in enumerate(made)]
    rows = rows_of(new, count(5), NOW, actor)
    ids = count(5)
    for number, some in enumerate(made):
        entries = [
            Entry(next(ids), f"a{number}", cidr, piece.label, NOW, actor, piece.expires_at)
            for cidr, piece in some.items()
        ]
        text = json.dumps([entry_to_json(entry) for entry in entries], separators=(",", ":"), ensure_ascii=False)
        assert rows.changes[number] == (f"a{number}", text)
    assert len(rows.entries) == sum(map(len, made))


def contents(store: Store) -> object:
    with store.read() as transaction:
        names = [account.name for account in transaction.accounts()]
        entries = transaction.entries_of(transaction.accounts_named(names).values())
        listed = {name: sorted(some, key=lambda entry: entry.id) for name, some in entries.items()}
        return transaction.accounts(), listed, transaction.changes(None, None)


@given(lists, st.none() | texts)
def test_a_bulk_is_stored_as_single_changes_are(made: list[dict[str, NewEntry]], actor: str | None) -> None:
    names = [f"a{number}" for number in range(len(made))]
    stores = [open_store("memory://"), open_store("memory://")]
    for store, bulk in zip(stores, (False, True), strict=True):
        with store.write() as transaction:
            owners = transaction.insert_accounts(names, parent=None, at=NOW, actor=actor)
            new = [
                NewList(owners[name].id, name, list(some.values()), list(some))
                for name, some in zip(names, made, strict=True)
            ]
            if bulk:
                transaction.insert_lists(new, at=NOW, actor=actor)
                transaction.insert_lists([], at=NOW, actor=actor)
                continue
            ids = transaction.new_entry_ids()
            for one in new:
                entries = tuple(
                    Entry(next(ids), one.account, cidr, piece.label, NOW, actor, piece.expires_at)
                    for cidr, piece in zip(one.cidrs, one.pieces, strict=True)
                )
                transaction.apply([ListChange(owners[one.account], "add", after=entries)], at=NOW, actor=actor)
    assert contents(stores[0]) == contents(stores[1])
    for store in stores:
        store.close()
