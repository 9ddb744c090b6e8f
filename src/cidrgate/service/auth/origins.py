"""The origins of requests: from where they come, and for whom programs send them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import InvalidTextError
from cidrgate.rules.characters import checked_text
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.problems import InvalidRequestError
from cidrgate.service.http.request_ids import REQUEST_ID_KEY
from cidrgate.values import Origin

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from cidrgate.values import OriginKind

__all__ = ["ON_BEHALF_OF", "origin_of"]

ON_BEHALF_OF = "On-Behalf-Of"
"""The header in which a program names the person for whom it makes a change, as UTF-8."""


def origin_of(
    connection: HTTPConnection, kind: OriginKind, identity: str | None = None, *, via: str | None = None
) -> Origin:
    """Return the origin of a request.

    The header `On-Behalf-Of` is read only for a known token: anyone may send it with a wrong one.

    Args:
        connection: The request.
        kind: How the actor is known.
        identity: The id of the credential; None if it is unknown or wrong.
        via: The credential with which a session began.

    Raises:
        InvalidRequestError: If the header `On-Behalf-Of` is repeated, empty, too long, or not text that people can
            read.
    """
    return Origin(
        kind=kind,
        id=identity,
        via=via,
        on_behalf_of=None if kind != "token" or identity is None else _on_behalf_of(connection),
        address=client_address(connection),
        request_id=connection.scope.get(REQUEST_ID_KEY),
    )


def _on_behalf_of(connection: HTTPConnection) -> str | None:
    name = ON_BEHALF_OF.lower().encode()
    sent = [value for header, value in connection.headers.raw if header == name]
    if len(sent) > 1:
        raise InvalidRequestError([{"code": "repeated", "detail": "send it once", "header": ON_BEHALF_OF}])
    if sent and not sent[0].strip():
        detail = "name a person, or leave the header out"
        raise InvalidRequestError([{"code": "too_short", "detail": detail, "header": ON_BEHALF_OF}])
    try:
        return checked_text(sent[0].decode(), "name") if sent else None
    except UnicodeDecodeError:
        detail = "write the name in UTF-8"
    except InvalidTextError as error:
        detail = str(error)
    raise InvalidRequestError([{"code": "invalid_value", "detail": detail, "header": ON_BEHALF_OF}])
