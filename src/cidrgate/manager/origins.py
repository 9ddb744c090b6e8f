"""Checks the origins that programs state: the change log holds them permanently, and shows them to people."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from cidrgate._engine import canonical_address
from cidrgate.rules.characters import checked_text
from cidrgate.values import Origin, OriginKind, text_of

__all__ = ["checked_origin"]


def checked_origin(origin: Origin) -> Origin:
    """Return an origin as the change log holds it: with a canonical address, and None for empty texts.

    Raises:
        TypeError: If it is no `Origin`.
        ValueError: If its kind is unknown.
        InvalidAddressError: If its address is not an address.
        InvalidTextError: If a text is too long, or contains an invisible character.

    Example:
        >>> checked_origin(Origin(kind="library", id="", address="2606:4700:0::1"))
        Origin(kind='library', id=None, via=None, on_behalf_of=None, address='2606:4700::1', request_id=None)
        >>> checked_origin(Origin(kind="browser"))
        Traceback (most recent call last):
        ...
        ValueError: the kind of an origin must be token, session, link, cli or library, not 'browser'
    """
    if not isinstance(origin, Origin):
        raise TypeError(f"pass an Origin, not {origin!r}")
    kinds = get_args(OriginKind)
    if origin.kind not in kinds:
        known = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
        raise ValueError(f"the kind of an origin must be {known}, not {origin.kind!r}")
    return replace(
        origin,
        id=checked_text(origin.id, "id"),
        via=checked_text(origin.via, "via"),
        on_behalf_of=checked_text(origin.on_behalf_of, "on_behalf_of"),
        address=None if origin.address is None else canonical_address(text_of(origin.address)),
        request_id=checked_text(origin.request_id, "request_id"),
    )
