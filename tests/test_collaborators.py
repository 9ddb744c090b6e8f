"""Objects of another class are refused when they are handed over, not at the first request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cidrgate import ClientIPResolver, FromHeader, Gate, Matcher, Policy, RuleManager
from cidrgate.authorize import AuthorizeApp, ClientHeaders
from cidrgate.middleware import aiohttp, asgi, wsgi
from cidrgate.service import Settings, create_app
from cidrgate.stores import open_store
from cidrgate.traffic import Traffic

PASSWORD = "f7uZ2hX9"
OTHERS: tuple[object, ...] = (
    f"postgresql://cidrgate:{PASSWORD}@database/rules",
    7,
    object(),
    {"max_entries": 3},
    print,
    [],
)
"""Objects that nothing accepts; the first one is what people hand over by mistake."""


Made = tuple[Callable[[Any], object], object]

_SOURCE = FromHeader("x-account")


def anything(*_: object) -> Any:
    """Be an application, a function or a hook, whatever is needed."""


def gate(lists: Any = None, **settings: Any) -> Gate:
    return Gate(Matcher() if lists is None else lists, unlisted="deny", **settings)


MADE: dict[str, Callable[[RuleManager], Made]] = {
    "store": lambda _: (RuleManager, open_store("memory://")),
    "policy": lambda _: (lambda it: RuleManager.open("memory://", policy=it).close(), Policy()),
    "traffic": lambda _: (lambda it: RuleManager.open("memory://", traffic=it).close(), Traffic()),
    "lists": lambda manager: (gate, manager),
    "hooks": lambda _: (lambda it: gate(hooks=it), [anything]),
    "resolver": lambda _: (lambda it: gate(resolver=it), ClientIPResolver()),
    "gate of ASGI": lambda _: (lambda it: asgi.AllowlistMiddleware(anything, it, _SOURCE), gate()),
    "gate of WSGI": lambda _: (lambda it: wsgi.AllowlistMiddleware(anything, it, _SOURCE), gate()),
    "gate of aiohttp": lambda _: (lambda it: aiohttp.allowlist(it, _SOURCE), gate()),
    "gate of authorize": lambda _: (AuthorizeApp, gate()),
    "client_headers": lambda _: (lambda it: AuthorizeApp(gate(), client_headers=it), ClientHeaders()),
    "manager": lambda manager: (create_app, manager),
    "settings": lambda manager: (lambda it: create_app(manager, it), Settings()),
    "resolver of the service": lambda manager: (lambda it: create_app(manager, resolver=it), ClientIPResolver()),
}
"""What is made from an object, and an object that it accepts, by the name of the argument."""


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as opened:
        yield opened


@pytest.mark.parametrize("name", MADE)
def test_an_object_of_another_class_is_refused(manager: RuleManager, name: str) -> None:
    make, right = MADE[name](manager)
    make(right)
    for other in OTHERS:
        if name == "hooks" and other == []:
            continue
        with pytest.raises(TypeError) as refused:
            make(other)
        assert name.split()[0] in str(refused.value) or name == "hooks", (other, refused.value)
        assert PASSWORD not in str(refused.value)
