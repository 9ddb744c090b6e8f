"""Which text can name an account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cidrgate import AccountNotFoundError, InvalidAccountError, RuleManager
from cidrgate.accounts import MAX_ACCOUNT_NAME, check_account_name

UNUSABLE = ["", " ", " a", "a ", "\ta", "a\n", "a\nb", "a\x00b", "a\x7fb", "\ud800", "a\u2028b", "a" * 256]


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_name_is_refused_and_never_found(name: str) -> None:
    with pytest.raises(InvalidAccountError):
        check_account_name(name)
    with RuleManager.open("memory://") as manager:
        with pytest.raises(InvalidAccountError):
            manager.create_account(name)
        with pytest.raises(AccountNotFoundError):
            manager.account(name)
        with pytest.raises(AccountNotFoundError):
            manager.add(name, "8.8.8.0/24")
        assert manager.explain(name, "8.8.8.8").reason == "not_enforced"
        assert manager.history() == []


@pytest.mark.parametrize("name", ["a", "a b", "o'brien; --", "%", "ünïcode ☕", "🔒" * MAX_ACCOUNT_NAME, "a/b"])
def test_any_other_text_names_an_account(name: str) -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account(name)
        manager.add(name, "8.8.8.0/24")
        manager.create_account("sub", parent=name)
        assert manager.matcher.prefixes("sub") == ["8.8.8.0/24"]
        assert [account.name for account in manager.accounts()] == sorted([name, "sub"])


@given(st.text(max_size=MAX_ACCOUNT_NAME + 1))
def test_a_name_is_refused_or_comes_back_as_it_was(name: str) -> None:
    with RuleManager.open("memory://") as manager:
        try:
            manager.create_account(name)
        except InvalidAccountError:
            return
        manager.add(name, "8.8.8.0/24")
        manager.load()
        assert manager.account(name).name == name
        assert manager.counts() == {name: 1}
        assert not manager.allows(name, "9.9.9.9")
