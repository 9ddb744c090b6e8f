"""What the code of a FastAPI application receives for a parameter of the path, which may not be the text in the path.

FastAPI converts a parameter once for each function that asks for it: the endpoint and the dependencies of the route, of
all routers around it and of the application. `dependency_overrides` replaces dependencies and so conversions.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import APIRouter, routing
from fastapi.dependencies.utils import get_dependant, request_params_to_args
from fastapi.routing import APIRoute, APIWebSocketRoute
from pydantic import BaseModel

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.decision_log import advise_about_unseen_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fastapi._compat import ModelField
    from fastapi.dependencies.models import Dependant

    from cidrgate.middleware._asgi_requests import Scope

__all__ = ["RouteParameter"]

_MOST_ROUTES = 4096
"""How many routes a parameter remembers; an application that makes routes while it runs may have any number."""

_context_of: Callable[[Scope], Any] | None = getattr(routing, "_get_scope_effective_route_context", None)
"""Returns what the routers around a route add to it. FastAPI before 0.137 has no such function: it copies the route."""


@dataclass(slots=True)
class _Route:
    """What FastAPI solves for the requests of a route.

    Attributes:
        owner: The route, or its context in the routers around it. It is stored so that its `id` stays its own.
        dependant: The endpoint, with the dependencies of the route and of all routers around it.
        provider: The application whose `dependency_overrides` count.
        overrides: Those that counted when the rest was found out; None before.
        calls: The functions that FastAPI calls, with the overrides.
        takers: Those that may receive the parameter as something else.
    """

    owner: Any
    dependant: Dependant
    provider: Any
    overrides: dict[Any, Any] | None = None
    calls: frozenset[Any] = frozenset()
    takers: tuple[Dependant, ...] = ()


class RouteParameter:
    """A parameter of routes that names the account of a request.

    Args:
        name: The parameter's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._routes: dict[int, _Route] = {}

    def refuse_converted(self, scope: Scope, account: str, guard: Callable[..., Any]) -> None:
        """Reject an account if the application can receive a value other than it, such as 7 for the text `07`.

        Args:
            scope: The request's scope.
            account: The account that the gate is to decide about.
            guard: The dependency that asks; FastAPI must call it for the route.

        Raises:
            UnclearAccountError: If it can, or if it cannot be seen what the application receives.
        """
        parameters = scope.get("path_params") or {}
        for taker in self._takers(scope, guard):
            values, _ = request_params_to_args(taker.path_params, parameters)
            for field in taker.path_params:
                for value in self._received(field, values, parameters):
                    if not _is_text(_kept_by(taker.call, field.name, value), account):
                        raise UnclearAccountError(f"the route converts {self._name}: its text is not the account")

    def _takers(self, scope: Scope, guard: Callable[..., Any]) -> tuple[Dependant, ...]:
        """Return the functions that may receive something else; they are found out once for a route."""
        owner = _owner_of(scope)
        route = self._routes.get(id(owner))
        if route is None or route.owner is not owner:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            route = self._routes[id(owner)] = _Route(owner, owner.dependant, _provider_of(owner))
        overrides = getattr(route.provider, "dependency_overrides", None) or {}
        if route.overrides != overrides:
            called = list(_called(route.dependant, overrides))
            route.calls = frozenset(one.call for one in called)
            route.takers = tuple(filter(self._may_convert, called))
            route.overrides = dict(overrides)
        if guard not in route.calls:
            raise _unseen()
        return route.takers

    def _may_convert(self, dependant: Dependant) -> bool:
        """Return whether a function takes the parameter, and not simply as text."""
        return any(
            _model_of(field.field_info.annotation) is not None
            or (self._name in _keys(field.name, field.field_info) and not _is_plain(field, dependant.call))
            for field in dependant.path_params
        )

    def _received(self, field: ModelField, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what the application reads as the parameter in the value of a field; None if that is not clear."""
        model = _model_of(field.field_info.annotation)
        value = values.get(field.name)
        if model is None:
            if self._name in _keys(field.name, field.field_info):
                yield value
            return
        inner = {name: set(_keys(name, info)) for name, info in model.model_fields.items()}
        if not isinstance(value, model):
            if value is not None or any(self._name in keys for keys in inner.values()):
                yield None
            return
        for name, keys in inner.items():
            # A field that no parameter fills got its value from a validator, which may have read any parameter.
            if self._name in keys or (name in value.model_fields_set and keys.isdisjoint(parameters)):
                yield getattr(value, name)
        extra = value.model_extra or {}
        if self._name in extra:
            yield extra[self._name]


def _owner_of(scope: Scope) -> Any:
    """Return the route of a request, or what the routers around it have made of it.

    Raises:
        UnclearAccountError: If that cannot be seen.
    """
    route = scope.get("route")
    if not isinstance(route, APIRoute | APIWebSocketRoute) or not _routers_are_seen():
        raise _unseen()
    context = None if _context_of is None else _context_of(scope)
    # The context may be that of a mount around the route.
    return route if context is None or context.original_route is not route else context


@cache
def _routers_are_seen() -> bool:
    """Return whether it can be seen what the routers around a route add to it."""
    inner, outer = APIRouter(), APIRouter()
    inner.add_api_route("/", lambda: None)
    outer.include_router(inner)
    return _context_of is not None or isinstance(outer.routes[0], APIRoute)


def _provider_of(owner: Any) -> Any:
    """Return the application whose `dependency_overrides` count for a route, or None.

    Raises:
        UnclearAccountError: If that cannot be seen.
    """
    if not isinstance(owner, APIWebSocketRoute):
        return owner.dependency_overrides_provider
    # The route of a WebSocket tells this to its handler alone.
    told: Mapping[str, Any] = {"func": owner.app}
    for _ in range(2):
        told = inspect.getclosurevars(told["func"]).nonlocals if inspect.isfunction(told.get("func")) else {}
    if "dependency_overrides_provider" not in told:
        raise _unseen()
    return told["dependency_overrides_provider"]


def _called(dependant: Dependant, overrides: Mapping[Any, Any]) -> Iterator[Dependant]:
    """Yield a function and all that FastAPI calls for its parameters, however deep."""
    yield dependant
    for inner in dependant.dependencies:
        if overrides:
            call: Any = overrides.get(inner.call, inner.call)
            inner = get_dependant(path=inner.path or "", call=call)
        yield from _called(inner, overrides)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return a Pydantic model, which takes all path parameters, if the annotation of a parameter is one."""
    return annotation if inspect.isclass(annotation) and issubclass(annotation, BaseModel) else None


def _is_plain(field: ModelField, call: Any) -> bool:
    """Return whether a function receives text, or what the path's convertor has made of it, unchanged."""
    info = field.field_info
    return info.annotation in (str, Any) and not info.metadata and _model_of(call) is None


def _kept_by(call: Any, name: str, value: Any) -> Any:
    """Return what the function that FastAPI calls has for an argument if it is a Pydantic model; None if unclear."""
    model = _model_of(call)
    if model is None or not _validates(model):
        return value
    fields = [key for key, info in model.model_fields.items() if name in _keys(key, info)]
    made = model.model_construct()
    try:
        for key in fields:
            model.__pydantic_validator__.validate_assignment(made, key, value)
        kept = {getattr(made, key) for key in fields}
    except Exception:  # noqa: BLE001 - a model that cannot be changed, or that checks several fields together
        return None
    return kept.pop() if len(kept) == 1 else None


@cache
def _validates(model: type[BaseModel]) -> bool:
    """Return whether a model changes arguments in a way that its signature does not show."""
    rules = model.__pydantic_decorators__
    validators = (rules.validators, rules.field_validators, rules.root_validators, rules.model_validators)
    return any(validators) or any(model.model_config.get(setting) for setting in _CHANGING)


_CHANGING = ("str_to_lower", "str_to_upper", "str_strip_whitespace")
"""The settings of Pydantic models that change text."""


def _keys(name: str, info: Any) -> Iterator[str]:
    """Yield each name of the path's parameters that can fill a field. Which ones do depends on FastAPI's version."""
    yield name
    for alias in (info.alias, info.validation_alias):
        choices: Iterable[Any] = getattr(alias, "choices", [alias])
        for choice in choices:
            yield getattr(choice, "path", [choice])[0]


def _is_text(value: Any, account: str) -> bool:
    """Return whether a value is the account, however code reads it."""
    for kind, write in _TEXTS:
        if isinstance(value, kind):
            return str(value) == account == write(value)
    return False


_TEXTS: tuple[tuple[type, Callable[[Any], str]], ...] = ((str, str.__str__), (int, int.__repr__), (UUID, UUID.__str__))
"""The types of accounts. Members of enumerations are of these types too, but may write another text."""


def _unseen() -> UnclearAccountError:
    advise_about_unseen_routes()
    return UnclearAccountError("it cannot be seen what the application receives for the parameter of the route")
