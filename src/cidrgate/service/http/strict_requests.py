"""Strict requests: the service refuses unknown and repeated parameters instead of ignoring them.

An ignored parameter is dangerous: if the service ignored an unknown `dry_run`, it would make the change.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, Union, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import params
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cidrgate.service.http.limits import DEEPEST_JSON, LONGEST_NUMBER, MOST_FIELDS, MOST_MEMBERS
from cidrgate.service.http.threads import ChangingRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from fastapi.dependencies.models import Dependant
    from starlette.responses import Response

__all__ = ["BEFORE_BODY", "FORM", "ConsoleRoute", "StrictRoute", "json_of"]

FORM = "cidrgate.form"
"""The key of the scope that holds the parsed form, for error pages: a body can be read only once."""

_SINGLE_HEADERS = ("Authorization", "If-Match", "Idempotency-Key")
"""Headers that must not be repeated, because two parsers could use different lines."""

BEFORE_BODY: set[Callable[..., Any]] = set()
"""Coroutine functions of dependencies that need only the request, such as authentication. They run before its body is
read, and must remember their result: FastAPI calls them again."""


class StrictRoute(ChangingRoute):
    """A route of the API. It refuses unknown query parameters, and repeated ones unless they are lists."""

    refuse_unknown = True

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        settings["generate_unique_id_function"] = lambda route: route.name
        super().__init__(path, endpoint, **settings)

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the function that handles a request."""
        handle = super().get_route_handler()
        query = _names(self.dependant, "query_params")
        first = [call for call in _calls(self.dependant) if call in BEFORE_BODY] if self.body_field else []
        fields = _names(self.dependant, "body_params") if self._takes_a_form() else None

        async def strict(request: Request) -> Response:
            for name in _SINGLE_HEADERS:
                if len(request.headers.getlist(name)) > 1:
                    raise HTTPException(422, f"the header {name} is repeated: send it once")
            self._check("query", _pairs(request), query)
            for call in first:
                await call(request)
            stricter = _StrictRequest(request.scope, request.receive)
            if fields is not None:
                request.scope[FORM] = FormData()
                form = request.scope[FORM] = await stricter.form(max_fields=MOST_FIELDS, max_files=0)
                self._check("form", (name for name, _ in form.multi_items()), fields)
            return await handle(stricter)

        return strict

    def _takes_a_form(self) -> bool:
        return self.body_field is not None and isinstance(self.body_field.field_info, params.Form)

    def _check(self, where: str, sent: Iterable[str], known: dict[str, bool]) -> None:
        """Refuse unknown and repeated names.

        Args:
            where: The part of the request that contains the names, for the message.
            sent: The names that were sent.
            known: The known names, and whether each is a list.
        """
        wrong = []
        for name, times in Counter(sent).items():
            if name not in known:
                if self.refuse_unknown:
                    wrong.append("an unknown parameter")
            elif times > 1 and not known[name]:
                wrong.append(f"{name} more than once")
        if wrong:
            there = ", ".join(known) or "none"
            raise HTTPException(422, f"the {where} contains {wrong[0]}; its parameters are: {there}")


class ConsoleRoute(StrictRoute):
    """A route of the console. It ignores unknown parameters, because browsers and their extensions add some."""

    refuse_unknown = False


class _StrictRequest(Request):
    """A request with strictly parsed JSON."""

    async def json(self) -> Any:
        """Return the parsed body."""
        return json_of(await self.body())


def json_of(body: bytes) -> Any:
    """Parse a JSON text strictly.

    Raises:
        HTTPException: 422, if the text is not valid by RFC 8259 and I-JSON (RFC 7493): UTF-8, no repeated name, no NaN,
            and numbers and nesting within the limits of `cidrgate.service.http.limits`.

    Example:
        >>> json_of(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> json_of(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        starlette.exceptions.HTTPException: 422: the body is not JSON that this service accepts: an object contains...
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
        raise _refused(f"it is nested deeper than {DEEPEST_JSON} levels") from None
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise _refused(f"{error.msg} at character {error.pos}") from None
    if _deeper(found, DEEPEST_JSON):
        raise _refused(f"it is nested deeper than {DEEPEST_JSON} levels")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_MEMBERS:
        raise _refused(f"an object may have at most {MOST_MEMBERS} members")
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _refused("an object contains a name twice")
    return made


def _no_constant(_text: str) -> NoReturn:
    raise _refused("NaN and Infinity are not numbers")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise _refused(f"a number may have at most {LONGEST_NUMBER} characters")
    return int(text)


def _float(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if math.isinf(number):
        raise _refused("a number is too large, or too long")
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


def _refused(why: str) -> HTTPException:
    return HTTPException(422, f"the body is not JSON that this service accepts: {why}")


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
