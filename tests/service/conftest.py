"""A service in this process, and tokens of every kind for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores.schema import tokens
from tests.app_client import AppClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from httpx2 import Response

    from cidrgate.gate.client_ip import ClientIPResolver

GUARDED = re.compile(r"^/v1/accounts/[^/]+/(entries|restore|history/\d+/undo)\b")
"""The operations that change a list, which take confirmations."""

ADDRESS = "198.51.100.7"
"""Where the clients of the tests are."""


@dataclass
class Api:
    """A service to talk to.

    Attributes:
        manager: Its lists.
        app: The application.
        client: A browser or a program at `ADDRESS`, without a token.
    """

    manager: RuleManager
    app: FastAPI
    client: AppClient

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.manager._store)

    def token(self, *scopes: str, name: str = "tester") -> str:
        """A token that is good for these scopes."""
        return self.credentials.create_token(name, [Scope.parse(scope) for scope in scopes]).secret

    def token_of_old(self, *scopes: str, name: str = "tester") -> str:
        """A token of before scopes had to name accounts that exist."""
        made = self.credentials.create_token(name, [Scope("metrics")])
        with self.manager._store.write() as transaction:
            altered = update(tokens).where(tokens.c.id == made.token.id).values(scopes=list(scopes))
            transaction.connection.execute(altered)
        return made.secret

    def at(self, address: str, token: str | None = None) -> Caller:
        """Somebody at an address."""
        client = AppClient(self.app, client=(address, 50000), follow_redirects=False)
        return Caller(client, token)

    def caller(self, *scopes: str) -> Caller:
        """Somebody with a new token."""
        return Caller(self.client, self.token(*scopes))


@dataclass
class Caller:
    """Sends requests with a token.

    Attributes:
        confirms: Whether changes are confirmed whatever they do: nobody in most tests is listed.
    """

    client: AppClient
    token: str | None
    confirms: bool = True

    def __call__(self, method: str, path: str, json: object = None, **headers: str) -> Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if (
            self.confirms
            and method not in ("GET", "HEAD", "TRACE")
            and GUARDED.search(path.partition("?")[0])
            and "confirm=" not in path
        ):
            path += ("&" if "?" in path else "?") + "confirm=lock_out&confirm=disable_enforcement"
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        return self.client.request(method, path, json=json, headers=sent)

    def ok(self, method: str, path: str, json: object = None, **headers: str) -> Any:
        """The JSON object of an answer that worked."""
        response = self(method, path, json, **headers)
        assert response.status_code < 300, response.text
        return response.json()

    def problem(self, status: int, method: str, path: str, json: object = None, **headers: str) -> Any:
        """The JSON object of an answer that is this error."""
        response = self(method, path, json, **headers)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        return response.json()


def an_api(url: str, settings: Settings | None = None, resolver: ClientIPResolver | None = None) -> Iterator[Api]:
    """A service on a store."""
    with RuleManager.open(url, create=True) as manager:
        app = create_app(manager, settings, resolver=resolver)
        try:
            with AppClient(app, client=(ADDRESS, 50000), follow_redirects=False) as client:
                yield Api(manager, app, client)
        finally:
            app.state.service.close()


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of a service with the default settings; it takes a third of a second, and is not changed."""
    for api in an_api("memory://"):
        document: dict[str, Any] = api.app.openapi()
    return document


@pytest.fixture
def api() -> Iterator[Api]:
    """A service with two accounts and a subaccount."""
    for api in an_api("memory://", Settings(login_failures=10_000)):
        api.manager.create_account("acct-1")
        api.manager.create_account("sub-1", parent="acct-1")
        api.manager.create_account("acct-2")
        yield api


@pytest.fixture
def admin(api: Api) -> Caller:
    """Somebody who may do everything."""
    return api.caller("admin")


@pytest.fixture(params=["sqlite", "postgresql"])
def stored_api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """A service on a store that lasts, with two accounts and a subaccount."""
    url = f"sqlite:///{tmp_path}/lists.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    for api in an_api(url):
        api.manager.create_account("acct-1")
        api.manager.create_account("sub-1", parent="acct-1")
        api.manager.create_account("acct-2")
        yield api
