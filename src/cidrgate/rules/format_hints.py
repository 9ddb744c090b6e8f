"""Hints for text that is not a CIDR: what the person probably meant. Only the engine decides what is a CIDR."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_prefix
from cidrgate.rules.characters import unseen_character
from cidrgate.rules.notations import (
    Notation,
    address_of,
    has_leading_zeros,
    has_one_mapped_end,
    ipv4_in_ipv6,
    meaning_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Alternative", "FormatHint", "format_hint"]

_WANTED = "write a network as address/length, such as 8.8.8.0/24 or 2606:4700::/32"
_MOST_NAMED = 4
_RANGE = re.compile(r"[^-\u2010-\u2015\u2212]*+[-\u2010-\u2015\u2212][^-\u2010-\u2015\u2212]*+")
_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_SLASHES = re.compile("[\u2044\u2215\u29f8\uff0f]")
_DOTS = re.compile("[\u2024\u3002\ufe52\uff0e\uff61]")
_COLONS = re.compile("[\u02d0\u2236\ua789\ufe55\uff1a]")
_QUOTES = "'\"`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb<>()[]"
_PORT = re.compile(r"(?:([0-9.]++)|\[([0-9a-fA-F.:]++)\]):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Alternative:
    """What could be written instead of a text.

    Attributes:
        networks: The canonical CIDRs: one, or several that belong together.
        purpose: What distinguishes it from the other alternatives; empty if it is the only one.
    """

    networks: tuple[str, ...]
    purpose: str = ""

    @property
    def text(self) -> str:
        """The networks as one submission."""
        return ", ".join(self.networks)

    def __str__(self) -> str:
        """Return the networks and their purpose."""
        return f"{self.text} {self.purpose}".strip()


@dataclass(frozen=True, slots=True)
class FormatHint:
    """Advice for a text that is not a CIDR.

    Attributes:
        advice: What is wrong, or what to do. The alternatives continue it.
        alternatives: What could be written instead, the best first.
    """

    advice: str
    alternatives: tuple[Alternative, ...] = ()

    def __str__(self) -> str:
        """Return a sentence for a person."""
        return self.told(self.alternatives)

    def told(self, alternatives: Sequence[Alternative]) -> str:
        """Return the sentence with some of the alternatives only."""
        return f"{self.advice} {', or '.join(map(str, alternatives))}" if alternatives else self.advice

    def checked(self, refusal: Callable[[Alternative], str]) -> tuple[str, tuple[Alternative, ...]]:
        """Return the sentence for a list that may refuse alternatives, and those that it accepts.

        A person who follows the sentence meets no second refusal: what the list would refuse is named with the reason.

        Args:
            refusal: Returns why the list refuses an alternative; empty if it accepts it.
        """
        refusals = {one: refusal(one) for one in self.alternatives}
        accepted = [one for one in self.alternatives if not refusals[one]]
        told = self.told(accepted or self.alternatives)
        for one, why in refusals.items():
            if why:
                told += f"; but {one.text} would be refused too: {why}"
                if not accepted:
                    break  # the reason is nearly always the same
        return told, tuple(accepted)


def format_hint(text: str) -> FormatHint:
    """Return advice for text that is not a CIDR, with the canonical form if it can be guessed.

    Args:
        text: The submitted text, which the engine rejected.

    Returns:
        Advice for a person. The engine accepts every network of an alternative.

    Example:
        >>> print(format_hint("203.0.113.5"))
        add the length: 203.0.113.5/32
        >>> print(format_hint("192.168.1.7/24"))
        bits are set beyond /24: write 192.168.1.0/24 for the network, or 192.168.1.7/32 for the single address
        >>> print(format_hint("9.9.9.0 255.255.255.0"))
        write the netmask as a length: 9.9.9.0/24
        >>> print(format_hint("010.0.0.1/32"))
        leading zeros are ambiguous, because some programs read them as octal: write each number without them
    """
    if not text.strip():
        return FormatHint(f"the text is empty: {_WANTED}")
    if "," in text:
        return FormatHint(f"this is more than one network: {_WANTED}")
    address, slash, length = text.partition("/")
    if "%" in text:
        return _hint_on_zone(text)
    if not text.isascii() or not text.isprintable():
        hint = _hint_on_characters(text)
        if hint is not None:
            return hint
    if has_leading_zeros(address):
        return FormatHint(
            "leading zeros are ambiguous, because some programs read them as octal: write each number without them"
        )
    meant = meaning_of(text)
    if meant is not None:
        return _hint_on_notation(text, meant.notation, meant.networks)
    if any(map(str.isspace, text)):
        return _hint_on_space(text)
    inside = meaning_of(text.strip(_QUOTES)) if text[0] in _QUOTES and text[-1] in _QUOTES else None
    if inside is not None and len(inside.networks) <= _MOST_NAMED:
        return FormatHint("leave out the quotes: write", (Alternative(inside.networks),))
    if "*" in text:
        return FormatHint(f"this wildcard is not one network: {_WANTED}")
    if port := _PORT.fullmatch(text):
        guess = _canonical(port[1] or port[2])
        if guess:
            return FormatHint("leave out the port: write", (Alternative((guess,)),))
    return (_hint_on_length(address, length) if slash else _hint_on_range(text)) or FormatHint(_WANTED)


def _canonical(text: str) -> str | None:
    """Return the canonical CIDR of an address or a network, or None for other text."""
    try:
        return canonical_prefix(str(ip_network(text)))
    except ValueError:
        return None


def _hint_on_notation(text: str, notation: Notation, networks: tuple[str, ...]) -> FormatHint:
    """Return the hint for a notation with one meaning."""
    whole = (Alternative(networks),)
    match notation:
        case Notation.ADDRESS:
            return _hint_without_length(text.strip(), networks[0])
        case Notation.HOST_BITS:
            address, _, length = (part.strip() for part in text.partition("/"))
            single = _canonical(address)
            if single is None or single == networks[0]:  # 64 bits of a mapped address hold the length of IPv4
                return FormatHint("write", whole)
            return FormatHint(
                f"bits are set beyond /{length}: write",
                (Alternative(networks, "for the network"), Alternative((single,), "for the single address")),
            )
        case Notation.NETMASK:
            return FormatHint("write the netmask as a length:", whole)
        case Notation.WILDCARD:
            return FormatHint("wildcards are not supported: write", whole)
        case Notation.RANGE if len(networks) > _MOST_NAMED:
            return FormatHint(f"ranges are not supported, and this range needs {len(networks)} networks: {_WANTED}")
        case Notation.RANGE:
            return FormatHint("ranges are not supported: write", whole)
        case _ if any(map(str.isspace, text)):
            return FormatHint("there is a space inside: write", whole)
        case _:
            return FormatHint("write the length without leading zeros:", whole)


def _hint_without_length(address: str, single: str) -> FormatHint:
    """Return the hint for an address without a length. A device changes its IPv6 address inside of a /64."""
    written = address_of(address)
    if ":" not in single or written is None:
        return FormatHint("add the length:", (Alternative((single,)),))
    network = canonical_prefix(str(ip_network((int(written) >> 64 << 64, 64))))
    return FormatHint(
        "add the length:",
        (
            Alternative((network,), "for its network, because a device changes its address within the /64"),
            Alternative((single,), "for the single address"),
        ),
    )


def _hint_on_characters(text: str) -> FormatHint | None:
    """Return the hint for characters that nobody can see, or that look like others; None if there are none."""
    character = next((one for one in text if not one.isspace() and unseen_character(one)), None)
    if character is not None:
        seen = "".join(one for one in text if one.isspace() or not unseen_character(one))
        what = f"{text!a} contains the invisible character {_named(character)}"
    else:
        seen = _without_lookalikes(text)
        if seen == text:
            return None
        character = next(one for one in text if _without_lookalikes(one) != one)
        what = f"{text!a} contains {_named(character)}, which only looks like {_without_lookalikes(character)!r}"
    meant = None if has_leading_zeros(seen) else meaning_of(seen)
    if meant is None or len(meant.networks) > _MOST_NAMED:
        return FormatHint(f"{what}: {_WANTED}")
    return FormatHint(f"{what}: write", (Alternative(meant.networks),))


def _without_lookalikes(text: str) -> str:
    """Return a text with the characters that networks are written with, instead of those that look like them."""
    for signs, plain in ((_DASHES, "-"), (_SLASHES, "/"), (_DOTS, "."), (_COLONS, ":")):
        text = signs.sub(plain, text)
    return "".join(one if one.isspace() else _plain_digit(one) for one in text)


def _plain_digit(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() and plain.isalnum() else character


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{name and f' ({name})'}"


def _hint_on_zone(text: str) -> FormatHint:
    # The zone ends where the length begins.
    before, _, zone = text.partition("%")
    guess = _canonical(f"{before}/{zone.partition('/')[2]}" if "/" in zone else before)
    if guess is None:
        return FormatHint(f"a zone id is only valid on one machine: {_WANTED}")
    return FormatHint("a zone id is only valid on one machine: write", (Alternative((guess,)),))


def _hint_on_space(text: str) -> FormatHint:
    """Return the hint for spaces inside. Only spaces beside a sign are dropped: `1.1.1.1 2` must stay two parts."""
    tight = " ".join(text.split())
    for sign in "/-":
        tight = tight.replace(f" {sign}", sign).replace(f"{sign} ", sign)
    parts = tight.split(" ")
    if len(parts) == 1:
        hint = format_hint(tight)
        return FormatHint(f"there is a space inside; {hint.advice}", hint.alternatives)
    if len(parts) == 2 and parts[1].partition(".")[0] in {"0", "255"}:
        return FormatHint(f"{parts[1]} is not a netmask: {_WANTED}")
    networks = [_canonical(part) for part in parts[: _MOST_NAMED + 1]]
    if None in networks or len(networks) > _MOST_NAMED:
        return FormatHint(f"there is a space inside: {_WANTED}")
    return FormatHint("separate networks with commas:", (Alternative(tuple(map(str, networks))),))


_DASH = re.compile("[-\u2010-\u2015\u2212]")


def _hint_on_range(text: str) -> FormatHint | None:
    """Return the hint for a range without a meaning."""
    if not _RANGE.fullmatch(text):
        return None
    first, last = (address_of(part) for part in _DASH.split(text))
    match first, last:
        case IPv6Address(), IPv6Address() if first < last and has_one_mapped_end(int(first), int(last)):
            return FormatHint(f"one end of this range is IPv4-mapped, and the other is not: {_WANTED}")
        case (IPv4Address(), IPv4Address()) | (IPv6Address(), IPv6Address()):
            return FormatHint(f"this range ends before it begins: {_WANTED}")
        case None, _:
            return None
    return FormatHint(f"this is not a range of addresses: {_WANTED}")


def _hint_on_length(address: str, length: str) -> FormatHint | None:
    """Return the hint for a length that is invalid or out of range."""
    written = address_of(address)
    if written is None or (written.version == 4 and "." in length):
        return None
    # Compared as text first: `int` refuses thousands of digits.
    digits = (length.lstrip("0") or "0") if length.isascii() and length.isdigit() else ""
    if not digits or len(digits) > 3 or int(digits) > written.max_prefixlen:
        return FormatHint(
            f"the length of an IPv{written.version} network must be a number from 0 to {written.max_prefixlen}"
        )
    mapped = ipv4_in_ipv6(address, int(digits))
    if mapped is not None:
        return _hint_on_mapped(mapped, int(digits))
    network = canonical_prefix(str(ip_network(f"{address}/{digits}", strict=False)))
    return FormatHint("write the length without leading zeros:", (Alternative((network,)),))


def _hint_on_mapped(address: IPv4Address, length: int) -> FormatHint:
    """Return the hint for an IPv4-mapped address in a network of IPv6, which contains no IPv4 address."""
    ways = [Alternative((f"{address}/32",), "for the single address")]
    if 0 < length < address.max_prefixlen:
        network = str(ip_network(f"{address}/{length}", strict=False))
        ways.insert(0, Alternative((network,), "for the IPv4 network"))
    return FormatHint(f"{address} is an IPv4 address: write", tuple(ways))
