"""Which text can name an account, and which texts people may call something by."""

from __future__ import annotations

import re
import sqlite3
import sys
import unicodedata
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate import AccountNotFoundError, InvalidAccountError, InvalidTextError, NewEntry, RuleManager
from cidrgate.rules.account_names import MAX_ACCOUNT_NAME, can_name_account, check_account_name, could_name_account
from cidrgate.rules.characters import unseen_character
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEVER_USABLE = [
    "",
    " ",
    " a",
    "a ",
    "\ta",
    "a\n",
    "a\nb",
    "a\x00b",
    "a\x7fb",
    "\ud800",
    "a\u2028b",
    "a" * 256,
    "a\u3000",
]

UNSEEN = {
    "right-to-left override": "\u202e",
    "right-to-left mark": "\u200f",
    "left-to-right isolate": "\u2066",
    "Arabic letter mark": "\u061c",
    "zero-width space": "\u200b",
    "zero-width non-joiner": "\u200c",
    "zero-width joiner": "\u200d",
    "word joiner": "\u2060",
    "invisible times": "\u2062",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "combining grapheme joiner": "\u034f",
    "Mongolian vowel separator": "\u180e",
    "Mongolian selector": "\u180b",
    "Khmer inherent vowel": "\u17b4",
    "Hangul filler": "\u3164",
    "half-width Hangul filler": "\uffa0",
    "Hangul choseong filler": "\u115f",
    "Braille blank": "\u2800",
    "tag": "\U000e0041",
    "language tag": "\U000e0001",
    "selector of ideographs": "\U000e0100",
    "musical format": "\U0001d173",
    "shorthand format": "\U0001bca0",
    "interlinear annotation": "\ufff9",
    "object replacement": "\ufffc",
    "replacement": "\ufffd",
    "no-break space": "\u00a0",
    "narrow no-break space": "\u202f",
    "figure space": "\u2007",
    "ideographic space": "\u3000",
    "Ogham space": "\u1680",
    "private use": "\ue000",
    "private plane": "\U0010fffd",
    "noncharacter": "\ufdd0",
    "last noncharacter": "\U0010ffff",
    "not assigned": "\u0378",
    "tab": "\t",
    "escape": "\x1b",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
}
NOT_NORMAL = ["e\u0301", "A\u030a", "\u212b", "\u2126", "\u1100\u1161", "a\u0307\u0323", "\uf900"]
USABLE = [
    "a",
    "a b",
    "o'brien; --",
    "%",
    "ünïcode ☕",
    "🔒" * MAX_ACCOUNT_NAME,
    "a/b",
    "株式会社",
    "مثال",
    "ça",
    "=1+1",
]

unseen = pytest.mark.parametrize("character", [pytest.param(one, id=name) for name, one in UNSEEN.items()])


def refused(name: str) -> None:
    with pytest.raises(InvalidAccountError):
        check_account_name(name)
    assert not can_name_account(name)
    with RuleManager.open("memory://") as manager:
        with pytest.raises(InvalidAccountError):
            manager.create_account(name)
        with pytest.raises(AccountNotFoundError):
            manager.account(name)
        with pytest.raises(AccountNotFoundError):
            manager.add(name, "8.8.8.0/24")
        assert list(manager.import_accounts({name: [NewEntry("8.8.8.0/24")]}).problems) == [name]
        assert manager.explain(name, "8.8.8.8").reason == "not_enforced"
        assert manager.history() == []


@pytest.mark.parametrize("name", NEVER_USABLE)
def test_an_unusable_name_is_refused_and_never_found(name: str) -> None:
    refused(name)
    assert not could_name_account(name)


@unseen
@pytest.mark.parametrize("form", ["a{}", "{}a", "a{}b", "ä{}b"])
def test_a_character_that_cannot_be_seen_names_nothing(character: str, form: str) -> None:
    assert unseen_character(form.format(character)) == character
    refused(form.format(character))


@pytest.mark.parametrize("character", ["\ufe0e", "\ufe0f"])
def test_a_selected_form_is_no_name_of_its_own(character: str) -> None:
    refused(f"☕{character}")


@pytest.mark.parametrize("name", NOT_NORMAL)
def test_a_second_spelling_of_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidAccountError, match=re.escape(repr(unicodedata.normalize("NFC", name)))):
        check_account_name(name)
    refused(name)
    check_account_name(unicodedata.normalize("NFC", name))


def test_every_character_is_seen_or_refused() -> None:
    """The standard's own list of what shows nothing is longer than its categories; fonts say the rest.

    Of the many that the standard leaves to private use, or has not assigned, some are tried.
    """
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        category = unicodedata.category(character)
        if category[0] in "CZ" and (category not in ("Cn", "Co") or number % length(16, 1) == 0):
            assert can_name_account(f"a{character}b") is (character == " ")
            assert could_name_account(f"a{character}b") is (category not in ("Cc", "Cs", "Zl", "Zp"))


@pytest.mark.parametrize("name", USABLE)
def test_any_other_text_names_an_account(name: str) -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account(name)
        manager.add(name, "8.8.8.0/24")
        manager.create_account("sub", parent=name)
        assert manager.matcher.prefixes("sub") == ["8.8.8.0/24"]
        assert [account.name for account in manager.accounts()] == sorted([name, "sub"])


@given(st.text(max_size=MAX_ACCOUNT_NAME + 1))
def test_a_name_is_refused_or_comes_back_as_it_was(name: str) -> None:
    assert could_name_account(name) or not can_name_account(name)
    with RuleManager.open("memory://") as manager:
        try:
            manager.create_account(name)
        except InvalidAccountError:
            assert not can_name_account(name)
            return
        assert can_name_account(name)
        manager.add(name, "8.8.8.0/24")
        manager.load()
        assert manager.account(name).name == name
        assert manager.counts() == {name: 1}
        assert not manager.allows(name, "9.9.9.9")


@unseen
def test_an_account_of_an_earlier_version_is_found_under_its_name(character: str, tmp_path: Path) -> None:
    """It is enforced, listed, changed and inherited from, though its name could not be given today."""
    old, path = f"old{character}name", tmp_path / "lists.db"
    if not could_name_account(old):
        return
    open_store(path, create=True).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO accounts (id, name, created_at, version) VALUES (1, ?, '2025-01-01', 0)", [old])
        connection.execute(
            "INSERT INTO changes (at, account, action, before, after) "
            "VALUES ('2025-01-01', ?, 'create_account', '[]', '[]')",
            [old],
        )
        connection.commit()
    with RuleManager.open(path, follow=False) as manager:
        manager.add(old, "8.8.8.0/24")
        assert [account.name for account in manager.accounts()] == [old]
        assert not manager.allows(old, "9.9.9.9")
        assert not manager.matcher.allows_known(old, "9.9.9.9")
        assert manager.explain(old, "9.9.9.9").reason == "not_listed"
        assert manager.counts([old]) == {old: 1}
        manager.create_account("sub", parent=old)
        assert not manager.allows("sub", "9.9.9.9")
        assert not manager.import_accounts({old: [NewEntry("1.1.1.1/32")]}).problems
        token = Credentials(manager._store).create_token("ops", [Scope.parse(f"account:{old}:write")])
        authenticated = Credentials(manager._store).authenticate(token.secret)
        assert authenticated is not None
        assert [scope.account for scope in authenticated.scopes] == [old]
        manager.remove(old, "8.8.8.0/24")
        with pytest.raises(InvalidAccountError):
            manager.create_account(f"{old}2")


CHANGES: dict[str, Callable[[RuleManager, str], object]] = {
    "create, actor": lambda manager, text: manager.create_account("b", actor=text),
    "add, label": lambda manager, text: manager.add("a", "1.1.1.1/32", label=text),
    "add, label of one": lambda manager, text: manager.add("a", [NewEntry("1.1.1.1/32", label=text)]),
    "add, actor": lambda manager, text: manager.add("a", "1.1.1.1/32", actor=text),
    "edit, label": lambda manager, text: manager.edit("a", "8.8.8.0/24", label=text),
    "edit, actor": lambda manager, text: manager.edit("a", "8.8.8.0/24", label="x", actor=text),
    "remove, actor": lambda manager, text: manager.remove("a", "8.8.8.0/24", actor=text, allow_empty=True),
    "replace, label": lambda manager, text: manager.replace("a", "1.1.1.1/32", label=text),
    "replace, label of one that stays": lambda manager, text: manager.replace(
        "a", [NewEntry("8.8.8.0/24", label=text)]
    ),
    "replace, actor": lambda manager, text: manager.replace("a", "1.1.1.1/32", actor=text),
    "restore, actor": lambda manager, text: manager.restore("a", to_sequence=1, actor=text, allow_empty=True),
    "undo, actor": lambda manager, text: manager.undo("a", 2, actor=text, allow_empty=True),
    "import, actor": lambda manager, text: manager.import_accounts({"b": []}, actor=text),
    "token, actor": lambda manager, text: Credentials(manager._store).create_token("t", [Scope("admin")], actor=text),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_label_or_an_actor_that_cannot_be_seen_is_refused(change: str) -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24", label="office", actor="me")
        before = manager.history()
        for character in UNSEEN.values():
            with pytest.raises(InvalidTextError, match=rf"U\+{ord(character):04X}"):
                CHANGES[change](manager, f"a{character}b")
        assert manager.history() == before
        CHANGES[change](manager, "büro ☕\ufe0f (2nd)")


def test_an_imported_label_that_cannot_be_seen_keeps_its_account_out() -> None:
    with RuleManager.open("memory://") as manager:
        lists = {"a": [NewEntry("8.8.8.0/24", label="of\u202efice")], "b": [NewEntry("8.8.8.0/24", label="office")]}
        report = manager.import_accounts(lists)
        assert isinstance(report.problems.pop("a"), InvalidTextError)
        assert not report.problems
        assert manager.counts() == {"b": 1}


def test_a_list_of_the_past_is_restored_with_the_labels_it_had(tmp_path: Path) -> None:
    path = tmp_path / "lists.db"
    with RuleManager.open(path, create=True, follow=False) as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24", label="X")
        manager.remove("a", "8.8.8.0/24", allow_empty=True)
        with closing(sqlite3.connect(path)) as connection:  # the label as an earlier version stored it
            for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {trigger}")
            connection.execute("UPDATE changes SET before = replace(before, '\"X\"', '\"o\u202ek\"')")
            connection.execute("UPDATE changes SET after = replace(after, '\"X\"', '\"o\u202ek\"')")
            connection.commit()
        [entry] = manager.restore("a", to_sequence=2).entries
        assert entry.label == "o\u202ek"


@unseen
def test_a_token_is_called_by_what_can_be_seen(character: str) -> None:
    store = open_store("memory://")
    with pytest.raises(InvalidTextError):
        Credentials(store).create_token(f"a{character}b", [Scope("admin")])
    store.close()
