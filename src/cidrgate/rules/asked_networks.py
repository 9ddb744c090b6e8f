"""An address or a network that somebody asks about, such as one that `find` looks for or `--exclude` leaves out."""

from __future__ import annotations

from cidrgate._engine import canonical_address, canonical_prefix
from cidrgate.errors import InvalidAddressError
from cidrgate.rules.format_hints import format_hint
from cidrgate.rules.limits import beginning_of

__all__ = ["asked_network", "network_of"]


def network_of(text: str) -> str:
    """Return an address or a network as a canonical CIDR.

    Raises:
        InvalidAddressError: If the text is neither. `asked_network` says what to write instead.

    Example:
        >>> network_of("8.8.8.8"), network_of("2606:4700:0::/32"), network_of("::ffff:8.8.8.8")
        ('8.8.8.8/32', '2606:4700::/32', '8.8.8.8/32')
    """
    if "/" in text:
        return canonical_prefix(text)
    address = canonical_address(text)
    return f"{address}/128" if ":" in address else f"{address}/32"


def asked_network(text: str) -> str:
    """Return an address or a network that a person asks about as a canonical CIDR.

    Raises:
        InvalidAddressError: If the text is neither. Its message says what to write instead.

    Example:
        >>> asked_network("8.8.8.8"), asked_network("2606:4700::/32")
        ('8.8.8.8/32', '2606:4700::/32')
    """
    try:
        return network_of(text)
    except InvalidAddressError:
        advice = _advice(text)
        message = f"{beginning_of(text)!r} is neither an IP address nor a network: {advice}"
        raise InvalidAddressError(message) from None


def _advice(text: str) -> str:
    """Return what to write instead of a text. An address needs no length here, unlike in a list."""
    alone = text.strip()
    try:
        network_of(alone)
    except InvalidAddressError:
        hint = format_hint(text)
        known = hint.alternatives or "/" in text
        return str(hint) if known else "write one such as 8.8.8.8, 8.8.8.0/24 or 2606:4700::1"
    return f"leave out the space around it: write {alone}"
