"""A real PostgreSQL for the tests, started by them: on a free port, in a temporary folder, gone afterwards."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import psycopg
import pytest

from cidrgate.stores.postgres import migrate

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PostgresServer", "a_server", "find_binaries", "forget_prepared", "unprivileged"]

_TEMPLATE = "template_cidrgate"

_prepared: dict[Path, Path] = {}
"""Data with the tables of cidrgate by the server's programs, as `initdb` and migrations take a second.

Servers that start from a copy have stores of their own, but all of them one system identifier.
"""

_IN_MEMORY = Path("/dev/shm")
_ENOUGH = 2 << 30
"""Bytes that must be free there."""

_ANOTHER_STORE = "UPDATE cidrgate.facts SET store_id = md5(random()::text)"

_LONGEST_STEP = 1_900_000_000
"""Transaction ids that may be skipped at once."""

_STATUS_BYTES = 1 << 18
"""Size of a file with the states of transactions."""

_OTHER_SCHEMAS = """
    SELECT nspname FROM pg_namespace
    WHERE nspname NOT IN ('cidrgate', 'public', 'information_schema') AND NOT starts_with(nspname, 'pg_')
"""
_EMPTY = """
    SET lock_timeout = '2s';
    SET session_replication_role = replica; -- the log refuses to be emptied
    DO $$
    BEGIN
        EXECUTE (
            SELECT 'TRUNCATE ' || string_agg(format('cidrgate.%I', tablename), ', ') || ' RESTART IDENTITY'
            FROM pg_tables WHERE schemaname = 'cidrgate' AND tablename NOT IN ('alembic_version', 'facts')
        );
    END $$;
    UPDATE cidrgate.facts SET store_id = md5(random()::text), log_start = 1, policy = NULL;
"""


def find_binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: from the path, where Debian puts them, or where `pg_config` says."""
    found = shutil.which("pg_ctl")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if config := shutil.which("pg_config"):
        candidates.append(Path(subprocess.check_output([config, "--bindir"], text=True).strip()))
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


def unprivileged() -> list[str]:
    """What makes a command run as somebody else than root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    known = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


class PostgresServer:
    """A server of its own, with durable commits as in production.

    Args:
        binaries: The folder of the server's programs.
        under: Where its folder is made; None for where temporary files are.
        settings: Of the server, by name.
    """

    def __init__(
        self, binaries: Path, under: Path | None = None, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._binaries = binaries
        self._settings = {"listen_addresses": "127.0.0.1", "max_connections": "200"} | dict(settings)
        self._names = count()
        self._clean: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="cidrgate-pg-", dir=under))
        self._as = unprivileged()
        if self._as:
            uid, gid = (int(argument.partition("=")[2]) for argument in self._as[1:3])
            os.chown(self._folder, uid, gid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        prepared = _prepared.get(binaries)
        if prepared is not None:
            subprocess.run(["cp", "-a", "--", str(prepared), str(self._folder / "data")], check=True)
            self.start()
            with psycopg.connect(self.url(_TEMPLATE)) as connection:
                connection.execute(_ANOTHER_STORE)
            return
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync")
        self.start()
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        migrate(self.url(_TEMPLATE))
        self._keep_prepared(under)

    def _keep_prepared(self, under: Path | None) -> None:
        """Keep a copy of the first server's folder for the next ones of this process, until it ends."""
        self.stop("fast")
        folder = Path(tempfile.mkdtemp(prefix="cidrgate-pg-prepared-", dir=under))
        subprocess.run(["cp", "-a", "--", str(self._folder / "data"), str(folder)], check=True)
        _prepared[self._binaries] = folder / "data"
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        options = f"-p {self.port} -k {self._folder} {settings}"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")

    def stop(self, mode: str) -> None:
        """Stop the server: `smart`, `fast` or `immediate`."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def standby(self) -> PostgresServer:
        """A standby of this server, which takes over when it is promoted."""
        made = object.__new__(PostgresServer)
        made._binaries, made._settings, made._names, made._clean = self._binaries, self._settings, self._names, []
        made._as = self._as
        made._folder = Path(tempfile.mkdtemp(prefix="cidrgate-pg-", dir=self._folder.parent))
        if made._as:
            uid, gid = (int(argument.partition("=")[2]) for argument in made._as[1:3])
            os.chown(made._folder, uid, gid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            made.port = free.getsockname()[1]
        source = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        made._run("pg_basebackup", *source, "-D", "data", "-R", "-c", "fast", "-X", "stream", "--no-sync")
        made.start()
        return made

    def promote(self) -> None:
        """Make a standby take writes."""
        self._run("pg_ctl", "-D", "data", "-w", "promote")

    def restart(self, mode: str) -> None:
        """Stop the server and start it again."""
        self.stop(mode)
        self.start()

    def advance_to_transaction(self, number: int) -> None:
        """Let the next transaction have this id, of 64 bits, as on a server that has made so many.

        In steps: rows must not be older than half of the ids there are of 32 bits.
        """
        self._execute("UPDATE pg_database SET datallowconn = true")
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            databases = [row[0] for row in connection.execute("SELECT datname FROM pg_database")]
            row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        at = int(row[0]) if row else 0
        while at < number:
            for database in databases:
                with psycopg.connect(self.url(database), autocommit=True) as connection:
                    connection.execute("VACUUM (FREEZE)")
            at = min(at + _LONGEST_STEP, number)
            self.stop("fast")
            self._run("pg_resetwal", "-D", "data", "-e", str(at >> 32), "-x", str(at & 0xFFFFFFFF))
            # Of the states of transactions there is one file for each 2^20 of them.
            status = f"data/pg_xact/{(at & 0xFFFFFFFF) >> 20:04X}"
            self._run_program("truncate", f"--size={_STATUS_BYTES}", status)
            self.start()

    def freeze(self) -> None:
        """Stop every process of the server where it is; its machine goes on answering for the connections."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        first = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(first, number)
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                if int(stat.read_text().rpartition(")")[2].split()[1]) == first:
                    os.kill(int(stat.parent.name), number)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = _TEMPLATE) -> str:
        """The URL of a new database; with the tables of cidrgate, unless it is made from another template."""
        name = f"lists_{next(self._names)}_{os.getpid()}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def size(self, url: str) -> int:
        """Bytes on the disk that a database takes."""
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0

    def cpu_seconds(self) -> float:
        """Processor time of the server and of its processes that have ended; Linux tells, elsewhere it is 0."""
        pid = (self._folder / "data" / "postmaster.pid").read_text().split()[0]
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists():
            return 0.0
        ticks = stat.read_text().rpartition(")")[2].split()[11:15]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def take_database(self) -> str:
        """The URL of a database with the tables of cidrgate, empty: one that was given back, or a new one."""
        return self._clean.pop() if self._clean else self.new_database()

    def give_back(self, url: str) -> None:
        """Empty the tables of a database for the next one to take it, which is faster than to make one.

        A database in which a test made schemas of its own is not taken again.
        """
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                if connection.execute(_OTHER_SCHEMAS).fetchall():
                    return
                connection.execute(_EMPTY)
        except psycopg.Error:  # its test left something behind that is in the way
            return
        self._clean.append(url)

    @staticmethod
    def empty(url: str) -> None:
        """Empty the tables of a database."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_EMPTY)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        self._run_program(str(self._binaries / program), *arguments)

    def _run_program(self, program: str, *arguments: str) -> None:
        command = [*self._as, program, *arguments]
        done = subprocess.run(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            log = self._folder / "log"
            raise RuntimeError(f"{program}: {done.stderr}{log.read_text() if log.exists() else ''}")


@atexit.register
def forget_prepared() -> None:
    """Remove what is kept for the next servers; to be called in processes that end without a normal exit."""
    while _prepared:
        shutil.rmtree(_prepared.popitem()[1].parent, ignore_errors=True)


def a_server() -> PostgresServer:
    """A server, in memory if there is enough of it, or a skip that says what to install."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server's programs, on Debian: apt-get install postgresql")
    in_memory = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH
    return PostgresServer(binaries, _IN_MEMORY if in_memory else None)
