"""Hints for text that is not a CIDR: what the person probably meant. Only the engine decides what is a CIDR."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["format_hint", "suggested_networks"]

_WANTED = "write a network as address/length, such as 8.8.8.0/24 or 2606:4700::/32"
# Possessive quantifiers, and no match starts inside text that another attempt has read: linear time for every input.
_LEADING_ZERO_OCTET = re.compile(r"\.0\d|(?<![\da-fA-Fx])0\d++\.")
_WILDCARD = re.compile(r"(\d++(?:\.\d++){0,2})((?:\.\*)++)")
_MOST_NAMED = 4
_NETWORK = re.compile(r"(?<![0-9a-fA-F.:])[0-9a-fA-F.:]++/[0-9]++")


def format_hint(text: str) -> str:
    """Return advice for text that is not a CIDR, with the canonical form if it can be guessed.

    Args:
        text: The submitted text, which the engine rejected.

    Returns:
        A sentence for a person. The engine accepts every network that the sentence suggests.

    Example:
        >>> format_hint("203.0.113.5")
        'add the length: 203.0.113.5/32'
        >>> format_hint("192.168.1.7/24")
        'bits are set beyond /24: write 192.168.1.0/24 for the network, or 192.168.1.7/32 for the single address'
        >>> format_hint("010.0.0.1/32")
        'leading zeros are ambiguous, because some programs read them as octal: write each number without them'
    """
    if not text.strip():
        return f"the text is empty: {_WANTED}"
    if "," in text:
        return f"this is more than one network: {_WANTED}"
    if any(map(str.isspace, text)):
        return _hint_on_space(text)
    address, slash, length = text.partition("/")
    if "%" in text:
        # The zone ends where the length begins.
        before, _, zone = text.partition("%")
        guess = _canonical(f"{before}/{zone.partition('/')[2]}" if "/" in zone else before)
        return f"a zone id is only valid on one machine: {f'write {guess}' if guess else _WANTED}"
    if _LEADING_ZERO_OCTET.search(address):
        return "leading zeros are ambiguous, because some programs read them as octal: write each number without them"
    if "*" in text:
        return _hint_on_wildcard(text)
    return (_hint_on_length(address, length) if slash else _hint_without_length(text)) or _WANTED


def suggested_networks(hint: str) -> list[str]:
    """Return the networks that a hint suggests, so a page can offer them as buttons.

    Args:
        hint: A hint from `format_hint`.

    Example:
        >>> suggested_networks(format_hint("192.168.1.7/24"))
        ['192.168.1.0/24', '192.168.1.7/32']
        >>> suggested_networks(format_hint("office"))
        []
    """
    return [text for text in _NETWORK.findall(hint.replace(_WANTED, "")) if _canonical(text) == text]


def _canonical(text: str, *, strict: bool = True) -> str | None:
    """Return the canonical CIDR of an address or a network, or None for other text."""
    try:
        return canonical_prefix(str(ip_network(text, strict=strict)))
    except ValueError:
        return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the text as an address, or None if it is not one."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _hint_on_space(text: str) -> str:
    """Return the hint for spaces inside. Only spaces beside a sign are dropped: `1.1.1.1 2` must stay two parts."""
    tight = " ".join(text.split())
    for sign in "/-":
        tight = tight.replace(f" {sign}", sign).replace(f"{sign} ", sign)
    parts = tight.split(" ")
    if len(parts) == 1:
        guess = _canonical(tight)
        return f"there is a space inside{f': write {guess}' if guess else f'; {format_hint(tight)}'}"
    networks = [_canonical(part) for part in parts[: _MOST_NAMED + 1]]
    if None in networks or len(networks) > _MOST_NAMED:
        return f"there is a space inside: {_WANTED}"
    return f"separate networks with commas: {', '.join(map(str, networks))}"


def _hint_on_wildcard(text: str) -> str:
    """Return the hint for wildcards; those for whole octets at the end mean a network."""
    octets = _WILDCARD.fullmatch(text)
    known = octets[1].split(".") if octets else []
    fits = octets is not None and len(known) + octets[2].count("*") <= 4
    guess = _canonical(".".join(known + ["0"] * (4 - len(known))) + f"/{8 * len(known)}") if fits else None
    return f"wildcards are not supported: {f'write {guess}' if guess else _WANTED}"


def _hint_without_length(text: str) -> str | None:
    """Return the hint for an address without a length, or for a range of addresses."""
    guess = _canonical(text)
    if guess:
        return f"add the length: {guess}"
    first, dash, last = text.partition("-")
    return _hint_on_range(first, last) if dash and _address(first) else None


def _hint_on_range(first: str, last: str) -> str:
    """Return the hint with the networks that make up a range of addresses."""
    summary: Iterator[IPv4Network] | Iterator[IPv6Network]
    try:
        match _address(first), _address(last):
            case IPv4Address() as low, IPv4Address() as high:
                summary = summarize_address_range(low, high)
            case IPv6Address() as low, IPv6Address() as high:
                summary = summarize_address_range(low, high)
            case _:
                return f"ranges are not supported: {_WANTED}"
        networks = [canonical_prefix(str(network)) for network in summary]
    except ValueError:
        return f"ranges are not supported, and this range ends before it begins: {_WANTED}"
    if len(networks) > _MOST_NAMED:
        return f"ranges are not supported, and this range needs {len(networks)} networks: {_WANTED}"
    return f"ranges are not supported: write {', '.join(networks)}"


def _hint_on_length(address: str, length: str) -> str | None:
    """Return the hint for a length that is invalid, out of range or a netmask, or for set bits beyond the length."""
    written = _address(address)
    if written is None:
        return None
    if written.version == 4 and "." in length:
        network = _canonical(f"{address}/{length}", strict=False)
        return f"write the netmask as a length: {network}" if network else None
    # Compared as text first: `int` refuses thousands of digits.
    digits = (length.lstrip("0") or "0") if length.isascii() and length.isdigit() else ""
    if not digits or len(digits) > 3 or int(digits) > written.max_prefixlen:
        return f"the length of an IPv{written.version} network must be a number from 0 to {written.max_prefixlen}"
    network = _canonical(f"{address}/{digits}", strict=False)
    if digits != length:
        return f"write the length without leading zeros: {network}"
    return (
        f"bits are set beyond /{length}: write {network} for the network, "
        f"or {_canonical(address)} for the single address"
    )
