"""A service that is killed under load loses no change it has acknowledged, and leaves none half made."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from cidrgate import RuleManager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.change_log import Replay, assert_consistent
from tests.service.a_server import a_server
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS, WRITERS, BEFORE_KILL = 3, 8, 60


@pytest.mark.fault("`serve`, or a program with a manager in it, is ended or killed under load")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_acknowledged_write_is_lost(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lists.db" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with RuleManager.open(url, follow=False, create=True) as manager:
        for number in range(WRITERS):
            manager.create_account(f"acct-{number}")
        token = Credentials(manager._store).create_token("load", [Scope("admin")]).secret
    acknowledged: dict[str, set[str]] = {f"acct-{number}": set() for number in range(WRITERS)}
    for round_number in range(ROUNDS):
        with a_server(url) as server:
            _write_until_killed(server.url, token, acknowledged, round_number, server.process.kill)
        with RuleManager.open(url, follow=False) as manager:
            assert_consistent(manager, Replay(manager.policy.max_entries))
            for account, cidrs in acknowledged.items():
                # Of each pair, what was not acknowledged may be there, but never half of it.
                stored = {entry.cidr for entry in manager.entries(account)}
                assert cidrs <= stored
                assert {_twin(cidr) for cidr in stored} == stored


def _write_until_killed(
    url: str, token: str, acknowledged: dict[str, set[str]], round_number: int, kill: object
) -> None:
    """Let every writer add pairs of entries until the server is gone; it is killed once some are acknowledged."""
    begun = sum(map(len, acknowledged.values()))

    def write(number: int) -> None:
        account = f"acct-{number}"
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            for change in range(8):
                pair = [f"9.{round_number}.{change}.0/32", f"9.{round_number}.{change}.1/32"]
                try:
                    answer = client.post(
                        f"/v1/accounts/{account}/entries",
                        params={"confirm": "lock_out"},
                        json={"cidrs": ", ".join(pair)},
                        headers={"Idempotency-Key": f"{account} {pair[0]}"},
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                acknowledged[account].update(pair)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    eventually(lambda: sum(map(len, acknowledged.values())) - begun >= BEFORE_KILL)
    assert callable(kill)
    kill()
    for thread in threads:
        thread.join()


def _twin(cidr: str) -> str:
    """The other network of a pair."""
    head, _, last = cidr.removesuffix("/32").rpartition(".")
    return f"{head}.{1 - int(last)}/32"
