"""New lists stored in bulk are what the same lists are, stored one by one."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, strategies as st

from cidrgate import Entry, NewEntry
from cidrgate.stores import NewList, Store, StoredChange, open_store
from cidrgate.stores.bulk import rows_of
from cidrgate.stores.entry_rows import entry_to_json
from cidrgate.stores.postgres import PostgresStore
from tests.entry_details import all_details

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.stores import StoredAccount, Transaction

NOW = datetime(2025, 6, 1, 12, 30, 15, 123456, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
labels = st.none() | texts
ends = st.none() | st.integers(1, 1000).map(lambda hours: NOW + timedelta(hours=hours))
details = st.builds(lambda said, label, end: said | {"label": label, "expires_at": end}, all_details, labels, ends)
pieces = st.builds(lambda said: NewEntry("", **said), details)
cidrs = st.sampled_from(["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32", "::/0"])
lists = st.lists(st.dictionaries(cidrs, pieces, min_size=1), min_size=1, max_size=4)


@given(lists, st.none() | texts)
def test_the_log_is_written_as_for_a_single_entry(made: list[dict[str, NewEntry]], actor: str | None) -> None:
    new = [NewList(number, f"a{number}", list(some.values()), list(some)) for number, some in enumerate(made)]
    rows = rows_of(new, count(5), NOW, actor, lambda *row: repr(row), repr)
    ids = count(5)
    for number, some in enumerate(made):
        entries = [new_entry(next(ids), f"a{number}", cidr, piece, actor) for cidr, piece in some.items()]
        text = json.dumps([entry_to_json(entry) for entry in entries], separators=(",", ":"), ensure_ascii=False)
        assert rows.changes[number] == (f"a{number}", text)
    assert len(rows.entries) == sum(map(len, made))


def new_entry(entry_id: int, account: str, cidr: str, piece: NewEntry, actor: str | None) -> Entry:
    return Entry(id=entry_id, account=account, cidr=cidr, created_at=NOW, created_by=actor, **piece.details())


class RolledBack(Exception):  # noqa: N818
    """Ends a transaction of which nothing shall stay."""


def contents(transaction: Transaction, names: list[str]) -> list[object]:
    """What a transaction shows, without the ids and sequences that depend on what was there before."""
    owners = transaction.accounts_named(names)
    entries = transaction.entries_of(owners.values())
    anonymous: list[object] = [[owners[name].value() for name in names]]
    for name in names:
        anonymous.append([replace(entry, id=0) for entry in sorted(entries[name], key=lambda entry: entry.id)])
        for change in transaction.changes(name, None):
            after = tuple(replace(entry, id=0) for entry in change.after)
            anonymous.append(replace(change, sequence=0, after=after))
    return anonymous


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path_factory.mktemp('bulk')}/lists.db"}
    url = urls.get(request.param) or request.getfixturevalue("shared_postgres_server").new_database()
    opened = open_store(url, create=True)
    yield opened
    opened.close()


@given(made=lists, actor=st.none() | texts)
def test_a_bulk_is_stored_as_single_changes_are(
    store: Store, made: list[dict[str, NewEntry]], actor: str | None
) -> None:
    if isinstance(store, PostgresStore):  # which holds no NUL, and no list whose networks overlap
        made = [{cidr: piece for cidr, piece in some.items() if cidr != "::/0" or len(some) == 1} for some in made]
        assume("\0" not in (actor or "") + "".join(str(piece.label) for some in made for piece in some.values()))
    names = [f"a{number}" for number in range(len(made))]
    stored = []
    for bulk in (False, True):
        with suppress(RolledBack), store.write() as transaction:
            owners = transaction.insert_accounts(names, parent=None, at=NOW, actor=actor)
            new = [
                NewList(owners[name].id, name, list(some.values()), list(some))
                for name, some in zip(names, made, strict=True)
            ]
            if bulk:
                transaction.insert_lists(new, at=NOW, actor=actor)
                transaction.insert_lists([], at=NOW, actor=actor)
            else:
                insert_one_by_one(transaction, owners, new, actor)
            stored.append(contents(transaction, names))
            raise RolledBack
    assert stored[0] == stored[1]


def insert_one_by_one(
    transaction: Transaction, owners: dict[str, StoredAccount], new: list[NewList], actor: str | None
) -> None:
    ids = transaction.new_entry_ids()
    for one in new:
        entries = tuple(
            new_entry(next(ids), one.account, cidr, piece, actor)
            for cidr, piece in zip(one.cidrs, one.pieces, strict=True)
        )
        transaction.apply([StoredChange(owners[one.account], "add", after=entries, actor=actor)], at=NOW)
