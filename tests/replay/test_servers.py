"""Logs that nginx and HAProxy write here and now are read as they are meant."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from cidrgate.gate import FromPath
from cidrgate.replay import FORMATS, LogSource, format_of_template
from cidrgate.replay.replaying import observations
from tests.replay.test_formats import LISTS
from tests.servers.running import free_port, program, running
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BY_PATH = FromPath(r"/v1/accounts/(?P<account>[^/]+)")
TEMPLATE = '$remote_addr "$remote_user" [$time_local] "$request" $status "$http_user_agent" "$http_x_account"'

NGINX = """daemon off; pid nginx.pid; error_log stderr;
events {{}}
http {{
    client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
    log_format own '{template}';
    access_log combined.log combined;
    access_log own.log own;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""
HAPROXY = """global
    log 127.0.0.1:{syslog} format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend api
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{http2} proto h2
    http-request capture req.hdr(X-Account) len 64
    http-request return status 200
"""


ODD = ["Zo\u00eb", 'a"b|{c}', "a\\b#22"]
"""Names with characters that servers do not write as they are."""


def ask(port: int, source: str, account: str, agent: str = "test") -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    path = f"/v1/accounts/{quote(account)}?a=/x"
    connection.request("GET", path, headers={"X-Account": account.encode(), "User-Agent": agent})
    assert connection.getresponse().read() is not None
    connection.close()


def ask_all(port: int) -> None:
    """Six requests, one of them from a client that would like to be somebody else, and three of odd accounts."""
    ask(port, "127.0.0.2", "acct-1")
    ask(port, "127.0.0.3", "acct-2", agent='" "acct-1" [x] \\" - {acct-1}')
    ask(port, "127.0.0.3", "acct-2", agent="\\")
    for account in ODD:
        ask(port, "127.0.0.4", account)


def seen(path: Path, form: object, **more: object) -> list[tuple[str, str, int]]:
    source = LogSource(files=[str(path)], form=form, **more)  # type: ignore[arg-type]
    found = observations(source, LISTS, threads=1)
    return sorted((one.account, one.network, one.requests) for one in found)


EXPECTED = sorted(
    [("acct-1", "127.0.0.2/32", 1), ("acct-2", "127.0.0.3/32", 2), *((account, "127.0.0.4/32", 1) for account in ODD)]
)
IN_PATHS = [one for one in EXPECTED if "\\" not in one[0]]
"""Programs may read a backslash in a path in two ways, so the gate reads no account there."""


def test_logs_of_nginx(tmp_path: Path) -> None:
    path = program("nginx", "on Debian: apt-get install nginx-light")
    port = free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(port=port, template=TEMPLATE))
    arguments = ["-g", "user root;"] if os.geteuid() == 0 else []
    with running([path, "-p", str(tmp_path), "-c", "nginx.conf", *arguments], tmp_path, port):
        ask_all(port)
        eventually(lambda: (tmp_path / "own.log").read_text().count("\n") >= 6)
    assert seen(tmp_path / "combined.log", FORMATS["combined"], account=BY_PATH) == IN_PATHS
    assert seen(tmp_path / "own.log", format_of_template(TEMPLATE), columns={"account": "http_x_account"}) == EXPECTED


@contextmanager
def syslog(file: Path) -> Iterator[int]:
    """The port of a server that writes each message that it gets as a line of a file."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.1)
        ended = threading.Event()

        def write() -> None:
            with file.open("ab", buffering=0) as log:
                while not ended.is_set():
                    try:
                        log.write(receiver.recv(65_536).rstrip(b"\n") + b"\n")
                    except TimeoutError:
                        continue

        writer = threading.Thread(target=write)
        writer.start()
        yield receiver.getsockname()[1]
        ended.set()
        writer.join(10)


@pytest.mark.parametrize("columns", [{}, {"account": "capture_1"}], ids=["path", "capture"])
def test_logs_of_haproxy(tmp_path: Path, columns: dict[str, str]) -> None:
    path = program("haproxy", "on Debian: apt-get install haproxy")
    curl = program("curl", "on Debian: apt-get install curl")
    port, http2 = free_port(), free_port()
    log = tmp_path / "haproxy.log"
    log.touch()
    with syslog(log) as receiver:
        (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(port=port, http2=http2, syslog=receiver))
        with running([path, "-db", "-f", "haproxy.cfg"], tmp_path, port):
            ask_all(port)
            url = f"http://127.0.0.1:{http2}/v1/accounts/acct-1?a=/x"
            asked = [
                curl,
                "--silent",
                "--http2-prior-knowledge",
                "--interface",
                "127.0.0.5",
                "-H",
                "X-Account: acct-1",
                url,
            ]
            subprocess.run(asked, check=True, timeout=30)
            eventually(lambda: log.read_text().count("/v1/accounts/") >= 7)
    assert f"GET {url} HTTP/2.0" in log.read_text()
    account = None if columns else BY_PATH
    assert seen(log, FORMATS["haproxy"], columns=columns, account=account) == sorted(
        [*(EXPECTED if columns else IN_PATHS), ("acct-1", "127.0.0.5/32", 1)]
    )
