"""What servers keep of counted denials, last matches and traffic when a signal ends them: each server, for real.

The signal comes in the middle of a request, as it does in production. A server may answer that request, end it with an
error, or close its connection.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import Policy, RuleManager
from tests.new_stores import copy_of
from tests.servers.requests import ask
from tests.servers.running import free_port, program, running
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).parents[2]
APPS = "tests.servers.ending_apps"
ALLOWED, DENIED = 5, 4

ASGI, WSGI = f"{APPS}:APP_{{app}}", f"{APPS}:wsgi_middleware"
GUNICORN = ["gunicorn", "--log-level", "critical", "--bind", "127.0.0.1:{port}"]
UVICORN = ["uvicorn", "--log-level", "critical", "--port", "{port}", ASGI]
GRANIAN = ["granian", "--no-access-log", "--log-level", "critical", "--port", "{port}", "--interface"]
UWSGI = ["uwsgi", "--master", "--enable-threads", "--http-socket", "127.0.0.1:{port}", "--module", WSGI]
SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn, several workers": [*UVICORN, "--workers", "2"],
    "gunicorn with uvicorn's worker": [*GUNICORN, "--worker-class", "uvicorn.workers.UvicornWorker", ASGI],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}", f"{APPS}:{{app}}()"],
    "granian": [*GRANIAN, "asgi", ASGI],
    "daphne": ["daphne", "--verbosity", "0", "--bind", "127.0.0.1", "--port", "{port}", ASGI],
    "aiohttp": ["aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", f"{APPS}:of_aiohttp"],
    "gunicorn, WSGI": [*GUNICORN, WSGI],
    "uWSGI": UWSGI,
    "uWSGI, with a hook": [*UWSGI, "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"],
    "waitress": ["waitress", "--listen=127.0.0.1:{port}", WSGI],
    "waitress, with a handler": ["waitress", "--listen=127.0.0.1:{port}", f"{APPS}:APP_with_handler"],
    "granian, WSGI": [*GRANIAN, "wsgi", WSGI],
}


def _filled(path: Path) -> None:
    with RuleManager.open(f"sqlite:///{path}", policy=Policy(allow_special=True), create=True, load=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "127.0.0.1/32")


def _ask_slowly(port: int) -> None:
    with suppress(OSError, HTTPException):
        ask(port, "127.0.0.1", [("X-Account", "acct-1")], path="/slow")


def kept(command: list[str], app: str, number: int, folder: Path) -> tuple[int, int, int, int]:
    """The requests of each kind that are stored, the denials in the log, and the last matches, after a signal."""
    url, port = copy_of(_filled, folder / "lists.db"), free_port()
    name, *arguments = [part.format(port=port, app=app) for part in command]
    as_program = [program(name, "from PyPI: pip install pyuwsgi")] if name == "uwsgi" else [sys.executable, "-m", name]
    started = [*as_program, *arguments]
    process: subprocess.Popen[bytes]
    begun = folder / "begun"
    variables = {"PYTHONPATH": str(ROOT), "TEST_DATABASE": url, "TEST_SLOW": str(begun)}
    with running(started, folder, port, variables) as process:
        for source, times, status in (("127.0.0.1", ALLOWED - 1, 200), ("127.0.0.9", DENIED, 403)):
            for _ in range(times):
                assert ask(port, source, [("X-Account", "acct-1")]).status == status
        last = threading.Thread(target=_ask_slowly, args=(port,))
        last.start()
        eventually(begun.exists)
        process.send_signal(number)
        process.wait(20)
        last.join()
    [log] = folder.glob("*.log")
    text = log.read_text()
    lines = len(re.findall(r'"event": "cidrgate.decision",', text))
    repeated = sum(int(found) for found in re.findall(r'"repeated": (\d+)', text))
    with RuleManager.open(url, load=False) as manager:
        seen = list(manager.traffic("acct-1"))
        matched = len(manager.last_matches("acct-1"))
    counts = [sum(one.requests for one in seen if one.allowed is allowed) for allowed in (True, False)]
    return counts[0], counts[1], lines + repeated, matched


def promised() -> list[tuple[str, str, signal.Signals, bool]]:
    """What the table of docs/operating.md says of each server, application and signal: whether everything is kept."""
    page = (ROOT / "docs" / "operating.md").read_text().partition("### When a process ends")[2].partition("\n## ")[0]
    found = []
    for line in re.findall(r"^\| (.*) \|$", page, re.MULTILINE)[1:]:
        server, *cells = (cell.strip() for cell in line.split("|"))
        for app, cell in zip(("middleware", "without_lifespan"), cells, strict=True):
            # This worker does not end at SIGINT before gunicorn's patience does.
            numbers = (signal.SIGTERM,) if "uvicorn's worker" in server else (signal.SIGTERM, signal.SIGINT)
            for number in numbers if cell else ():
                found.append((server, app, number, number.name in cell))
    return found


EVERY = [
    *promised(),
    *[("uvicorn", app, signal.SIGTERM, app != "plain_django") for app in ("closing", "django", "plain_django")],
    ("waitress, with a handler", "", signal.SIGTERM, True),
]


def test_the_table_names_every_server() -> None:
    assert {server for server, *_ in promised()} == set(SERVERS) - {"waitress, with a handler"}


@pytest.mark.parametrize(
    ("server", "app", "number", "keeps"),
    EVERY,
    ids=[f"{server}-{app}-{number.name}" for server, app, number, _ in EVERY],
)
def test_a_server_keeps_what_the_documents_say(
    server: str, app: str, number: signal.Signals, *, keeps: bool, tmp_path: Path
) -> None:
    if server == "gunicorn with uvicorn's worker":
        pytest.importorskip("uvicorn.workers", reason="needs uvicorn's worker", exc_type=ImportError)
    everything = (ALLOWED, DENIED, DENIED, 1)
    assert (kept(SERVERS[server], app, number, tmp_path) == everything) is keeps
