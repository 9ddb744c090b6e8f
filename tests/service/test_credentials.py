"""Tokens, sessions and links: who holds the secret may use it, nobody else, and not for longer than was said."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import select

from cidrgate import RuleManager
from cidrgate.errors import (
    AccountNotFoundError,
    InvalidExpiryError,
    InvalidScopeError,
    InvalidTextError,
    StoreConflictError,
    TokenNotFoundError,
)
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.failed_sign_ins import FailedSignIns
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from cidrgate.stores.schema import links, sessions, tokens
from cidrgate.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.service.auth.values import NewToken
    from cidrgate.stores import Store, Transaction

ADMIN = [Scope("admin")]
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/lists.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = open_store(url, create=True)
    yield store
    store.close()


@given(st.sampled_from(["admin", "metrics", "account:a:b:write", "account:ü/x:read"]))
def test_a_scope_is_read_as_it_is_written(text: str) -> None:
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "Admin", "account", "account::read", "account:a", "account:a:admin", "account: a:read"]
)
def test_what_means_nothing_is_no_scope(text: str) -> None:
    with pytest.raises(InvalidScopeError):
        Scope.parse(text)


def test_a_token_is_known_by_its_secret_alone(store: Store) -> None:
    credentials = Credentials(store)
    assert not credentials.any_usable()
    one = credentials.create_token("one", ADMIN, actor="me")
    with store.write() as transaction:
        transaction.insert_accounts(["acct-1"], parent=None, at=datetime.now(UTC), actor=None)
    two = credentials.create_token("two", [Scope("account", "acct-1", write=True)], expires_at=_in(HOUR))
    assert credentials.any_usable()
    assert credentials.authenticate(one.secret) == one.token
    assert credentials.authenticate(two.secret) == two.token
    first, second = (made.secret.rpartition("_") for made in (one, two))
    for wrong in (
        "",
        "admin",
        one.secret[:-1],
        one.secret + "A",
        one.secret + "\n",
        f"{first[0]}_{second[2]}",
        f"cidrgate_99_{first[2]}",
        f"cidrgate_{10**17}_{first[2]}",
    ):
        assert credentials.authenticate(wrong) is None
    assert credentials.tokens() == [one.token, two.token]
    assert credentials.tokens(after=one.token.id, limit=1) == [two.token]


def test_no_secret_is_stored(store: Store) -> None:
    credentials = Credentials(store)
    made = credentials.create_token("one", ADMIN)
    secrets = [made.secret.rpartition("_")[2], credentials.create_link("me", ADMIN, lifetime=HOUR)]
    secrets.append(credentials.begin_session(made.token, lifetime=HOUR))
    with store.read() as transaction:
        stored = "".join(
            str(row) for table in (tokens, links, sessions) for row in transaction.connection.execute(select(table))
        )
    assert "one" in stored
    assert not any(secret in stored for secret in secrets)


def test_a_revoked_token_and_its_sessions_are_over_at_once(store: Store) -> None:
    credentials = Credentials(store)
    made, other = credentials.create_token("one", ADMIN), credentials.create_token("two", ADMIN)
    session = credentials.begin_session(made.token, lifetime=HOUR)
    others = credentials.begin_session(other.token, lifetime=HOUR)
    revoked = credentials.revoke_token(made.token.id)
    assert revoked.revoked_at is not None
    assert credentials.authenticate(made.secret) is None
    assert credentials.session(session) is None
    assert credentials.session(others) is not None
    assert credentials.revoke_token(made.token.id) == revoked
    with pytest.raises(TokenNotFoundError):
        credentials.revoke_token(99)


def test_a_session_ends_with_its_time_with_its_token_and_when_it_is_ended(store: Store) -> None:
    credentials = Credentials(store)
    made = credentials.create_token("one", ADMIN, expires_at=_in(HOUR))
    found = credentials.session(secret := credentials.begin_session(made.token, lifetime=24 * HOUR))
    assert found is not None
    assert (found.name, found.scopes, found.token_id) == ("one", tuple(ADMIN), made.token.id)
    assert found.expires_at == made.token.expires_at
    credentials.end_session(secret)
    assert credentials.session(secret) is None
    assert credentials.session(credentials.begin_session(made.token, lifetime=timedelta())) is None
    assert credentials.session("") is None


def test_a_link_begins_one_session(store: Store) -> None:
    credentials = Credentials(store)
    link = credentials.create_link("first admin", ADMIN, lifetime=HOUR)
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: credentials.open_link(link, lifetime=HOUR), range(8)))
    [session] = [secret for secret in opened if secret is not None]
    found = credentials.session(session)
    assert found is not None
    assert (found.name, found.token_id) == ("first admin", None)
    assert credentials.open_link("x", lifetime=HOUR) is None
    over = credentials.create_link("late", ADMIN, lifetime=timedelta())
    assert credentials.open_link(over, lifetime=HOUR) is None


def test_a_token_must_be_good_for_something_and_be_called_something(store: Store) -> None:
    credentials = Credentials(store)
    with pytest.raises(InvalidScopeError, match="at least one scope"):
        credentials.create_token("one", [])
    for name in ("", " x", "x" * 256, "a\nb"):
        with pytest.raises(InvalidTextError, match="needs a name"):
            credentials.create_token(name, ADMIN)
    for expiry in (_in(-HOUR), datetime.now()):
        with pytest.raises(InvalidExpiryError):
            credentials.create_token("one", ADMIN, expires_at=expiry)
    assert credentials.tokens() == []


def _in(time: timedelta) -> datetime:
    return datetime.now(UTC) + time


def test_a_scope_names_an_account_that_exists(store: Store) -> None:
    """Of tokens and of links: who creates an account of that name later would give it to somebody unknown."""
    credentials = Credentials(store)
    with store.write() as transaction:
        made = transaction.insert_accounts(["acct-1"], parent=None, at=datetime.now(UTC), actor=None)
        transaction.insert_accounts(["sub-1"], parent=made["acct-1"], at=datetime.now(UTC), actor=None)
    known = [Scope("account", "acct-1"), Scope("account", "sub-1", write=True), Scope("metrics")]
    for unknown in ("nope", "ACCT-1", "acct-1 ", ""):
        for scopes in ([Scope("account", unknown)], [*known, Scope("account", unknown, write=True)]):
            with pytest.raises(AccountNotFoundError, match=re.escape(repr(unknown))):
                credentials.create_token("x", scopes)
            with pytest.raises(AccountNotFoundError, match=re.escape(repr(unknown))):
                credentials.create_link("x", scopes, lifetime=timedelta(hours=1))
    assert credentials.tokens() == []
    assert credentials.create_token("x", known).token.scopes == tuple(known)
    assert credentials.create_link("x", known, lifetime=timedelta(hours=1))
    for nothing in ("create_token", "create_link"):
        arguments = {"lifetime": timedelta(hours=1)} if nothing == "create_link" else {}
        with pytest.raises(InvalidScopeError, match="at least one scope"):
            getattr(credentials, nothing)("x", [], **arguments)


# --------------------------------------------------------------------------------------------------------- conflicts

CHANGES: dict[str, Callable[[Credentials, NewToken, str], object]] = {
    "create_token": lambda known, made, link: known.create_token("new", iter(ADMIN)),
    "revoke_token": lambda known, made, link: known.revoke_token(made.token.id),
    "create_link": lambda known, made, link: known.create_link("new", ADMIN, lifetime=HOUR, issuer=made.token),
    "open_link": lambda known, made, link: known.open_link(link, lifetime=HOUR) or pytest.fail("the link is gone"),
    "begin_session": lambda known, made, link: known.begin_session(made.token, lifetime=HOUR),
    "end_session": lambda known, made, link: known.end_session("unknown"),
    "end_session_by_id": lambda known, made, link: known.end_session_by_id(known.sessions()[0].id),
    "end_all_sessions": lambda known, made, link: known.end_all_sessions(),
    "log_failures": lambda known, made, link: known.log_failures(iter([FailedSignIns(Origin(kind="token"), 3)])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_meets_a_conflict_is_made_again(
    store: Store, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = Credentials(store)
    made = credentials.create_token("one", ADMIN)
    link = credentials.create_link("two", ADMIN, lifetime=HOUR)
    credentials.begin_session(made.token, lifetime=HOUR)
    write, refused = store.write, [True, True]

    @contextmanager
    def conflicting(**waits: Any) -> Iterator[Transaction]:
        with write(**waits) as transaction:
            yield transaction
            if refused:
                refused.pop()
                raise StoreConflictError("another change was made at the same time: try again")

    monkeypatch.setattr(store, "write", conflicting)
    with store.read() as transaction:
        begun = transaction.log_end()
    CHANGES[change](credentials, made, link)
    assert not refused
    with store.read() as transaction:
        stored = [one.action for one in transaction.changes(None, None, after=begun)]
    assert len(stored) == (change != "end_session"), "what conflicted is stored once"


def test_every_change_of_credentials_is_made_again_after_a_conflict() -> None:
    source = Path(__file__).parents[2] / "src" / "cidrgate" / "service"
    callers = {path.name: path.read_text().count("_store.write()") for path in source.rglob("*.py")}
    assert {name: count for name, count in callers.items() if count} == {"credentials.py": 1}, "use Credentials.written"


def test_links_and_tokens_are_made_beside_renames(postgres_url: str) -> None:
    with RuleManager.open(postgres_url, create=True, follow=False) as manager:
        manager.create_account("a")
        credentials = Credentials(manager._store)
        issuer = credentials.create_token("root", ADMIN).token
        credentials.create_token("kept", [Scope("account", "a")])
        end = time.monotonic() + 4

        def rename() -> int:
            count = 0
            while time.monotonic() < end:
                for old, new in (("a", "b"), ("b", "a")):
                    manager.rename_account(old, new)
                    count += 1
            return count

        def make() -> int:
            count = 0
            while time.monotonic() < end:
                try:
                    link = credentials.create_link("x", [Scope("account", "a")], lifetime=HOUR, issuer=issuer)
                    credentials.open_link(link, lifetime=HOUR)
                    count += 1
                except AccountNotFoundError:
                    pass
            return count

        with ThreadPoolExecutor(3) as threads:
            done = [one.result() for one in [threads.submit(rename), threads.submit(make), threads.submit(make)]]
        assert all(done), "every thread got its turn, and none met a conflict that it was told of"
