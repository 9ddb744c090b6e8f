"""Text as a part of a URL's path: the one way in which the client and the service write it."""

from __future__ import annotations

from urllib.parse import quote

from cidrgate.errors import InvalidAccountError
from cidrgate.values import text_of

__all__ = ["account_path", "path_segment"]


def path_segment(text: str, name: str) -> str:
    """Return a text as one segment of a path.

    Args:
        text: The text.
        name: The name of the argument, for the message.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is empty, so that the path would name what is above it; or has a lone surrogate, which no URL
            can contain.

    Example:
        >>> path_segment("a/b", "code"), path_segment("..", "code"), path_segment("%2e", "code")
        ('a%2Fb', '%2E%2E', '%252e')
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be text, not {type(text).__name__}")
    if not text:
        raise ValueError(f"{name} must not be empty")
    try:
        # A URL parser reads a segment that consists of dots as a relative path.
        return quote(text_of(text), safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise ValueError(
            f"{name} {text[:100]!a} has a lone surrogate, which no URL can contain: leave it out"
        ) from None


def account_path(account: str, *parts: str | int) -> str:
    """Return the path of an account, or a path below it.

    Args:
        account: The name of the account.
        parts: Segments that are numbers, or texts without special characters.

    Raises:
        TypeError: If the name is no text.
        InvalidAccountError: If no URL can contain the name.

    Example:
        >>> account_path("a/b", "entries", 7), account_path("..")
        ('/v1/accounts/a%2Fb/entries/7', '/v1/accounts/%2E%2E')
    """
    try:
        name = path_segment(account, "the name of the account")
    except ValueError as error:
        raise InvalidAccountError(str(error), account=account) from None
    return "/".join(["/v1/accounts", name, *map(str, parts)])
