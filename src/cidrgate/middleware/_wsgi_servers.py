"""What WSGI servers do to header names and trailers, as far as the environ of a request tells which server it is.

An environ has one name for `X-Account` and `X_Account`. Some servers drop the second, some join the two by a comma, and
some pass the last. A server that is not known may pass the last. What has no name, threads or processes is taken for a
test client.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.decision_log import advise_about_aliases
from cidrgate.gate.forwarded import has_several_elements
from cidrgate.gate.header_names import has_alias
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS
from cidrgate.gate.trailers import TRANSFER_ENCODING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cidrgate.gate.account_sources import FromHeader
    from cidrgate.gate.client_ip import ClientIPResolver

__all__ = [
    "REWRITTEN",
    "drops_aliases",
    "may_be_alias",
    "may_have_trailers",
    "may_pass_alias",
    "may_read_alias",
    "refuse_alias",
    "refuses_aliases",
    "with_possible_trailers",
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
    return isinstance(software, str) and _is_known_to_drop(software)


def may_pass_alias(environ: Mapping[str, Any]) -> bool:
    """Return whether the server may pass the value of `X_Account` alone as that of `X-Account`.

    uWSGI, hypercorn and bridges from ASGI join the two by a comma.
    """
    return not (drops_aliases(environ) or "uwsgi.version" in environ or _is_like_bridge(environ))


def refuses_aliases(source: FromHeader) -> bool:
    """Return whether a header with the account does not count under a server that may pass an alias for it."""
    return has_alias(source.name) and not source.allow_aliases


def refuse_alias(source: FromHeader, environ: Mapping[str, Any]) -> None:
    """Refuse the account in a header that the server may have got as another one.

    Raises:
        UnclearAccountError: If it may have.
    """
    if may_pass_alias(environ):
        advise_about_aliases()
        raise UnclearAccountError(f"the server may pass another header as {source.name}")


def _is_like_bridge(environ: Mapping[str, Any]) -> bool:
    """Return whether an environ is that of hypercorn or of a bridge from ASGI, which do not say who they are.

    They claim to have threads and processes, as Tornado does. But errors go to the standard output there, and asgiref
    gives the body in a temporary file.
    """
    return bool(
        environ.get("wsgi.multithread")
        and environ.get("wsgi.multiprocess")
        and "SERVER_SOFTWARE" not in environ
        and (environ.get("wsgi.errors") is sys.stdout or isinstance(environ.get("wsgi.input"), SpooledTemporaryFile))
    )


def may_be_alias(environ: Mapping[str, Any], *, by_server: bool, peer: str | None = None) -> bool:
    """Return whether the client's address may come from an alias of the proxy's header.

    Args:
        environ: The request's environ.
        by_server: Whether the address is the one that the server reports, as in `ClientIPResolver`.
        peer: The address that an ASGI server inside of the WSGI server reports, if there is one.
    """
    if not by_server:
        return not drops_aliases(environ)
    return may_read_alias(environ, replaced=peer is not None and peer != environ.get("REMOTE_ADDR"))


def may_read_alias(environ: Mapping[str, Any], *, replaced: bool = False) -> bool:
    """Return whether what has replaced the peer may have read it from an alias such as `X_Forwarded_For`.

    Werkzeug's `ProxyFix` and granian's `wrap_wsgi_with_proxy_headers` read the environ; the second leaves no trace.

    Args:
        environ: The request's environ.
        replaced: Whether something else has replaced the peer.
    """
    if REWRITTEN in environ:
        replaced = replaced or environ[REWRITTEN]["REMOTE_ADDR"] != environ.get("REMOTE_ADDR")
    return (
        (replaced or environ.get("SERVER_SOFTWARE") == _GRANIAN)
        and "HTTP_X_FORWARDED_FOR" in environ
        and not drops_aliases(environ)
    )


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


def with_possible_trailers(resolver: ClientIPResolver, lines: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the header lines of a request in chunks as a server could have received them, if it may pass trailers.

    A value that may consist of two lines is repeated; the resolver then says that the last line may be a trailer.
    """
    own = resolver.client_header
    read = CLIENT_HEADERS if resolver.resolved_by_server else {own.encode("latin-1")} if own else ()
    joined = [line for line in lines if line[0] in read and has_several_elements(line[0].decode("latin-1"), line[1])]
    return [(TRANSFER_ENCODING, b"chunked"), *lines, *joined]


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
