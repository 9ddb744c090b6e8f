"""Header names and other HTTP tokens. They are checked when a setting is made, not when a request arrives."""

from __future__ import annotations

import re

__all__ = ["check_token", "folded_name", "has_alias"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


_FOLDED = bytes(ord(chr(octet).lower()) if chr(octet).isalnum() and octet < 128 else ord("-") for octet in range(256))


def folded_name(name: bytes) -> bytes:
    """Return a header name as the least exact reader sees it.

    WSGI treats `_` and `-` as equal. CGI and PHP treat all characters except letters and digits as equal.

    Example:
        >>> folded_name(b"X_Api.Key")
        b'x-api-key'
    """
    return name.translate(_FOLDED)


def has_alias(name: str) -> bool:
    """Return whether a WSGI server can take another header for this one, as it can take `X_Account` for `X-Account`.

    Example:
        >>> has_alias("x-account"), has_alias("authorization")
        (True, False)
    """
    return "-" in name or "_" in name


def check_token(text: str, what: str) -> str:
    """Return a text if it is an HTTP token (RFC 9110 section 5.6.2), such as the name of a header or a scheme.

    Args:
        text: The token.
        what: What the token is, for the error message.

    Raises:
        TypeError: If it is not a str.
        ValueError: If it is not a token.

    Example:
        >>> check_token("X-Real-IP", "the name of a header")
        'X-Real-IP'
        >>> check_token("X-Real-IP:", "the name of a header")
        Traceback (most recent call last):
        ...
        ValueError: the name of a header may contain only letters, digits and !#$%&'*+-.^_`|~, not 'X-Real-IP:'
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {text!r}")
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{what} may contain only letters, digits and !#$%&'*+-.^_`|~, not {text!r}")
    return text
