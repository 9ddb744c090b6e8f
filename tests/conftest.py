"""Settings every test shares: hypothesis profiles, the repository's root on the path, and no skips in CI."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.length import length
from tests.loggers import Loggers
from tests.new_stores import new_file

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.postgres import PostgresServer

sys.path.insert(0, str(Path(__file__).parents[1]))

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # The programs that the tests start inherit it from `nohup`, and would not end with their terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Likewise from a shell that starts the tests in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", deadline=None, max_examples=length(50, 100))
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("traced", deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def _nothing_skips(report: pytest.CollectReport | pytest.TestReport) -> None:
    """On a user's machine a component may be missing; in CI that would hide tests that never run."""
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"


def pytest_configure(config: pytest.Config) -> None:
    """Let a plugin look at all tests: the hooks of this file see only those beside it, and no examples in documents."""
    config.pluginmanager.register(Loggers(), "loggers")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected, which stays to the end, out of the garbage collector's way."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what was skipped in CI."""
    report = yield
    _nothing_skips(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail modules that skip as a whole in CI."""
    report = yield
    _nothing_skips(report)
    return report


def _server() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'cidrgate[postgres]'")
    from tests.postgres import a_server

    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def prepared_postgres() -> Iterator[None]:
    """What servers are copied from goes with the last test: a process of pytest-xdist has no normal exit."""
    yield
    if "tests.postgres" in sys.modules:
        sys.modules["tests.postgres"].forget_prepared()


@pytest.fixture(scope="session")
def shared_postgres_server(prepared_postgres: None) -> Iterator[PostgresServer]:
    """One server for all tests of a process that leave it alone."""
    yield from _server()


@pytest.fixture
def postgres_server(prepared_postgres: None) -> Iterator[PostgresServer]:
    """A server of the test's own, to be stopped and restarted."""
    yield from _server()


@pytest.fixture
def postgres_url(shared_postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database with the tables of cidrgate, empty."""
    url = shared_postgres_server.take_database()
    yield url
    shared_postgres_server.give_back(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a new file without accounts."""
    return new_file(tmp_path / "lists.db")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new store without accounts, once of each kind."""
    return "memory://" if request.param == "memory" else str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgres"])
def shared_store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new store without accounts, once of each kind that processes can share."""
    return str(request.getfixturevalue(f"{request.param}_url"))
