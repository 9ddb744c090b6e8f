"""Errors of connections, as errors of the client without a text that may contain a secret."""

from __future__ import annotations

import httpx

from cidrgate.client.errors import ApiConnectionError

__all__ = ["ClosedClientError", "cause_of", "reason_of", "unreachable"]


class ClosedClientError(ApiConnectionError):
    """The client, or the httpx client that was passed to it, was closed before the request; nothing was sent."""

    code = ApiConnectionError.code


def unreachable(error: httpx.RequestError | UnicodeError) -> ApiConnectionError:
    """Return the error for a request after which nothing was changed."""
    return ApiConnectionError(f"the service could not be reached: {reason_of(error)}")


def reason_of(error: httpx.RequestError | UnicodeError) -> str:
    """Return why a request failed, without a text that may contain a secret."""
    if isinstance(error, UnicodeError):  # of the resolver: a part of the name is empty or longer than 63 characters
        return "the URL has no valid name of a host"
    if isinstance(error, httpx.LocalProtocolError):
        return "httpx could not write the request; check the settings of the httpx client"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection ended before the whole response was there, or the response is not HTTP"
    return str(error) or type(error).__name__


def cause_of(error: httpx.RequestError | UnicodeError) -> Exception | None:
    """Return an error as the cause of another; None if its text may quote headers, or a response with a new token."""
    return None if isinstance(error, httpx.ProtocolError) else error
