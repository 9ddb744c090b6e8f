"""Several networks in one text, as people paste them: separated by spaces, tabs or semicolons, or written as ranges."""

import re

from cidrgate.rules.notations import Meaning, Notation, meaning_of

__all__ = ["MOST_PARTS", "pasted_networks"]

MOST_PARTS = 500
"""The most networks that one text is split into."""

_MOST_OF_A_RANGE = 64
_SIGN = re.compile(r"(?<![ \t])[ \t]*+([/\u2010-\u2015\u2212-])[ \t]*+")
_CHUNKS = re.compile(r"[;|]")


def pasted_networks(text: str) -> tuple[str, ...]:
    r"""Return the networks of a text that contains several, or that is a range of addresses.

    A part with one meaning is written as its network. Any other part stays as it is, and the rules say what is wrong
    with it.

    Args:
        text: The text between two commas or line ends.

    Returns:
        The parts; empty if there are not at least two, or none of them is a network.

    Example:
        >>> pasted_networks("8.8.8.0/24; 1.1.1.1\t9.9.9.9 / 32")
        ('8.8.8.0/24', '1.1.1.1/32', '9.9.9.9/32')
        >>> pasted_networks("8.8.8.0 - 8.8.9.127")
        ('8.8.8.0/24', '8.8.9.0/25')
        >>> pasted_networks("9.9.9.0 255.255.255.0"), pasted_networks("the office in Berlin")
        ((), ())
    """
    parts: list[str] = []
    known = 0
    for chunk in _CHUNKS.split(text):
        # A netmask after a space belongs to its address.
        pieces = [chunk] if meaning_of(chunk) is not None else _SIGN.sub(r"\1", chunk).split()
        for piece in pieces:
            written = piece.strip()
            meaning = meaning_of(written)
            known += meaning is not None
            parts.extend(_networks_of(meaning) or ([written] if written else []))
        if len(parts) > MOST_PARTS:
            return ()
    return tuple(dict.fromkeys(parts)) if known and len(parts) > 1 else ()


def _networks_of(meaning: Meaning | None) -> tuple[str, ...]:
    """Return the networks that a part means; none if that is not obvious."""
    if meaning is None or len(meaning.networks) > _MOST_OF_A_RANGE or meaning.notation is Notation.HOST_BITS:
        return ()
    if meaning.notation is Notation.ADDRESS and ":" in meaning.networks[0]:
        return ()  # the device, or its /64
    return meaning.networks
