"""A service on a port of this machine, and a browser to visit its console with."""

from __future__ import annotations

import shutil
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
import uvicorn

from cidrgate import RuleManager
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

__all__ = ["ADDRESS", "DESKTOP", "PHONE", "Console", "Visitors", "a_browser", "a_console"]

ADDRESS = "9.9.9.9"
"""Where visitors are, as the proxy before the service says."""

_PATIENCE = 20_000
"""Milliseconds after which what a test waits for will not come any more, even on a busy machine."""

DESKTOP = 1200
PHONE = 360

_CHROMIUM = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
_QUIET = "--disable-component-update --disable-sync"
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@dataclass
class Console:
    """A service with a console.

    Attributes:
        url: Of the console.
        manager: Its lists.
    """

    url: str
    manager: RuleManager
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def credentials(self) -> Credentials:
        """Its tokens and sessions."""
        return Credentials(self.manager._store)

    def token(self, *scopes: str, name: str = "ops") -> str:
        """A token that is good for these scopes."""
        return self.credentials.create_token(name, [Scope.parse(scope) for scope in scopes]).secret

    def account(self, *cidrs: str, label: str | None = None) -> str:
        """A new account with a list."""
        name = f"acct-{next(self._numbers)}"
        self.manager.create_account(name, actor="setup")
        if cidrs:
            self.manager.add(name, cidrs, label=label, actor="setup")
        return name

    def cidrs(self, account: str) -> list[str]:
        """What a list holds."""
        return [entry.cidr for entry in self.manager.entries(account)]


@contextmanager
def a_console(url: str, settings: Settings | None = None) -> Iterator[Console]:
    """A service on a store, behind a proxy that says where visitors are."""
    with RuleManager.open(url, create=True) as manager, socket.create_server(("127.0.0.1", 0)) as bound:
        app = create_app(manager, settings, resolver=ClientIPResolver(trusted_hops=1))
        config = uvicorn.Config(app, log_level="warning", access_log=False, proxy_headers=False, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            eventually(lambda: server.started)
            yield Console(f"http://127.0.0.1:{bound.getsockname()[1]}/console", manager)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("needs Chromium, on Debian: apt-get install chromium-headless-shell")
    playwright: Playwright
    sync_api.expect.set_options(timeout=_PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=f"{_CHROMIUM} {_QUIET}".split())
        yield browser
        browser.close()


@dataclass
class Visitors:
    """People at browsers of their own, and what their browsers complain about.

    Attributes:
        browser: What they share.
        complaints: What went wrong in a page that no test expects: scripts that fail, and what the policy blocks.
    """

    browser: Browser
    complaints: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def stranger(
        self,
        console: Console,
        *,
        address: str = ADDRESS,
        width: int = DESKTOP,
        dark: bool = False,
        scripts: bool = True,
    ) -> Page:
        """Somebody who is not signed in."""
        context = self.browser.new_context(
            base_url=f"{console.url}/",
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
            extra_http_headers={"X-Forwarded-For": address},
        )
        context.set_default_timeout(_PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def person(
        self,
        console: Console,
        *scopes: str,
        name: str = "ops",
        address: str = ADDRESS,
        width: int = DESKTOP,
        dark: bool = False,
        scripts: bool = True,
    ) -> Page:
        """Somebody who is signed in; an admin without scopes."""
        token = console.credentials.authenticate(console.token(*(scopes or ("admin",)), name=name))
        assert token is not None
        secret = console.credentials.begin_session(token, lifetime=timedelta(hours=12))
        page = self.stranger(console, address=address, width=width, dark=dark, scripts=scripts)
        page.context.add_cookies([{"name": "cidrgate_session", "value": secret, "url": console.url}])
        return page

    def close(self) -> None:
        """Close every window."""
        for context in self._contexts:
            context.close()

    def _note(self, message: ConsoleMessage) -> None:
        # Answers that are errors, and checks that are given up when their page is left, are part of many tests.
        expected = ("the server responded with a status of 4", "htmx:sendAbort", "htmx:afterRequest")
        if message.type == "error" and not any(text in message.text for text in expected):
            self.complaints.append(message.text)
