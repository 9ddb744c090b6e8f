"""Observations of past requests in tests, as a process that records traffic would have stored them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cidrgate.stores.observations import add_observations
from cidrgate.values import Observation

if TYPE_CHECKING:
    from cidrgate import RuleManager

__all__ = ["store_observed"]


def store_observed(manager: RuleManager, *seen: tuple[str, str, int]) -> None:
    """Store that networks called for accounts, so often, from forty days ago until now: account, network, requests."""
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        add_observations(
            transaction,
            [
                Observation(
                    account=account,
                    network=network,
                    allowed=True,
                    requests=requests,
                    first_seen=now - timedelta(days=40),
                    last_seen=now,
                )
                for account, network, requests in seen
            ],
        )
