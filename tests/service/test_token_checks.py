"""Tokens of simultaneous requests are checked together, with the result that each check alone has."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event

from cidrgate import StoreError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.token_checks import _READS, TokenChecks
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from tests.waiting import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cidrgate.service.auth.values import Token
    from cidrgate.stores import Store


class SlowCredentials(Credentials):
    """Reads as credentials do, each time after it may.

    Args:
        store: Theirs.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.may_read = threading.Semaphore(0)
        self.reads: list[list[str]] = []
        self.error: Exception | None = None

    def authenticate(self, secret: str) -> Token | None:
        self._begin([secret])
        return super().authenticate(secret)

    def authenticate_all(self, secrets: Iterable[str]) -> dict[str, Token | Exception | None]:
        asked = list(secrets)
        self._begin(asked)
        return super().authenticate_all(asked)

    def _begin(self, asked: list[str]) -> None:
        self.reads.append(asked)
        assert self.may_read.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error


@pytest.fixture
def credentials() -> Iterator[SlowCredentials]:
    store = open_store("memory://")
    slow = SlowCredentials(store)
    yield slow
    for _ in range(99):
        slow.may_read.release()
    store.close()


async def begun(credentials: SlowCredentials, number: int) -> None:
    """Wait until so many reads have begun."""
    async with asyncio.timeout(PATIENCE):
        while len(credentials.reads) < number:
            await asyncio.sleep(0.001)


async def busy(checks: TokenChecks, credentials: SlowCredentials) -> list[asyncio.Task[Token | None]]:
    """Begin as many reads as there may be at once."""
    first = []
    for number in range(_READS):
        first.append(asyncio.create_task(checks.check(f"first {number}")))
        await begun(credentials, number + 1)
    return first


async def waiting(checks: TokenChecks, *secrets: str) -> list[asyncio.Task[Token | None]]:
    """Let requests wait for the next read."""
    tasks = [asyncio.create_task(checks.check(secret)) for secret in secrets]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_one_read_serves_the_requests_that_wait(credentials: SlowCredentials) -> None:
    """Each of them gets the answer about its own secret, and so does one whose secret is another's too."""
    made = [credentials.create_token(name, [Scope("admin")]) for name in ("a", "b", "revoked")]
    credentials.revoke_token(made[2].token.id)
    other_secret = f"cidrgate_{made[0].token.id}_{made[1].secret.partition('_')[2].partition('_')[2]}"
    secrets = [made[0].secret, made[1].secret, made[2].secret, other_secret, "no token", made[0].secret]

    async def ask() -> list[Token | None]:
        checks = TokenChecks(credentials, PATIENCE)
        first = await busy(checks, credentials)
        others = await waiting(checks, *secrets)
        for _ in range(_READS + 1):
            credentials.may_read.release()
        return [await task for task in (*first, *others)]

    answers = asyncio.run(ask())
    assert answers == [None] * _READS + [made[0].token, made[1].token, None, None, None, made[0].token]
    assert credentials.reads[_READS:] == [list(dict.fromkeys(secrets))]


def test_a_token_that_is_revoked_before_its_request_is_refused(credentials: SlowCredentials) -> None:
    """Also if a read was under way then: it began before the request, and serves only earlier ones."""
    made = credentials.create_token("a", [Scope("admin")])

    async def ask() -> list[Token | None]:
        checks = TokenChecks(credentials, PATIENCE)
        first = await busy(checks, credentials)
        earlier = await waiting(checks, made.secret)
        credentials.may_read.release()  # it ends one of the first, and the read for the earlier request begins
        await begun(credentials, _READS + 1)
        credentials.revoke_token(made.token.id)
        later = await waiting(checks, made.secret)
        for _ in range(_READS + 1):
            credentials.may_read.release()
        return [await task for task in (*first, *earlier, *later)]

    assert asyncio.run(ask())[-1] is None
    assert credentials.reads[_READS:] == [[made.secret], [made.secret]]


def test_an_error_of_the_store_reaches_every_request(credentials: SlowCredentials) -> None:
    async def ask() -> None:
        checks = TokenChecks(credentials, PATIENCE)
        first = await busy(checks, credentials)
        others = await waiting(checks, "one", "two")
        credentials.error = StoreError("the store is gone")
        for _ in range(_READS + 1):
            credentials.may_read.release()
        for task in (*first, *others):
            with pytest.raises(StoreError, match="the store is gone"):
                await task
        credentials.error = None
        credentials.may_read.release()
        assert await checks.check("one") is None

    asyncio.run(ask())


def test_nobody_waits_longer_than_a_read_may_take(credentials: SlowCredentials) -> None:
    async def ask() -> None:
        checks = TokenChecks(credentials, 0.05)
        first = await busy(checks, credentials)
        with pytest.raises(StoreError, match="did not answer in time"):
            await checks.check("one")
        for _ in range(_READS + 1):
            credentials.may_read.release()
        assert await asyncio.gather(*first) == [None] * _READS

    asyncio.run(ask())


def test_a_request_that_ends_early_ends_no_check_of_another(credentials: SlowCredentials) -> None:
    made = credentials.create_token("a", [Scope("admin")])

    async def ask() -> Token | None:
        checks = TokenChecks(credentials, PATIENCE)
        first = await busy(checks, credentials)
        one, other = await waiting(checks, "one", made.secret)
        one.cancel()
        with suppress(asyncio.CancelledError):
            await one
        for _ in range(_READS + 1):
            credentials.may_read.release()
        await asyncio.gather(*first)
        return await other

    assert asyncio.run(ask()) == made.token


def test_event_loops_share_the_checks_and_are_freed(credentials: SlowCredentials) -> None:
    """One that ended while its requests waited does not stop those of the next one."""
    checks = TokenChecks(credentials, PATIENCE)
    ended: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def abandon() -> None:
        ended.append(weakref.ref(asyncio.get_running_loop()))
        first = await busy(checks, credentials)
        left = await waiting(checks, "left behind", "another")
        for task in (*first, *left):
            task.cancel()
        for _ in range(_READS):
            credentials.may_read.release()

    for _ in range(3):
        credentials.reads.clear()
        asyncio.run(abandon())
    for _ in range(2):
        credentials.may_read.release()
    assert asyncio.run(checks.check("no token")) is None

    def freed() -> bool:
        gc.collect()
        return [reference() for reference in ended] == [None] * 3

    eventually(freed, pause=0.05)  # the threads that read end after their event loop


def test_a_read_that_is_cancelled_stops_no_later_request(credentials: SlowCredentials) -> None:
    """Another program in the event loop may cancel all of its tasks."""
    made = credentials.create_token("a", [Scope("admin")])

    async def ask() -> Token | None:
        checks = TokenChecks(credentials, PATIENCE)
        first = await busy(checks, credentials)
        await waiting(checks, "one", "two")
        for task in asyncio.all_tasks() - {asyncio.current_task(), *first}:
            task.cancel()
        (later,) = await waiting(checks, made.secret)
        for _ in range(_READS + 1):
            credentials.may_read.release()
        await asyncio.gather(*first)
        return await later

    assert asyncio.run(ask()) == made.token


@pytest.mark.parametrize(
    "damage",
    [
        "scopes = '{broken'",
        "scopes = '[\"nonsense\"]'",
        f"scopes = '{'[' * 100_000}'",
        "created_at = 'yesterday'",
        "created_at = x'ff'",
        "name = CAST(x'ff' AS text)",
    ],
    ids=lambda damage: damage[:20],
)
def test_a_damaged_token_fails_only_its_own_requests(tmp_path: Path, damage: str) -> None:
    """Also if somebody who knows no secret sends its id."""
    store = open_store(f"sqlite:///{tmp_path}/lists.db", create=True)
    credentials = SlowCredentials(store)
    good, damaged = (credentials.create_token(name, [Scope("admin")]) for name in ("good", "damaged"))
    with sqlite3.connect(tmp_path / "lists.db") as connection:
        connection.execute(f"UPDATE tokens SET {damage} WHERE id = ?", (damaged.token.id,))
    connection.close()

    async def ask() -> list[Token | BaseException | None]:
        checks = TokenChecks(credentials, PATIENCE)
        first = await busy(checks, credentials)
        tasks = await waiting(checks, good.secret, damaged.secret, "no token")
        for _ in range(_READS + 4):
            credentials.may_read.release()
        await asyncio.gather(*first)
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(ask())
    store.close()
    assert answers[::2] == [good.token, None]
    assert isinstance(answers[1], Exception)


def test_what_is_no_token_needs_no_store() -> None:
    store = open_store("memory://")
    credentials = Credentials(store)
    store.close()
    assert credentials.authenticate_all(["", "no token"]) == {"": None, "no token": None}


def test_a_store_that_is_gone_is_an_error_for_every_token() -> None:
    store = open_store("memory://")
    credentials = Credentials(store)
    store.close()
    found = credentials.authenticate_all([f"cidrgate_{number}_{'x' * 43}" for number in range(1, 50)])
    assert {type(one) for one in found.values()} == {StoreError}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_strangers_cost_no_message_each(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """However many tokens a read is about, it is one statement: the distance to the server counts once."""
    url = f"sqlite:///{tmp_path}/lists.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    store = open_store(url, create=True)
    credentials = Credentials(store)
    made = [credentials.create_token(f"{number}", [Scope("admin")]) for number in range(40)]
    strangers = [f"cidrgate_{number}_{'x' * 43}" for number in range(1, 1_000)]
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        found = credentials.authenticate_all([*strangers, *(one.secret for one in made)])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    store.close()
    assert [found[one.secret] for one in made] == [one.token for one in made]
    assert {found[one] for one in strangers} == {None}
    assert len([one for one in statements if "FROM" in one and "tokens" in one]) == 1  # others are of other threads


def test_services_in_one_event_loop_share_nothing(credentials: SlowCredentials) -> None:
    """A token of one store is none of another, also while the requests of both wait."""
    made = credentials.create_token("a", [Scope("admin")])
    store = open_store("memory://")
    others = SlowCredentials(store)

    async def ask() -> list[Token | None]:
        checks, other_checks = TokenChecks(credentials, PATIENCE), TokenChecks(others, PATIENCE)
        first = [*await busy(checks, credentials), *await busy(other_checks, others)]
        tasks = [*await waiting(checks, made.secret), *await waiting(other_checks, made.secret)]
        for _ in range(_READS + 1):
            credentials.may_read.release()
            others.may_read.release()
        await asyncio.gather(*first)
        return [await task for task in tasks]

    assert asyncio.run(ask()) == [made.token, None]
    store.close()
