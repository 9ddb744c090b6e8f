"""`ListChange`: what each change of a list returns is what the store and the change log say about it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import Entry, EntryNotFoundError, ListChange, NewEntry, RuleError, RuleManager, UndoConflictError

CIDRS = ["8.8.8.0/24", "8.8.0.0/16", "1.1.1.1/32", "9.9.9.9/32", "2606:4700::/32"]
cidrs = st.sampled_from(CIDRS)
pieces = st.builds(NewEntry, cidrs, label=st.sampled_from([..., None, "office", "home"]))
submissions = st.lists(pieces, max_size=3, unique_by=lambda piece: piece.cidr)
changes = st.one_of(
    st.tuples(st.just("add"), submissions),
    st.tuples(st.just("replace"), submissions),
    st.tuples(st.just("remove"), cidrs, cidrs),
    st.tuples(st.just("edit"), cidrs, st.none() | cidrs),
    st.tuples(st.just("restore"), st.integers(1, 12)),
    st.tuples(st.just("undo"), st.integers(1, 12)),
)


def change(manager: RuleManager, name: str, arguments: tuple[Any, ...]) -> ListChange:
    empties = {} if name in ("add", "edit") else {"allow_empty": True}
    made = getattr(manager, name)
    found = (
        made("acct-1", to_sequence=arguments[0], **empties)
        if name == "restore"
        else made("acct-1", *arguments, **empties)
    )
    assert isinstance(found, ListChange)
    return found


def alike(entry: Entry) -> tuple[object, ...]:
    return entry.cidr, entry.label, entry.expires_at, entry.created_by


@given(st.lists(changes, max_size=10))
def test_a_change_returns_what_the_store_and_the_log_say(made: list[tuple[Any, ...]]) -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        dry = manager.with_hooks(dry_run=True)
        for name, *arguments in made:
            before, version = manager.entries("acct-1"), manager.account("acct-1").version
            logged = manager.history()
            try:
                would = change(dry, name, tuple(arguments))
            except (RuleError, LookupError, UndoConflictError) as error:
                with pytest.raises(type(error)):
                    change(manager, name, tuple(arguments))
                continue
            assert (manager.entries("acct-1"), manager.history()) == (before, logged), "a dry run changes nothing"
            done = change(manager, name, tuple(arguments))
            after = manager.entries("acct-1")
            assert done.account == "acct-1"
            assert done.entries == tuple(after)
            assert done.enforced == bool(after) == manager.matcher.enforced("acct-1")
            assert done.version == manager.account("acct-1").version
            new = [one for one in manager.history() if one not in logged]
            assert [(one.before, one.after) for one in new] == [(done.before, done.after)] * len(new)
            assert len(new) == done.version - version == (1 if done.before or done.after else 0)
            assert set(done.before) == set(before) - set(after)
            assert set(done.after) == set(after) - set(before)
            assert (would.version, would.enforced, would.account) == (done.version, done.enforced, done.account)
            assert list(map(alike, would.entries)) == list(map(alike, done.entries))
            assert [list(map(alike, part)) for part in (would.before, would.after)] == [
                list(map(alike, part)) for part in (done.before, done.after)
            ]
            if name == "edit":
                [edited] = [one for one in after if one.id == {entry.cidr: entry.id for entry in before}[arguments[0]]]
                assert done.entry(arguments[0]) == edited


@given(st.lists(cidrs, min_size=1, unique=True), st.lists(cidrs, unique=True))
def test_an_entry_is_found_by_everything_that_names_it(first: list[str], then: list[str]) -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        try:
            before = manager.add("acct-1", first).after
            done = manager.replace("acct-1", then, allow_empty=True)
        except RuleError:
            return
        for entry in (*before, *done.entries):
            for which in (entry, entry.id, entry.cidr, ip_network(entry.cidr)):
                if entry.cidr in then:
                    assert done.entry(which).cidr == entry.cidr
                else:
                    with pytest.raises(EntryNotFoundError) as caught:
                        done.entry(which)
                    assert caught.value.account == "acct-1"


def test_an_entry_is_found_in_every_spelling() -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        done = manager.add("acct-1", "8.8.8.0/24, 2606:4700::/32")
        for text in ("::ffff:8.8.8.0/120", "2606:4700:0:0::/32"):
            assert done.entry(text).cidr in CIDRS
        for text in ("8.8.8.0", "x", "8.8.8.1/24", "::/95", "::ffff:0:0/95"):
            with pytest.raises(EntryNotFoundError, match="does not list"):
                done.entry(text)


def test_a_list_change_is_a_value_by_name() -> None:
    rest: Any = (True, (), (), ())
    with pytest.raises(TypeError):
        ListChange("acct-1", 1, *rest)  # type: ignore[call-arg]
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        done = manager.add("acct-1", "8.8.8.0/24")
        with pytest.raises(AttributeError):
            done.version = 2  # type: ignore[misc]
        assert hash(done) == hash(done)
