"""Writers that change lists over HTTP, and note in a ledger what the answers said."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from tests.faults.invariants import ACCOUNTS, beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.invariants import Ledger

__all__ = ["admin_token", "http_writers", "put"]


def admin_token(url: str) -> str:
    """The secret of a new token that may do everything."""
    store = open_store(url)
    try:
        return Credentials(store).create_token("t", [Scope("admin")]).secret
    finally:
        store.close()


def put(client: httpx.Client, ledger: Ledger, account: str, label: str, cidr: str) -> None:
    """Replace a list, and note what the answer said, or that there was none."""
    began = time.monotonic()
    try:
        answer = client.put(
            f"/v1/accounts/{account}/entries",
            params={"confirm": "lock_out"},
            json={"cidrs": f"{cidr}, 8.8.8.8/32", "label": label},
        )
    except httpx.ConnectError as error:
        ledger.unreached.add(label)
        ledger.note(type(error).__name__)
    except httpx.TransportError as error:
        ledger.unknown.add(label)
        ledger.note(type(error).__name__)
    else:
        code = answer.json().get("code") if answer.status_code >= 400 else None
        if answer.status_code == 200:
            ledger.acknowledged.add(label)
        elif code == "outcome_unknown":
            ledger.unknown.add(label)
        else:
            assert answer.status_code == 503, answer.text
            assert "nothing was changed" in answer.text
            assert answer.headers["Retry-After"]
            ledger.refused.add(label)
        ledger.note(f"{answer.status_code} {code}")
    ledger.seconds.append(time.monotonic() - began)


@contextmanager
def http_writers(
    url: str, token: str, ledger: Ledger, *, threads: int, pause: float, name: str = "w", timeout: float = 60
) -> Iterator[None]:
    """Change lists all the while.

    Args:
        url: Of the service.
        token: What lets them in.
        ledger: Where outcomes are noted.
        threads: How many writers there are.
        pause: Seconds between two changes of each.
        name: What labels begin with; another one for each block.
        timeout: Seconds that a writer waits for an answer.
    """
    ended = threading.Event()

    def write(number: int) -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout) as client:
            step = 0
            while not ended.wait(pause):
                step += 1
                account = ACCOUNTS[(number + step) % len(ACCOUNTS)]
                cidr = f"9.{number}.{step >> 8 & 255}.{step & 255}/32"
                put(client, ledger, account, f"{name}{number}-{step}", cidr)

    with beside(write, threads, ended):
        yield
