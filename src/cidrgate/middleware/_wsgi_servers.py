"""What WSGI servers do to header names and trailers, as far as the environ of a request tells which server it is.

An environ has one name for `X-Account` and `X_Account`. Some servers drop the second, some join the two by a comma, and
some pass the last. What is not known to be harmless is treated as harmful.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "REWRITTEN",
    "drops_aliases",
    "may_be_alias",
    "may_have_trailers",
    "may_pass_alias",
    "may_read_alias",
]

REWRITTEN = "werkzeug.proxy_fix.orig"
"""Where Werkzeug's `ProxyFix` stores what it replaces."""

_FIRST_TO_DROP = {"gunicorn": 22, "Werkzeug": 3}
"""The first major version of each server that drops names with `_`."""

_FOR_DEVELOPMENT = "WSGIServer"
"""What `wsgiref`, which joins, and Django's `runserver`, which drops, call themselves."""

_GRANIAN = "Granian"
"""What granian, which passes the last, calls itself."""

_FUNCTIONS = (
    *("apig_wsgi.full_event", "awsgi.event", "azure_functions.invocation_id", "lambda.event", "serverless.event"),
)
"""What adapters for functions in a cloud, which are no test clients, add to an environ."""


def drops_aliases(environ: Mapping[str, Any]) -> bool:
    """Return whether the server is known to drop headers such as `X_Account`, which would look like `X-Account`.

    A server that names itself and is not known counts as one that does not. In front of a test client and of servers
    for development there is nobody whose header could be forged.
    """
    if "waitress.client_disconnected" in environ:
        return True
    software = environ.get("SERVER_SOFTWARE")
    if software is None:
        return "uwsgi.version" not in environ and _is_test_client(environ)
    return _is_known_to_drop(software)


def may_pass_alias(environ: Mapping[str, Any]) -> bool:
    """Return whether the server may pass the value of `X_Account` alone as that of `X-Account`.

    uWSGI, hypercorn and bridges from ASGI join the two by a comma. The last two do not say who they are, but claim to
    have threads and processes.
    """
    if drops_aliases(environ) or "uwsgi.version" in environ:
        return False
    claims_both = environ.get("wsgi.multithread") and environ.get("wsgi.multiprocess")
    return not (claims_both and "SERVER_SOFTWARE" not in environ)


def may_be_alias(environ: Mapping[str, Any], *, by_server: bool) -> bool:
    """Return whether the client's address may come from an alias of the proxy's header.

    Args:
        environ: The request's environ.
        by_server: Whether the address is the one that the server reports, as in `ClientIPResolver`.
    """
    return may_read_alias(environ) if by_server else not drops_aliases(environ)


def may_read_alias(environ: Mapping[str, Any]) -> bool:
    """Return whether what has replaced the peer may have read it from an alias such as `X_Forwarded_For`.

    Werkzeug's `ProxyFix` and granian's `wrap_wsgi_with_proxy_headers` read the environ.
    """
    rewrites = REWRITTEN in environ or environ.get("SERVER_SOFTWARE") == _GRANIAN
    return rewrites and "HTTP_X_FORWARDED_FOR" in environ and not drops_aliases(environ)


def may_have_trailers(environ: Mapping[str, Any]) -> bool:
    """Return whether a trailer may be joined to a header: bridges from ASGI join all lines that the server passes.

    No server that drops aliases is such a bridge, nor is granian or uWSGI. hypercorn is none, but looks like one.
    """
    return (
        "HTTP_TRANSFER_ENCODING" in environ
        and "uwsgi.version" not in environ
        and environ.get("SERVER_SOFTWARE") != _GRANIAN
        and not drops_aliases(environ)
    )


def _is_test_client(environ: Mapping[str, Any]) -> bool:
    """Return whether an environ without the name of a server comes from no server, but from a test.

    The test clients of Flask and Werkzeug claim to have neither threads nor processes. Django's claims to have
    processes, as Tornado does, and gives the body in a type of its own.
    """
    if environ.get("wsgi.multithread") or environ.get("wsgi.multiprocess"):
        return type(environ.get("wsgi.input")).__module__ == "django.test.client"
    return not any(key in environ for key in _FUNCTIONS)


@lru_cache(maxsize=16)
def _is_known_to_drop(software: str) -> bool:
    """Return whether a server drops names with `_`, by its `SERVER_SOFTWARE`."""
    name, _, version = software.partition("/")
    if name == _FOR_DEVELOPMENT:
        return True
    major = version.partition(".")[0]
    return name in _FIRST_TO_DROP and major.isdecimal() and int(major) >= _FIRST_TO_DROP[name]
