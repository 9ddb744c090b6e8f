"""Strict requests: the service refuses what it would ignore, and bodies of another media type.

What is ignored is dangerous: if the service ignored an unknown `dry_run`, in the query or in a body that the operation
does not take, or a condition of the change such as `If-Match`, it would make the change.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import contextmanager
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, Union, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import params
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request

from cidrgate.service.http.limits import DEEPEST_JSON, LONGEST_NUMBER, MOST_FIELDS, MOST_MEMBERS
from cidrgate.service.http.prefix import prefix_of
from cidrgate.service.http.problems import InvalidRequestError, MalformedBodyError, ServiceError
from cidrgate.service.http.threads import ChangingRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from fastapi.dependencies.models import Dependant
    from starlette.responses import Response

__all__ = ["BEFORE_BODY", "FORM", "MERGE_PATCH", "ConsoleRoute", "StrictRoute", "json_of"]

FORM = "cidrgate.form"
"""The key of the scope that holds the parsed form, for error pages: a body can be read only once."""

_SINGLE_HEADERS = ("Authorization", "Idempotency-Key", "Content-Type")
"""Headers that must not be repeated, because two parsers could use different lines."""

MERGE_PATCH = "application/merge-patch+json"
"""The media type of a JSON merge patch (RFC 7396). `PATCH` also accepts it as plain JSON."""

_CONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
"""Headers on which a client lets a change depend."""

_NO_CHANGE = frozenset({"GET", "HEAD"})
"""The methods of requests that change nothing. They take every conditional header, and ignore what cannot apply."""

BEFORE_BODY: set[Callable[..., Any]] = set()
"""Coroutine functions of dependencies that need only the request, such as authentication. They run before its body is
read, and must remember their result: FastAPI calls them again."""


class StrictRoute(ChangingRoute):
    """A route of the API. It refuses unknown query parameters, and repeated ones unless they are lists."""

    refuse_unknown = True
    adds_prefix = True
    """Whether a `Location` gets the prefix of the service. A stored response has none: it may be another one later."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        settings["generate_unique_id_function"] = lambda route: route.name
        super().__init__(path, endpoint, **settings)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the function that handles a request."""
        handle = super().get_route_handler()
        query = _names(self.dependant, "query_params")
        untaken = self._untaken_headers()
        first = [call for call in _calls(self.dependant) if call in BEFORE_BODY]
        fields = _names(self.dependant, "body_params") if self._takes_a_form() else None
        takes = self._media_types()

        async def strict(request: Request) -> Response:
            for name in _SINGLE_HEADERS:
                if len(request.headers.getlist(name)) > 1:
                    raise InvalidRequestError([{"code": "repeated", "detail": "send it once", "header": name}])
            _check_headers(request, untaken)
            self._check("query", _pairs(request), query)
            for call in first:
                await call(request)
            stricter = _StrictRequest(request.scope, request.receive)
            if self.body_field is None:
                await stricter.refuse_body()
            else:
                _check_coding(request)
            if takes:
                _check_media_type(request, takes)
            if fields is not None:
                request.scope[FORM] = FormData()
                with _unless_client_leaves():
                    form = request.scope[FORM] = await stricter.form(max_fields=MOST_FIELDS, max_files=0)
                self._check("form", (name for name, _ in form.multi_items()), fields)
            response = await handle(stricter)
            if self.adds_prefix and "Location" in response.headers:
                response.headers["Location"] = prefix_of(request.scope) + response.headers["Location"]
            return response

        return strict

    def _untaken_headers(self) -> dict[str, str]:
        """Return the headers without which a change would be another one and that it does not take, each with advice.

        A change ignores `Range`, `If-Range` and `If-Modified-Since`, which RFC 9110 defines for `GET` alone.
        """
        if not (self.methods or set()) - _NO_CHANGE:
            return {}
        taken = _names(self.dependant, "header_params")
        model = None if self.body_field is None else self.body_field.field_info.annotation
        instead = "leave it out"
        if "if-match" in taken:
            instead = "send If-Match"
        elif "expect_versions" in getattr(model, "model_fields", ()):
            instead = "send expect_versions in the body"
        conditions = dict.fromkeys(_CONDITIONS, f"this operation does not take it: {instead}")
        untaken = {name: advice for name, advice in conditions.items() if name.lower() not in taken}
        return untaken | {"Content-Range": "no operation takes a part of a body: send the whole body without it"}

    def _takes_a_form(self) -> bool:
        return self.body_field is not None and isinstance(self.body_field.field_info, params.Form)

    def _media_types(self) -> tuple[str, ...]:
        """Return the media types of the body; none if the operation takes no JSON."""
        if self.body_field is None or self._takes_a_form():
            return ()
        return ("application/json", MERGE_PATCH) if "PATCH" in (self.methods or ()) else ("application/json",)

    def _check(self, where: str, sent: Iterable[str], known: dict[str, bool]) -> None:
        """Refuse unknown and repeated names.

        Args:
            where: The part of the request that contains the names, for the message.
            sent: The names that were sent.
            known: The known names, and whether each is a list.
        """
        wrong: list[dict[str, str]] = []
        unknown = False
        for name, times in Counter(sent).items():
            if name not in known:
                unknown = self.refuse_unknown
            elif times > 1 and not known[name]:
                detail = f"the {where} contains {name} more than once"
                wrong.append({"code": "repeated", "detail": detail, "parameter": name})
        if unknown:
            # The response does not repeat the name: it may be a secret, or bytes that are not text.
            detail = f"the {where} contains an unknown parameter; its parameters are: {', '.join(known) or 'none'}"
            wrong.append({"code": "unknown", "detail": detail})
        if wrong:
            raise InvalidRequestError(wrong)


class ConsoleRoute(StrictRoute):
    """A route of the console. It ignores unknown parameters, because browsers and their extensions add some.

    Its redirects lead to `cidrgate.service.console.pages.link`, which has the prefix.
    """

    refuse_unknown = False
    adds_prefix = False


class _StrictRequest(Request):
    """A request with strictly parsed JSON."""

    async def json(self) -> Any:
        """Return the parsed body."""
        return json_of(await self.body())

    async def refuse_body(self) -> None:
        """Refuse a body, because the operation takes none. An empty one is accepted.

        Raises:
            InvalidRequestError: If there is one. It is read only if its beginning must show that it is not empty.
            MalformedBodyError: If the client closes the connection before its request is complete.
        """
        in_parts = "transfer-encoding" in self.headers
        if not in_parts and self.headers.get("content-length", "0") != "0":
            raise _needless_body()
        # Only HTTP/2 leaves open whether there is a body, and a request that changes nothing need not wait for it.
        if in_parts or self.method not in _NO_CHANGE:
            with _unless_client_leaves():
                async for part in self.stream():
                    if part:
                        raise _needless_body()
            self._body = b""


@contextmanager
def _unless_client_leaves() -> Iterator[None]:
    """Refuse a body whose client closes the connection before its end. Nobody gets the response."""
    try:
        yield
    except ClientDisconnect:
        raise MalformedBodyError("the client closed the connection before its end") from None


def json_of(body: bytes) -> Any:
    """Parse a JSON text strictly.

    Raises:
        MalformedBodyError: If the text is not valid by RFC 8259 and I-JSON (RFC 7493): UTF-8, no repeated name, no NaN,
            and numbers and nesting within the limits of `cidrgate.service.http.limits`.

    Example:
        >>> json_of(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> json_of(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        cidrgate.service.http.problems.MalformedBodyError: 400: the body is not JSON that this service accepts: an ...
    """
    try:
        found = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except RecursionError:
        raise MalformedBodyError(f"it is nested deeper than {DEEPEST_JSON} levels") from None
    except UnicodeDecodeError:
        raise MalformedBodyError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(f"{error.msg} at character {error.pos}") from None
    if _deeper(found, DEEPEST_JSON):
        raise MalformedBodyError(f"it is nested deeper than {DEEPEST_JSON} levels")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:
        raise MalformedBodyError(f"an object may have at most {MOST_MEMBERS} members")
    made = dict(pairs)
    if len(made) < len(pairs):
        raise MalformedBodyError("an object contains a name twice")
    return made


def _no_constant(_text: str) -> NoReturn:
    raise MalformedBodyError("NaN and Infinity are not numbers")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise MalformedBodyError(f"a number may have at most {LONGEST_NUMBER} characters")
    return int(text)


def _float(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if math.isinf(number):
        raise MalformedBodyError("a number is too large, or too long")
    return number


def _deeper(value: Any, most: int) -> bool:
    """Return whether arrays and objects are nested deeper than `most` levels."""
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True


def _needless_body() -> InvalidRequestError:
    return InvalidRequestError(
        [{"code": "unknown", "detail": "this operation takes no body: leave it out", "pointer": ""}]
    )


def _check_headers(request: Request, untaken: dict[str, str]) -> None:
    """Refuse headers that would be ignored, although they say what a change is or on what it depends.

    Args:
        request: The request.
        untaken: Such headers, and what to do about each.
    """
    wrong = [
        {"code": "unknown", "detail": advice, "header": name}
        for name, advice in untaken.items()
        if name in request.headers
    ]
    if wrong:
        raise InvalidRequestError(wrong)


def _check_coding(request: Request) -> None:
    """Refuse a body that is encoded, which would be read as if it were not."""
    if any(coding != "identity" for coding in _codings(request, "content-encoding")):
        raise ServiceError(
            "unsupported_media_type", "send the body without Content-Encoding", {"Accept-Encoding": "identity"}
        )
    if any(coding != "chunked" for coding in _codings(request, "transfer-encoding")):
        raise ServiceError("unsupported_media_type", "send the body with no Transfer-Encoding other than chunked")


def _codings(request: Request, header: str) -> list[str]:
    """Return the codings that a header names, which may be sent in several lines."""
    named = (one.strip().lower() for line in request.headers.getlist(header) for one in line.split(","))
    return [one for one in named if one]


def _check_media_type(request: Request, takes: tuple[str, ...]) -> None:
    """Refuse a body of another media type, before it is read. A request without a body has none."""
    sent = request.headers.get("content-type")
    if (
        sent is None
        and request.headers.get("content-length", "0") == "0"
        and "transfer-encoding" not in request.headers
    ):
        return
    if sent is None or sent.partition(";")[0].strip().lower() not in takes:
        accepted = ", ".join(takes)
        raise ServiceError(
            "unsupported_media_type", f"send the body as Content-Type: {' or '.join(takes)}", {"Accept": accepted}
        )


def _pairs(request: Request) -> Iterator[str]:
    text = request.scope.get("query_string", b"").decode("latin-1")
    return (name for name, _ in parse_qsl(text, keep_blank_values=True))


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def _names(dependant: Dependant, kind: str) -> dict[str, bool]:
    """Return the parameters of one kind of a route and its dependencies, and whether each is a list."""
    found = {field.alias: _is_list(field.field_info.annotation) for field in getattr(dependant, kind)}
    for inner in dependant.dependencies:
        found |= _names(inner, kind)
    return found


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType) or hasattr(annotation, "__metadata__"):
        return any(map(_is_list, get_args(annotation)))
    return annotation in (list, set, tuple, frozenset) or origin in (list, set, tuple, frozenset)
