"""Detects header lines that may be trailers: fields that a client sends after the body of a request (RFC 9110 6.5).

uvicorn with httptools appends them to the headers. Proxies check and replace only the headers in front of the body, so
a trailer that a proxy passes on is what the client wrote. In a list of lines, nothing marks where the headers end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TRANSFER_ENCODING", "may_be_trailer"]

TRANSFER_ENCODING = b"transfer-encoding"
"""The header that a request with trailers has."""


def may_be_trailer(name: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a line with this name may be a trailer that stands after a header of the same name.

    Only a request with `Transfer-Encoding` has trailers (RFC 9112 section 7.1.2), and the first line of that name is a
    header, as is every line before it. The first line of any other name counts as a header too: a proxy whose header
    counts writes it into every request.

    Args:
        name: The name in lower case.
        headers: Every header line, in order; names in upper or lower case.

    Example:
        >>> chunked, line = (b"transfer-encoding", b"chunked"), (b"x-forwarded-for", b"203.0.113.9")
        >>> may_be_trailer(b"x-forwarded-for", [chunked, line, line])
        True
        >>> may_be_trailer(b"x-forwarded-for", [line, line, chunked]), may_be_trailer(b"x-forwarded-for", [line, line])
        (False, False)
    """
    found = chunked = False
    for other, _ in headers:
        lower = other.lower()
        if lower == TRANSFER_ENCODING:
            chunked = True
        elif lower == name:
            if found and chunked:
                return True
            found = True
    return False
