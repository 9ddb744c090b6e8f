"""The allowlist of the service itself: which addresses may use the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate._engine import Matcher
from cidrgate.gate.gate import Gate
from cidrgate.gate.request_paths import routed_path
from cidrgate.service.api.health import is_public

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cidrgate.gate.client_ip import ClientIPResolver
    from cidrgate.gate.decision_log import Log
    from cidrgate.gate.hooks import DecisionHook
    from cidrgate.manager import RuleManager
    from cidrgate.values import Duration, Prefix

__all__ = ["gate_of_account", "gate_of_networks", "guarded_account"]

_SERVICE = "service"
"""The name of the only account in the matcher of `gate_of_networks`."""


def gate_of_account(
    manager: RuleManager, resolver: ClientIPResolver, log: Log, log_every: Duration, hook: DecisionHook
) -> Gate:
    """Return a gate that allows the addresses on an account's list. If the list is empty, it denies every address."""
    return Gate(manager, resolver=resolver, unlisted="deny", log=log, log_every=log_every, hooks=[hook])


def gate_of_networks(
    networks: Sequence[Prefix], resolver: ClientIPResolver, log: Log, log_every: Duration, hook: DecisionHook
) -> Gate:
    """Return a gate that allows the addresses in these networks.

    Raises:
        InvalidAddressError: If a text is not a network.
    """
    matcher = Matcher()
    matcher.publish(_SERVICE, networks, when_empty="deny")
    return Gate(matcher, unlisted="deny", resolver=resolver, log=log, log_every=log_every, hooks=[hook])


def guarded_account(account: str | None) -> Callable[[Any], str | None]:
    """Return the account source for the middleware. A request to a public path acts for no account."""
    name = _SERVICE if account is None else account
    return lambda scope: None if is_public(routed_path(scope)) else name
