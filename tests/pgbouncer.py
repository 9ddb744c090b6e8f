"""A real PgBouncer for the tests, between them and a PostgreSQL server; gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.postgres import unprivileged
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

_SETTINGS = """
[databases]
{alias}
* = host=127.0.0.1 port={server} user={user}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
logfile = {folder}/log
pidfile = {folder}/pid
"""


class PgBouncer:
    """A pooler before a server.

    Args:
        server: The server.
        mode: `session` or `transaction`.
        size: How many connections to a database it keeps.
        user: The user of the server's sessions.
    """

    def __init__(self, server: PostgresServer, mode: str, size: int = 3, user: str = "postgres") -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            pytest.skip("needs PgBouncer, on Debian: apt-get install pgbouncer")
        self._server = server
        self._mode = mode
        self._size = size
        self._user = user
        self._folder = Path(tempfile.mkdtemp(prefix="cidrgate-pgbouncer-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._configure("")
        rights = unprivileged()
        if rights:
            uid, gid = (int(argument.partition("=")[2]) for argument in rights[1:3])
            os.chown(self._folder, uid, gid)
        self._process = subprocess.Popen(
            [*rights, program, "-q", str(self._folder / "ini")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._listens)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def lead(self, name: str, url: str) -> None:
        """Lead a name to a database of the server: new sessions of the server, and all that clients give back."""
        self._configure(
            f"{name} = host=127.0.0.1 port={self._server.port} user={self._user} dbname={url.rpartition('/')[2]}"
        )
        self._process.send_signal(signal.SIGHUP)

    def _configure(self, alias: str) -> None:
        settings = _SETTINGS.format(
            alias=alias,
            server=self._server.port,
            port=self.port,
            user=self._user,
            mode=self._mode,
            size=self._size,
            folder=self._folder,
        )
        (self._folder / "ini").write_text(settings)

    def url(self, url: str) -> str:
        """The URL of a database of the server, through the pooler."""
        before = f":{self._server.port}/"
        assert before in url
        return url.replace(before, f":{self.port}/")

    def _listens(self) -> bool:
        assert self._process.poll() is None, "PgBouncer did not start"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
