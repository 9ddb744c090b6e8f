"""Several networks in one text, as people paste them: separated by spaces, tabs or semicolons, or written as ranges."""

import re
from ipaddress import ip_address, ip_network, summarize_address_range

from cidrgate._engine import canonical_prefix
from cidrgate.rules.format_hints import format_hint, suggested_networks

__all__ = ["MOST_PARTS", "pasted_networks"]

MOST_PARTS = 500
"""The most networks that one text is split into."""

_MOST_OF_A_RANGE = 64
_DASH = re.compile("[\u2010-\u2015\u2212]")  # what office programs make of a hyphen
_SIGN = re.compile(r"[ \t]*+([/-])[ \t]*+")
_SEPARATOR = re.compile(r"[\s;|]+")


def pasted_networks(text: str) -> tuple[str, ...]:
    r"""Return the networks of a text that contains several, or that is a range of addresses.

    A part with one obvious correction is corrected. Any other part stays as it is, so that the rules say what is wrong
    with it alone.

    Args:
        text: The text between two commas or line ends.

    Returns:
        The parts; empty if there are not at least two, or none of them is a network.

    Example:
        >>> pasted_networks("8.8.8.0/24; 1.1.1.1\t9.9.9.9 / 32")
        ('8.8.8.0/24', '1.1.1.1/32', '9.9.9.9/32')
        >>> pasted_networks("8.8.8.0 - 8.8.9.127")
        ('8.8.8.0/24', '8.8.9.0/25')
        >>> pasted_networks("8.8.8.0/24"), pasted_networks("the office in Berlin")
        ((), ())
    """
    tight = _SIGN.sub(r"\1", _DASH.sub("-", text))
    parts: list[str] = []
    known = 0
    for part in _SEPARATOR.split(tight):
        if not part:
            continue
        networks = _networks_of(part)
        known += bool(networks)
        parts.extend(networks or [part])
        if len(parts) > MOST_PARTS:
            return ()
    return tuple(dict.fromkeys(parts)) if known and len(parts) > 1 else ()


def _networks_of(part: str) -> list[str]:
    """Return the networks that a part means; empty if it is none, or if that is not obvious."""
    try:
        return [canonical_prefix(str(ip_network(part)))]
    except ValueError:
        pass
    first, dash, last = part.partition("-")
    if dash:
        return _range(first, last)
    suggested = suggested_networks(format_hint(part))
    return suggested if len(suggested) == 1 else []


def _range(first: str, last: str) -> list[str]:
    try:
        low, high = ip_address(first), ip_address(last)
        if low.version != high.version:
            return []
        found = [canonical_prefix(str(one)) for one in summarize_address_range(low, high)]
    except ValueError:
        return []
    return found if len(found) <= _MOST_OF_A_RANGE else []
