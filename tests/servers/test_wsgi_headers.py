"""The headers of proxies under real WSGI servers: aliases such as `X_Forwarded_For`, and peers on Unix sockets."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edges import applications
from tests.servers.guarded_apps import LISTED, OWN, STRANGER, VICTIM
from tests.servers.path_attacks import account_acted_for
from tests.servers.raw import exchange
from tests.servers.running import free_port, program, running

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
APP = "tests.servers.guarded_apps:wsgi_application"
WERKZEUG = (
    "import sys; from werkzeug.serving import run_simple; from tests.servers.guarded_apps import wsgi_application; "
    "run_simple(sys.argv[1], int(sys.argv[2]), wsgi_application)"
)
BRIDGE = (
    "import sys; import uvicorn; from tests.servers.guarded_apps import wsgi_application; "
    "uvicorn.run(wsgi_application, host=sys.argv[1], port=int(sys.argv[2]), interface='wsgi', log_level='critical', "
    "proxy_headers=False)"
)
STARLETTE = (
    "import sys; import uvicorn; from starlette.middleware.wsgi import WSGIMiddleware; "
    "from tests.servers.guarded_apps import wsgi_application; "
    "uvicorn.run(WSGIMiddleware(wsgi_application), host=sys.argv[1], port=int(sys.argv[2]), log_level='critical', "
    "proxy_headers=False)"
)
GUNICORN = ["-m", "gunicorn", "--log-level", "critical"]
ON_PORT = {
    "gunicorn": [*GUNICORN, "--bind", "127.0.0.1:{port}", APP],
    "gunicorn with Tornado's worker": [*GUNICORN, "--worker-class", "tornado", "--bind", "127.0.0.1:{port}", APP],
    "waitress": ["-m", "waitress", "--no-clear-untrusted-proxy-headers", "--listen=127.0.0.1:{port}", APP],
    "Werkzeug": ["-c", WERKZEUG, "127.0.0.1", "{port}"],
    "granian": ["-m", "granian", "--no-access-log", "--interface", "wsgi", "--port", "{port}", APP],
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", f"wsgi:{APP}"],
    "uWSGI": ["uwsgi", "--master", "--http-socket", "127.0.0.1:{port}", "--module", APP],
    "uvicorn's bridge": ["-W", "ignore", "-c", BRIDGE, "127.0.0.1", "{port}"],
    "Starlette's bridge": ["-W", "ignore", "-c", STARLETTE, "127.0.0.1", "{port}"],
}
ON_SOCKET = {
    "gunicorn": [*GUNICORN, "--bind", "unix:{port}", APP],
    "waitress": ["-m", "waitress", "--no-clear-untrusted-proxy-headers", "--unix-socket={port}", APP],
    "Werkzeug": ["-c", WERKZEUG, "unix://{port}", "0"],
    "granian": ["-m", "granian", "--no-access-log", "--interface", "wsgi", "--uds", "{port}", APP],
    "hypercorn": ["-m", "hypercorn", "--bind", "unix:{port}", f"wsgi:{APP}"],
    "uWSGI": ["uwsgi", "--master", "--http-socket", "{port}", "--module", APP],
}
PASS_ONE = ("granian", "gunicorn with Tornado's worker")
LIKE_BRIDGES = ("hypercorn", "gunicorn with Tornado's worker", "uvicorn's bridge", "Starlette's bridge")
DROP_ALIASES = ("gunicorn", "waitress", "Werkzeug")
PROXY = {"TEST_TRUSTED_PROXIES": "127.0.0.1/32"}
ALLOWED = {"TEST_ALLOW_ALIASES": "yes"}
APPS = [name for name in applications("wsgi") if name.endswith(" header")]

XFF, ALIAS = "X-Forwarded-For", "X_Forwarded_For"
FORGED_ADDRESSES = [
    [(XFF, STRANGER), (ALIAS, LISTED)],
    [(ALIAS, LISTED), (XFF, STRANGER)],
    [(XFF, STRANGER), ("x-forwarded_for", LISTED)],
]
FORGED_ACCOUNTS = [
    [("X-Account", OWN), ("X_Account", VICTIM)],
    [("X_Account", VICTIM), ("X-Account", OWN)],
]


@contextmanager
def serving(command: list[str], at: int | Path, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    arguments = [argument.format(port=at) for argument in command]
    if arguments[0] == "uwsgi":
        started = [program("uwsgi", "from PyPI: pip install pyuwsgi"), *arguments[1:]]
    else:
        started = [sys.executable, *arguments]
    with running(started, folder, at, {"PYTHONPATH": str(ROOT), **environment}):
        yield


def acted_in_chunks(port: int, app: str, *, forwarded: str, trailer: str = "") -> tuple[int, str | None]:
    """The same for a request for the victim in chunks, with a trailer."""
    lines = [f"POST /v1/accounts/{VICTIM}/calls HTTP/1.1", "Host: api.example", "Transfer-Encoding: chunked"]
    lines += ["Connection: close", f"X-App: {app}", f"X-Account: {VICTIM}", f"{XFF}: {forwarded}", "", "1", "a", "0"]
    lines += [f"{XFF}: {trailer}"] if trailer else []
    start, _, body = exchange(port, "127.0.0.1", "\r\n".join([*lines, "", ""]).encode()).partition(b"\r\n\r\n")
    status = int(start.split()[1])
    return status, account_acted_for(body) if status == 200 else None


def acted(at: int | Path, app: str, *headers: tuple[str, str], source: str = "127.0.0.1") -> tuple[int, str | None]:
    """The status, and the account that an application has acted for if it ran."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (("X-App", app), *headers))
    head = f"GET /v1/accounts/{VICTIM}/calls HTTP/1.0\r\nHost: api.example\r\n{lines}\r\n"
    with socket.socket(socket.AF_INET if isinstance(at, int) else socket.AF_UNIX) as connection:
        connection.settimeout(30)
        if isinstance(at, int):
            connection.bind((source, 0))
        connection.connect(("127.0.0.1", at) if isinstance(at, int) else str(at))
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    start, _, body = answer.partition(b"\r\n\r\n")
    status = int(start.split()[1])
    return status, account_acted_for(body) if status == 200 else None


@pytest.mark.parametrize("allowed", [False, True], ids=["refusing aliases", "allowing aliases"])
@pytest.mark.parametrize("server", ON_PORT)
def test_the_header_of_a_proxy_counts_unless_it_may_be_an_alias(server: str, *, allowed: bool, tmp_path: Path) -> None:
    port, works = free_port(), allowed or server in DROP_ALIASES
    with serving(ON_PORT[server], port, tmp_path, PROXY | (ALLOWED if allowed else {})):
        for app in APPS:
            victim = ("X-Account", VICTIM)
            assert acted(port, app, victim, (XFF, LISTED)) == ((200, VICTIM) if works else (403, None)), app
            assert acted(port, app, victim, (XFF, STRANGER)) == (403, None), app
            if works and allowed and server not in DROP_ALIASES:
                continue  # whoever allows aliases says that the proxy drops them
            for forged in FORGED_ADDRESSES:
                assert acted(port, app, victim, *forged) == (403, None), (app, forged)
            for forged in FORGED_ACCOUNTS:
                assert acted(port, app, (XFF, LISTED), *forged)[1] != VICTIM, (app, forged)
    [log] = tmp_path.glob("*.log")
    assert log.read_text().count("allow_aliases=True") == (0 if works else 1)


@pytest.mark.parametrize("server", ON_PORT)
def test_the_account_of_a_header_is_clear_unless_the_server_picks_one_of_two(server: str, tmp_path: Path) -> None:
    port = free_port()
    clear = (403, None) if server in PASS_ONE else (200, VICTIM)
    with serving(ON_PORT[server], port, tmp_path, {}):
        for app in APPS:
            assert acted(port, app, ("X-Account", VICTIM), source=LISTED) == clear, app
            for forged in FORGED_ACCOUNTS:
                assert acted(port, app, *forged, source=LISTED)[1] != VICTIM, (app, forged)


@pytest.mark.parametrize("server", ON_PORT)
def test_a_trailer_is_not_the_last_hop(server: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(ON_PORT[server], port, tmp_path, PROXY | ALLOWED):
        for app in APPS:
            assert acted_in_chunks(port, app, forwarded=STRANGER, trailer=LISTED) in ((403, None), (400, None)), app
            status, account = acted_in_chunks(port, app, forwarded=LISTED, trailer=STRANGER)
            assert status == 400 or account == (None if "bridge" in server else VICTIM), (app, status)
            status, account = acted_in_chunks(port, app, forwarded=LISTED)
            assert account == VICTIM, (app, status)
            status, account = acted_in_chunks(port, app, forwarded=f"{STRANGER}, {LISTED}")
            assert (account == VICTIM) is (server not in LIKE_BRIDGES), (app, status)
    [log] = tmp_path.glob("*.log")
    assert ("--http h11" in log.read_text()) is (server in LIKE_BRIDGES)


FROM_WSGI = "tests.servers.rewriting_apps:bridged"


@pytest.mark.parametrize("server", ["gunicorn", "waitress", "hypercorn", "gunicorn with Tornado's worker"])
def test_a_bridge_from_wsgi_is_as_clear_as_its_server(server: str, tmp_path: Path) -> None:
    """a2wsgi gives the names of an environ to the application as header lines, in which no alias can be seen."""
    command = [
        FROM_WSGI if part == APP else f"wsgi:{FROM_WSGI}" if part == f"wsgi:{APP}" else part for part in ON_PORT[server]
    ]
    for number, allowed in enumerate((False, True)):
        port, folder = free_port(), tmp_path / str(number)
        folder.mkdir()
        with serving(command, port, folder, {"TEST_TRUSTED_HOPS": "1"} | (ALLOWED if allowed else {})):
            victim = ("X-Account", VICTIM)
            works = allowed or server in DROP_ALIASES
            for app in ("asgi header", "fastapi header"):
                assert acted(port, app, victim, (XFF, LISTED)) == ((200, VICTIM) if works else (403, None)), app
                assert acted(port, app, victim, (XFF, STRANGER)) == (403, None), app
                for forged in FORGED_ADDRESSES if not allowed else ():
                    assert acted(port, app, victim, *forged) == (403, None), (app, forged)
                for forged in FORGED_ACCOUNTS if not allowed else ():
                    assert acted(port, app, (XFF, LISTED), *forged)[1] != VICTIM, (app, forged)


def test_a_trailer_is_not_the_last_hop_behind_two_bridges(tmp_path: Path) -> None:
    port = free_port()
    code = STARLETTE.replace(
        "guarded_apps import wsgi_application", "rewriting_apps import bridged as wsgi_application"
    )
    command = ["-W", "ignore", "-c", code, "127.0.0.1", "{port}"]
    with serving(command, port, tmp_path, {"TEST_TRUSTED_HOPS": "1"} | ALLOWED):
        for app in ("asgi header", "fastapi header"):
            assert acted_in_chunks(port, app, forwarded=STRANGER, trailer=LISTED) == (403, None), app
            assert acted_in_chunks(port, app, forwarded=LISTED)[1] == VICTIM, app


FIXED = "tests.servers.rewriting_apps:werkzeug_fixed"


@pytest.mark.parametrize("allowed", [False, True], ids=["refusing aliases", "allowing aliases"])
@pytest.mark.parametrize("server", [name for name in ON_PORT if "bridge" not in name and name != "Werkzeug"])
def test_a_middleware_that_replaces_the_peer_reads_no_alias(server: str, *, allowed: bool, tmp_path: Path) -> None:
    port = free_port()
    command = [part.replace(APP, FIXED) for part in ON_PORT[server]]
    with serving(command, port, tmp_path, {"TEST_RESOLVED_BY_SERVER": "yes"} | (ALLOWED if allowed else {})):
        works, victim = allowed or server in DROP_ALIASES, ("X-Account", VICTIM)
        for app in APPS:
            assert acted(port, app, victim, (XFF, LISTED)) == ((200, VICTIM) if works else (403, None)), app
            assert acted(port, app, victim, (XFF, STRANGER)) == (403, None), app
            for forged in FORGED_ADDRESSES if server in DROP_ALIASES or not allowed else ():
                assert acted(port, app, victim, *forged) == (403, None), (app, forged)


def test_waitress_removes_the_header_unless_it_is_told_not_to(tmp_path: Path) -> None:
    port = free_port()
    command = [argument for argument in ON_PORT["waitress"] if argument != "--no-clear-untrusted-proxy-headers"]
    with serving(command, port, tmp_path, PROXY):
        for app in APPS:
            assert acted(port, app, ("X-Account", VICTIM), (XFF, LISTED)) == (403, None)
    [log] = tmp_path.glob("*.log")
    assert log.read_text().count("--no-clear-untrusted-proxy-headers") == 1


@pytest.mark.parametrize("trust", [{"TEST_TRUSTED_PROXIES": "unix:"}, {"TEST_TRUSTED_HOPS": "1"}], ids=["unix", "hops"])
@pytest.mark.parametrize("server", ON_SOCKET)
def test_a_proxy_on_a_unix_socket(server: str, trust: dict[str, str], tmp_path: Path) -> None:
    at = tmp_path / "s"
    with serving(ON_SOCKET[server], at, tmp_path, trust | ALLOWED):
        for app in APPS:
            victim = ("X-Account", VICTIM)
            assert acted(at, app, victim, (XFF, LISTED)) == (200, VICTIM), app
            assert acted(at, app, victim, (XFF, f"{LISTED}, {STRANGER}")) == (403, None), app
            assert acted(at, app, victim) == (403, None), app


@pytest.mark.parametrize("server", ON_PORT)
def test_a_port_is_no_unix_socket(server: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(ON_PORT[server], port, tmp_path, {"TEST_TRUSTED_PROXIES": "unix:"} | ALLOWED):
        for app in APPS:
            for named in (LISTED, f"{LISTED}, localhost", "localhost", "0.0.0.0", "unix:"):
                assert acted(port, app, ("X-Account", VICTIM), (XFF, named)) == (403, None), (app, named)
