"""Names of header fields, and other tokens of HTTP: checked when a setting is made, not when a request comes."""

from __future__ import annotations

import re

__all__ = ["check_token", "folded_name"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


_FOLDED = bytes(ord(chr(octet).lower()) if chr(octet).isalnum() and octet < 128 else ord("-") for octet in range(256))


def folded_name(name: bytes) -> bytes:
    """A name of a header as the least exact of its readers sees it.

    WSGI folds `_` and `-`; CGI and PHP fold everything but letters and digits.

    Example:
        >>> folded_name(b"X_Api.Key")
        b'x-api-key'
    """
    return name.translate(_FOLDED)


def check_token(text: str, what: str) -> str:
    """A token of HTTP (RFC 9110 section 5.6.2), as names of headers and schemes are.

    Args:
        text: The token.
        what: What it is, for the message.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is no token.

    Example:
        >>> check_token("X-Real-IP", "the name of a header")
        'X-Real-IP'
        >>> check_token("X-Real-IP:", "the name of a header")
        Traceback (most recent call last):
        ...
        ValueError: the name of a header is letters, digits and !#$%&'*+-.^_`|~ alone, not 'X-Real-IP:'
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str, not {text!r}")
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{what} is letters, digits and !#$%&'*+-.^_`|~ alone, not {text!r}")
    return text
