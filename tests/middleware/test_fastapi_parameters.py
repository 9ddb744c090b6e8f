"""What FastAPI makes of the parameter that names the account. Annotations are evaluated here, as FastAPI reads them."""

import asyncio
import inspect
import pathlib
import threading
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal
from unittest import mock
from uuid import UUID

import pytest
from fastapi import APIRouter, Depends, FastAPI, Path, Security, WebSocket
from fastapi.requests import HTTPConnection
from fastapi.responses import PlainTextResponse, Response
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    RootModel,
    StringConstraints,
    field_validator,
    model_validator,
)
from starlette.convertors import CONVERTOR_TYPES, StringConvertor
from starlette.routing import Mount

from cidrgate import FromRoute, Gate, Matcher
from cidrgate.middleware import _fastapi_parameters
from cidrgate.middleware.fastapi import AllowlistRoute, allowlist

OWNER, OTHER = "203.0.113.9", "8.8.8.8"
GUID = "c0ffee00-0000-4000-8000-000000000007"
Low = Annotated[str, StringConstraints(to_lower=True)]


def a_guard() -> Callable[..., Any]:
    """A guard of accounts that only `OWNER` may use, beside accounts of other spellings that only `OTHER` may use."""
    matcher = Matcher()
    for account in ("acme", "7", GUID):
        matcher.publish(account, [f"{OWNER}/32"])
    for account in ("ACME", " acme", "07", GUID.upper(), '"acme"', "Acme"):
        matcher.publish(account, [f"{OTHER}/32"])
    return allowlist(Gate(matcher, unlisted="deny_unknown", log="none"), FromRoute("account"))


class Name(StrEnum):
    ACME = "acme"

    @classmethod
    def _missing_(cls, value: object) -> "Name":
        return cls.ACME


class Renamed(str, Enum):  # noqa: UP042 - its text is that of its member, and its content another
    ACME = "acme"

    def __str__(self) -> str:
        return "ACME"

    @classmethod
    def _missing_(cls, value: object) -> "Renamed":
        return cls.ACME


class Plain(BaseModel):
    account: str


class Lowered(BaseModel):
    account: Low


class Optional(BaseModel):
    account: Low = "acme"


class Aliased(BaseModel):
    tenant: Annotated[Low, Path(validation_alias=AliasChoices("nobody", "account"))]


class Configured(BaseModel):
    model_config = ConfigDict(str_to_lower=True)
    account: str


class Validated(BaseModel):
    account: str

    @field_validator("account")
    @classmethod
    def lower(cls, value: str) -> str:
        return value.lower()


class Checked(BaseModel):
    model_config = ConfigDict(frozen=True)
    account: str


class Noted(BaseModel):
    account: str

    @field_validator("account")
    @classmethod
    def check(cls, value: str) -> str:
        assert value
        return value


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Low]


class Renaming(BaseModel):
    tenant: str

    @model_validator(mode="before")
    @classmethod
    def rename(cls, values: dict[str, str]) -> dict[str, str]:
        return {"tenant": values["account"].lower()}


class Whole(RootModel[dict[str, Low]]):
    pass


def taking(annotation: Any, read: Callable[[Any], Any] = str, name: str = "account") -> Callable[..., None]:
    """A dependency with one parameter, which notes for which account the application acts."""

    def act(connection: HTTPConnection, **given: Any) -> None:
        connection.state.acting = read(given[name])

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = {"connection": HTTPConnection, name: annotation}
    parameters = [inspect.Parameter(key, kind, annotation=value) for key, value in named.items()]
    act.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return act


def of_account(value: Any) -> str:
    return str(value.account)


KEPT = {
    "text": (taking(str), "acme"),
    "no annotation": (taking(Any), "acme"),
    "Literal": (taking(Literal["acme"]), "acme"),
    "StrEnum": (taking(StrEnum("Names", {"ACME": "acme"})), "acme"),
    "int": (taking(int), "7"),
    "UUID": (taking(UUID), GUID),
    "int or text": (taking(int | str), "acme"),
    "alias": (taking(Annotated[str, Path(alias="account")], name="tenant"), "acme"),
    "model": (taking(Annotated[Plain, Path()], of_account, "given"), "acme"),
    "model that is frozen": (taking(Annotated[Checked, Path()], of_account, "given"), "acme"),
    "model with a validator": (taking(Annotated[Noted, Path()], of_account, "given"), "acme"),
    "class": (taking(Annotated[Plain, Depends()], of_account, "given"), "acme"),
    "class that is frozen": (taking(Annotated[Checked, Depends()], of_account, "given"), "acme"),
    "class with a validator": (taking(Annotated[Noted, Depends()], of_account, "given"), "acme"),
}
"""What takes the account unchanged: the parameter, and the account."""

CONVERTED = {
    "to_lower": (taking(Low), "ACME"),
    "strip_whitespace": (taking(Annotated[str, StringConstraints(strip_whitespace=True)]), " acme"),
    "BeforeValidator": (taking(Annotated[str, BeforeValidator(str.lower)]), "ACME"),
    "AfterValidator": (taking(Annotated[str, AfterValidator(str.lower)]), "ACME"),
    "default of another style": (taking(Annotated[Low, Path(min_length=1)]), "ACME"),
    "int": (taking(int), "07"),
    "UUID": (taking(UUID), GUID.upper()),
    "enumeration": (taking(Name), "ACME"),
    "enumeration that writes another text": (taking(Renamed, lambda value: value.value), "ACME"),
    "object": (taking(Annotated[Any, AfterValidator(lambda value: Plain(account=value.lower()))], of_account), "ACME"),
    "alias": (taking(Annotated[Low, Path(alias="account")], name="tenant"), "ACME"),
    "model": (taking(Annotated[Lowered, Path()], of_account, "given"), "ACME"),
    "model with a default": (taking(Annotated[Optional, Path()], of_account, "given"), "ACME"),
    "model with a configuration": (taking(Annotated[Configured, Path()], of_account, "given"), "ACME"),
    "model with a validator": (taking(Annotated[Validated, Path()], of_account, "given"), "ACME"),
    "model that renames": (taking(Annotated[Renaming, Path()], lambda value: value.tenant, "given"), "ACME"),
    "class": (taking(Annotated[Lowered, Depends()], of_account, "given"), "ACME"),
    "class with a configuration": (taking(Annotated[Configured, Depends()], of_account, "given"), "ACME"),
    "class with a validator": (taking(Annotated[Validated, Depends()], of_account, "given"), "ACME"),
}
"""What makes another account of a text: the parameter, and the text of a client that names another account."""

ALIASES = {
    "validation_alias": taking(Annotated[Low, Path(validation_alias="account")], name="tenant"),
    "AliasChoices": taking(Annotated[Low, Path(validation_alias=AliasChoices("x", "account"))], name="tenant"),
    "model with AliasChoices": taking(Annotated[Aliased, Path()], lambda value: value.tenant, "given"),
    "model of extra parameters": taking(Annotated[Extra, Path()], lambda value: value.model_extra["account"], "given"),
    "model of all parameters": taking(Annotated[Whole, Path()], lambda value: value.root["account"], "given"),
}
"""What some versions of FastAPI fill from the parameter, and others refuse."""


def unused() -> None: ...


def through_unused(nothing: Annotated[None, Depends(unused)]) -> None: ...


def add(router: Any, kind: str, act: Any = None, path: str = "/{account}/calls", **settings: Any) -> Any:
    """Add a route that answers for which account it acts; the parameter is its own or that of a dependency."""
    given = [] if act is None else list(inspect.signature(act).parameters.values())

    async def endpoint(**values: Any) -> Any:
        connection = values["connection"]
        if act is not None:
            act(**{one.name: values[one.name] for one in given})
        if kind != "websocket":
            return PlainTextResponse(connection.state.acting)
        await connection.accept()
        await connection.send_text(connection.state.acting)
        return await connection.close()

    named = {one.name: one.annotation for one in given} | {
        "connection": WebSocket if kind == "websocket" else HTTPConnection
    }
    if kind == "body":
        named["numbers"] = list[str]
    keyword = inspect.Parameter.KEYWORD_ONLY
    endpoint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, keyword, annotation=annotation) for name, annotation in named.items()]
    )
    if kind == "websocket":
        router.add_api_websocket_route(path, endpoint, **settings)
    else:
        router.add_api_route(path, endpoint, methods=["POST" if kind == "body" else "GET"], **settings)
    return router


def router_of(kind: str, **settings: Any) -> APIRouter:
    return APIRouter(route_class=AllowlistRoute if kind == "body" else type("Own", (AllowlistRoute,), {}), **settings)


def in_the_endpoint(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    return add(app, kind, act, dependencies=[guard])


def in_a_route(kind: str, guard: Any, act: Any) -> Any:
    return add(FastAPI(), kind, dependencies=[guard, Depends(act)])


def before_the_guard(kind: str, guard: Any, act: Any) -> Any:
    return add(FastAPI(), kind, dependencies=[Security(act), guard])


def in_a_dependency(kind: str, guard: Any, act: Any) -> Any:
    def around(nothing: Annotated[None, Security(act, scopes=["calls"])]) -> None: ...

    return add(FastAPI(), kind, dependencies=[guard, Depends(around)])


def in_a_router(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    app.include_router(add(router_of(kind, dependencies=[guard, Depends(act)]), kind))
    return app


def in_an_including_router(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    app.include_router(add(router_of(kind), kind), dependencies=[guard, Depends(act)])
    return app


def around_the_guard(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    app.include_router(add(router_of(kind), kind, dependencies=[guard]), dependencies=[Depends(act)])
    return app


def in_a_nested_router(kind: str, guard: Any, act: Any) -> Any:
    app, middle = FastAPI(), APIRouter(dependencies=[Depends(act)])
    middle.include_router(add(router_of(kind), kind))
    outer = APIRouter(prefix="/v1")
    outer.include_router(middle, dependencies=[guard])
    app.include_router(outer, prefix="/api")
    return app


def with_the_parameter_in_the_prefix(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    router = add(router_of(kind), kind, path="/calls")
    app.include_router(router, prefix="/{account}", dependencies=[guard, Depends(act)])
    return app


def in_an_application(kind: str, guard: Any, act: Any) -> Any:
    return add(FastAPI(dependencies=[guard, Depends(act)]), kind)


def in_an_override(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    app.include_router(add(router_of(kind), kind), dependencies=[guard, Depends(unused)])
    app.dependency_overrides[unused] = act
    return app


def in_an_override_below(kind: str, guard: Any, act: Any) -> Any:
    app = add(FastAPI(), kind, dependencies=[guard, Depends(through_unused)])
    app.dependency_overrides[unused] = act
    return app


def in_a_mount(kind: str, guard: Any, act: Any) -> Any:
    app = FastAPI()
    app.mount("/api", in_an_including_router(kind, guard, act))
    return app


def in_a_mounted_router(kind: str, guard: Any, act: Any) -> Any:
    """The overrides of the application do not count there."""
    app = FastAPI()
    app.mount("/api", add(router_of(kind, dependencies=[guard, Depends(act)]), kind))
    app.dependency_overrides[act] = unused
    return app


PLACES = [
    in_the_endpoint,
    in_a_route,
    before_the_guard,
    in_a_dependency,
    in_a_router,
    in_an_including_router,
    around_the_guard,
    in_a_nested_router,
    with_the_parameter_in_the_prefix,
    in_an_application,
    in_an_override,
    in_an_override_below,
    in_a_mount,
    in_a_mounted_router,
]
PREFIXES = {in_a_nested_router: "/api/v1", in_a_mount: "/api", in_a_mounted_router: "/api"}
KINDS = ["plain", "body", "websocket"]


def acting(app: Any, kind: str, client: str, account: str, place: Any = None) -> str | None:
    """The account for which the application acts for a client; None if it does not."""
    received = [{"type": "http.request", "body": b'["a"]'}]
    if kind == "websocket":
        received = [{"type": "websocket.connect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop(0) if received else await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "websocket" if kind == "websocket" else "http",
        "method": "POST" if kind == "body" else "GET",
        "path": f"{PREFIXES.get(place, '')}/{account}/calls",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": (client, 4711),
    }
    asyncio.run(app(scope, receive, send))
    if kind == "websocket":
        return next((one["text"] for one in sent if one["type"] == "websocket.send"), None)
    return sent[1]["body"].decode() if sent[0]["status"] == 200 else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", CONVERTED)
def test_no_text_is_another_account_than_the_one_that_the_application_receives(
    form: str, place: Any, kind: str
) -> None:
    act, text = CONVERTED[form]
    if kind == "plain":
        assert acting(place(kind, Depends(unused), act), kind, OTHER, text, place) not in (None, text)
    app = place(kind, Depends(a_guard()), act)
    for client in (OWNER, OTHER):
        assert acting(app, kind, client, text, place) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", KEPT)
def test_an_account_that_the_application_receives_unchanged_is_decided(form: str, place: Any, kind: str) -> None:
    act, text = KEPT[form]
    app = place(kind, Depends(a_guard()), act)
    for _ in range(2):
        assert acting(app, kind, OWNER, text, place) == text
        assert acting(app, kind, OTHER, text, place) is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ALIASES)
def test_no_alias_hides_a_conversion(form: str, place: Any) -> None:
    try:
        app = place("plain", Depends(a_guard()), ALIASES[form])
        served = acting(place("plain", Depends(unused), ALIASES[form]), "plain", OTHER, "ACME", place)
    except Exception:  # noqa: BLE001 - this version of FastAPI does not fill the parameter
        return
    assert served in (None, "acme")
    assert [acting(app, "plain", client, "ACME", place) for client in (OWNER, OTHER)] == [None, None]


class LowerConvertor(StringConvertor):
    def convert(self, value: str) -> str:
        return value.lower()


class NumberConvertor(StringConvertor):
    def convert(self, value: str) -> Any:
        return Number(int(value))


class Number(int, Enum):
    SEVEN = 7

    def __str__(self) -> str:
        return "07"


@pytest.mark.parametrize(
    ("convertor", "annotation", "text", "received"),
    [
        ("path", str, "acme", "acme"),
        ("path", Low, "ACME", None),
        ("int", int, "7", "7"),
        ("int", int, "07", "7"),
        ("int", str, "7", None),
        ("int", Annotated[Any, BeforeValidator(lambda value: value + 1)], "6", None),
        ("uuid", UUID, GUID, GUID),
        ("float", float, "7", None),
        ("lower", str, "ACME", "acme"),
        ("lower", Annotated[str, AfterValidator(str.upper)], "acme", None),
        ("number", int, "7", None),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_account_is_what_the_convertor_of_the_path_makes(
    kind: str, convertor: str, annotation: Any, text: str, received: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONVERTOR_TYPES, "lower", LowerConvertor())
    monkeypatch.setitem(CONVERTOR_TYPES, "number", NumberConvertor())
    path = f"/{{account:{convertor}}}/calls"
    app = add(FastAPI(), kind, taking(annotation), path, dependencies=[Depends(a_guard())])
    assert [acting(app, kind, client, text) for client in (OWNER, OTHER)] == [received, None]


def test_each_inclusion_of_a_router_is_checked() -> None:
    app, router = FastAPI(), add(router_of("plain"), "plain", path="/{account}/calls")
    for prefix, annotation in (("/text", str), ("/lower", Low), ("/text-again", str)):
        app.include_router(router, prefix=prefix, dependencies=[Depends(GUARD), Depends(taking(annotation))])
    for _ in range(2):
        for prefix, served in (("/text", "ACME"), ("/lower", None), ("/text-again", "ACME")):
            assert acting(app, "plain", OTHER, f"{prefix[1:]}/ACME") == served


GUARD = a_guard()


def test_an_override_counts_from_when_it_is_set() -> None:
    app = add(FastAPI(), "plain", dependencies=[Depends(a_guard()), Depends(unused), Depends(taking(str))])
    for override, served in ((None, "ACME"), (taking(Low), None), (taking(str), "ACME"), (None, "ACME")):
        app.dependency_overrides = {} if override is None else {unused: override}
        assert acting(app, "plain", OTHER, "ACME") == served


def test_a_parameter_of_a_mount_is_checked() -> None:
    for annotation, served in ((str, "ACME"), (Low, None)):
        inside = FastAPI()
        add(inside, "plain", taking(Annotated[annotation, Path()]), "/calls", dependencies=[Depends(a_guard())])
        assert acting(FastAPI(routes=[Mount("/{account}", inside)]), "plain", OTHER, "ACME") == served


@pytest.mark.skipif(not hasattr(APIRouter, "frontend"), reason="this version of FastAPI has no frontends")
@pytest.mark.parametrize("included", [False, True])
def test_files_are_no_route_that_can_be_seen(included: bool, tmp_path: pathlib.Path) -> None:
    (tmp_path / "calls").write_text("a file")
    for guard, served in ((unused, "a file"), (a_guard(), None)):
        inside = FastAPI()
        router = APIRouter(dependencies=[Depends(guard), Depends(taking(Annotated[Low, Path()]))])
        router.frontend("/", directory=tmp_path)
        inside.include_router(router) if included else inside.mount("", router)
        assert acting(FastAPI(routes=[Mount("/{account}", inside)]), "plain", OTHER, "ACME") == served


def test_the_inner_one_of_two_parameters_counts() -> None:
    inside = in_a_router("plain", Depends(a_guard()), taking(str))
    app = FastAPI(routes=[Mount("/{account}", inside)])
    assert [acting(app, "plain", client, "ACME/acme") for client in (OWNER, OTHER)] == ["acme", None]


def test_a_parameter_cannot_be_in_a_path_twice() -> None:
    def serve() -> None:
        app = FastAPI()
        router = add(router_of("plain", dependencies=[Depends(a_guard())]), "plain", taking(Low))
        app.include_router(router, prefix="/{account}")  # FastAPI 0.137 and later notice it at the first request
        acting(app, "plain", OTHER, "ACME/acme")

    with pytest.raises(ValueError, match="Duplicated param"):
        serve()


def test_a_parameter_remembers_no_more_than_some_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fastapi_parameters, "_MOST_ROUTES", 2)
    app = FastAPI()
    for number in range(5):
        act = taking(Low if number % 2 else str)
        add(app, "plain", act, f"/{number}/{{account}}/calls", dependencies=[Depends(GUARD)])
    for _ in range(2):
        served = [acting(app, "plain", OTHER, f"{number}/ACME") for number in range(5)]
        assert served == ["ACME", None, "ACME", None, "ACME"]


def called_by_another(kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    guard = a_guard()

    async def around(connection: HTTPConnection, response: Response) -> None:
        await guard(connection, response)

    return in_a_route(kind, Depends(around), taking(str))


def without_a_route(kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    guard = a_guard()

    async def endpoint(connection: Any) -> Any:
        await guard(connection, Response())
        return PlainTextResponse("acts")

    app = FastAPI()
    if kind == "websocket":
        app.router.add_websocket_route("/{account}/calls", endpoint)
    else:
        app.add_route("/{account}/calls", endpoint, methods=["GET", "POST"])
    return app


def with_routers_elsewhere(kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(_fastapi_parameters, "_routers_are_seen", lambda: False)
    return in_a_route(kind, Depends(a_guard()), taking(str))


def with_a_changed_route(kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    app = in_a_route(kind, Depends(a_guard()), taking(str))
    route: Any = app.routes[-1]
    handle = route.app

    class Around:
        async def __call__(self, *given: Any) -> None:
            await handle(*given)

    route.app = Around()
    if kind != "websocket":
        route.dependant = in_a_route(kind, Depends(unused), taking(str)).routes[-1].dependant
    return app


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unseen", [called_by_another, without_a_route, with_routers_elsewhere, with_a_changed_route])
def test_what_cannot_be_seen_is_denied_and_logged_once(
    unseen: Any, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cidrgate.gate.decision_log._told_of_unseen_routes", threading.Event())
    app = unseen(kind, monkeypatch)
    for _ in range(2):
        assert acting(app, kind, OWNER, "acme") is None
    assert [record.message for record in caplog.records if "Depends itself" in record.message] == [mock.ANY]


def test_routers_are_seen_in_this_version() -> None:
    assert _fastapi_parameters._routers_are_seen()
