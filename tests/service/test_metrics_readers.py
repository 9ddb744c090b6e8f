"""The metrics of a service that lost its store: read by whoever the store confirmed lately, and by nobody else."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.auth import metrics_readers
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.app_client import AppClient
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp


LIST = "account:acct-1:write"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


@pytest.fixture
def manager(path: Path) -> Iterator[RuleManager]:
    with RuleManager.open(f"sqlite:///{path}", create=True) as opened:
        opened.create_account("acct-1")
        yield opened


@pytest.fixture
def app(manager: RuleManager) -> Iterator[ASGIApp]:
    made = create_app(manager, Settings())
    try:
        yield made
    finally:
        made.state.service.close()


def token_for(manager: RuleManager, *scopes: str, expires_at: datetime | None = None) -> str:
    made = Credentials(manager._store).create_token("t", [Scope.parse(one) for one in scopes], expires_at=expires_at)
    return made.secret


def status(app: ASGIApp, secret: str, path: str = "/metrics") -> int:
    with AppClient(app) as client:
        return client.get(path, headers={"Authorization": f"Bearer {secret}"}).status_code


def lose(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def find(path: Path) -> None:
    path.with_name("elsewhere.db").rename(path)


def staleness(app: ASGIApp, secret: str) -> float:
    with AppClient(app) as client:
        text = client.get("/metrics", headers={"Authorization": f"Bearer {secret}"}).text
    return float(text.partition("\ncidrgate_staleness_seconds ")[2].partition("\n")[0])


def test_a_lost_store_shows_in_the_metrics(app: ASGIApp, manager: RuleManager, path: Path) -> None:
    secret = token_for(manager, "metrics")
    assert status(app, secret) == 200
    lose(path)
    before = staleness(app, secret)
    eventually(lambda: staleness(app, secret) > before + 0.5)


@pytest.mark.parametrize("scope", ["metrics", "admin"])
def test_who_read_the_metrics_reads_nothing_else(app: ASGIApp, manager: RuleManager, path: Path, scope: str) -> None:
    secret, never_read, of_list = token_for(manager, scope), token_for(manager, scope), token_for(manager, LIST)
    assert (status(app, secret), status(app, of_list), status(app, of_list, "/v1/me")) == (200, 403, 200)
    lose(path)
    assert (status(app, secret), status(app, secret, "/v1/me"), status(app, secret, "/v1/accounts")) == (200, 503, 503)
    for other in (never_read, of_list, "cidrgate_1_nobody", secret + "a"):
        assert status(app, other) in (401, 503), other


def test_a_token_that_ended_is_not_remembered(
    app: ASGIApp, manager: RuleManager, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked, late = token_for(manager, "metrics"), token_for(manager, "metrics")
    expired = token_for(manager, "metrics", expires_at=datetime.now(UTC) + timedelta(seconds=1))
    assert {status(app, secret) for secret in (revoked, late, expired)} == {200}
    Credentials(manager._store).revoke_token(int(revoked.split("_")[1]))
    assert status(app, revoked) == 401
    lose(path)
    assert status(app, revoked) == 503
    eventually(lambda: status(app, expired) == 503)
    assert status(app, late) == 200
    monkeypatch.setattr(metrics_readers, "_LATELY", 0)
    assert status(app, late) == 503
    find(path)
    eventually(lambda: status(app, late) == 200)


def test_the_last_readers_are_remembered(
    app: ASGIApp, manager: RuleManager, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_readers, "_MOST", 2)
    secrets = [token_for(manager, "metrics") for _ in range(3)]
    for secret in [*secrets, secrets[0]]:
        assert status(app, secret) == 200
    lose(path)
    assert [status(app, secret) for secret in secrets] == [200, 503, 200]


def test_a_silent_store_delays_the_metrics_for_a_bounded_time(
    app: ASGIApp, manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_readers, "_PATIENCE", 0.1)
    secret, answered = token_for(manager, "metrics"), threading.Event()
    assert status(app, secret) == 200

    def silent(_credentials: Credentials, _secret: str) -> None:
        assert answered.wait(60)

    monkeypatch.setattr(Credentials, "authenticate", silent)
    with AppClient(app) as client:
        assert client.get("/metrics", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        answered.set()
