"""What somebody probably meant by text that is no CIDR. Hints only: the engine alone decides what is one."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address, ip_network, summarize_address_range

__all__ = ["format_hint"]

_WANTED = "write a network as address/length, such as 8.8.8.0/24 or 2606:4700::/32"
_LEADING_ZERO_OCTET = re.compile(r"(?:^|\.)0\d+(?=\.|/|$)")


def format_hint(text: str) -> str:
    """The way out for text that is no CIDR, with the canonical form where one can be guessed.

    Example:
        >>> format_hint("203.0.113.5")
        'add the length: 203.0.113.5/32'
        >>> format_hint("192.168.1.7/24")
        'bits are set beyond /24: write 192.168.1.0/24 for the network, or 192.168.1.7/32 for the one address'
        >>> format_hint("010.0.0.1/32")
        'leading zeros are ambiguous (octal to some programs): write each number without them'
    """
    if not text:
        return f"nothing was given: {_WANTED}"
    squeezed = "".join(text.split())
    if squeezed != text:
        guess = _canonical(squeezed)
        return f"there is a space inside: write {guess}" if guess else f"there is a space inside: {_WANTED}"
    address, slash, length = text.partition("/")
    if "%" in text:
        guess = _canonical(re.sub(r"%[^/]*", "", text))
        return f"a zone id means nothing outside one machine: {f'write {guess}' if guess else _WANTED}"
    if ":" not in address and _LEADING_ZERO_OCTET.search(address):
        return "leading zeros are ambiguous (octal to some programs): write each number without them"
    return (_hint_on_length(address, length) if slash else _hint_without_length(text)) or _WANTED


def _canonical(text: str) -> str | None:
    """The canonical CIDR of text that is an address or a network, or None."""
    try:
        return str(ip_network(text))
    except ValueError:
        return None


def _hint_without_length(text: str) -> str | None:
    """A bare address, a range of addresses, or a wildcard."""
    guess = _canonical(text)
    if guess:
        return f"add the length: {guess}"
    first, dash, last = text.partition("-")
    if dash:
        return _hint_on_range(first, last)
    if text.endswith(".*"):
        octets = [octet for octet in text.split(".") if octet != "*"]
        guess = _canonical(".".join([*octets, *["0"] * (4 - len(octets))]) + f"/{8 * len(octets)}")
        return f"wildcards are not understood: write {guess}" if octets and guess else None
    return None


def _hint_on_range(first: str, last: str) -> str:
    """The networks that make up a range of addresses."""
    try:
        low, high = IPv4Address(first), IPv4Address(last)
        networks = list(summarize_address_range(low, high))
    except ValueError:
        return f"ranges are not understood: {_WANTED}"
    if len(networks) > 4:
        return f"ranges are not understood, and this one is {len(networks)} networks: {_WANTED}"
    return f"ranges are not understood: write {', '.join(map(str, networks))}"


def _hint_on_length(address: str, length: str) -> str | None:
    """A length that is none, is out of range or is a netmask, or address bits beyond it."""
    try:
        version = ip_address(address).version
    except ValueError:
        return None
    longest = 32 if version == 4 else 128
    if version == 4 and "." in length:
        try:
            return f"write the netmask as a length: {ip_network(f'{address}/{length}', strict=False)}"
        except ValueError:
            return None
    if not (length.isascii() and length.isdigit()) or int(length[:6]) > longest:
        return f"the length of an IPv{version} network is a number from 0 to {longest}"
    network = ip_network(f"{address}/{length}", strict=False)
    if length != str(int(length)):
        return f"write the length without leading zeros: {network}"
    return (
        f"bits are set beyond /{length}: write {network} for the network, or {ip_network(address)} for the one address"
    )
