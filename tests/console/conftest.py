"""One service and one browser for all tests of the console in a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cidrgate.service import Settings
from tests.console.a_console import Console, Visitors, a_browser, a_console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


# Of this package and not of the session: while Playwright runs, asyncio cannot be used in the thread of the tests.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser."""
    with a_browser() as browser:
        yield browser


# Of a module: what it keeps running does not run beside the tests of other packages.
@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console on SQLite; each test has accounts of its own."""
    path = tmp_path_factory.mktemp("console") / "lists.db"
    with a_console(f"sqlite:///{path}", Settings(login_failures=10_000)) as console:
        yield console


@pytest.fixture
def visitors(browser: Browser) -> Iterator[Visitors]:
    """People; none of their pages may fail in a way that the test does not know."""
    visitors = Visitors(browser)
    yield visitors
    visitors.close()
    assert not visitors.complaints
