"""The service's own port, allowlisted: which addresses may use it at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate._engine import Matcher
from cidrgate.gate.gate import Gate
from cidrgate.service.api.health import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cidrgate.gate.client_ip import ClientIPResolver
    from cidrgate.manager import RuleManager

__all__ = ["gate_of_account", "gate_of_networks", "guarded_account"]

_SERVICE = "service"
"""What stands for the service in a matcher that knows nothing else."""


def gate_of_account(manager: RuleManager, resolver: ClientIPResolver, log_every: float) -> Gate:
    """Lets in whom the list of an account names; without entries, nobody: somebody asked for a list."""
    return Gate(manager, resolver=resolver, unlisted="deny", log_every=log_every)


def gate_of_networks(networks: Sequence[str], resolver: ClientIPResolver, log_every: float) -> Gate:
    """Lets in whom these networks hold.

    Raises:
        InvalidAddressError: If one is no network.
    """
    matcher = Matcher()
    matcher.publish(_SERVICE, networks, enforced=True)
    return Gate(matcher, unlisted="deny", resolver=resolver, log_every=log_every)


def guarded_account(account: str | None) -> Callable[[Any], str | None]:
    """Which account a request to the service acts for, for the middleware: none where everybody is answered."""
    name = _SERVICE if account is None else account
    return lambda scope: None if scope["path"] in PUBLIC else name
