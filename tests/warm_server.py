"""A process that has loaded what the programs of the tests load, and forks for each that is asked for.

`tests/warm_starts.py` starts it and asks. Between it and a program there is a process for a moment: when that ends, the
program becomes a child of the tests, as if they had started it themselves.
"""

from __future__ import annotations

import gc
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any

LOADED = (
    *("cidrgate.cli.app", "cidrgate.service.server", "cidrgate.authorize.server", "cidrgate.authorize.workers"),
    *("cidrgate.stores.sqlite", "cidrgate.stores.postgres", "cidrgate.manager.metrics", "alembic.command"),
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg", "typer._adapters", "rich.table"),
    *("uvicorn.main", "uvicorn.loops.auto", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl"),
    *("uvicorn.protocols.http.h11_impl", "gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "waitress"),
    *("hypercorn.run", "granian.cli", "aiohttp.web", "flask", "django.core.asgi", "django.core.wsgi"),
)
"""What is not installed is left out. Nothing here starts a thread; Twisted, under Daphne, would choose its reactor."""

LARGEST = 1 << 20
"""Bytes of what is asked."""


def main(folder: Path) -> None:
    """Fork for everybody who asks, until the standard input ends; in the forks, be the program."""
    for module in LOADED:
        with suppress(ImportError):
            import_module(module)
    gc.collect()
    gc.freeze()
    connection = _forked(folder)
    name, arguments, descriptors, script = _started(connection)
    for number, one in enumerate(descriptors):
        os.dup2(one, number)
    os.closerange(3, 1024)
    _renew_streams()
    sys.argv = [name, *arguments]
    if name == "-c":
        del sys.argv[1]
        code = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), vars(code))
    elif script:
        runpy.run_path(str(Path(sys.executable).with_name(name)), run_name="__main__")
    else:
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _forked(folder: Path) -> socket.socket:
    """Come back in a fork for each connection; the process itself ends here."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        print("ready", flush=True)
        asked: list[Any] = [listener, 0]
        while listener in select.select(asked, [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return connection
            connection.close()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _started(connection: socket.socket) -> tuple[str, list[str], list[int], bool]:
    """Fork once more, and come back in the place of the program, with its variables: what it is and what it has open.

    The process between says who the program is. With `waits` it stays for its end, and says how that was.
    """
    message, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 3)
    name, arguments, folder, environment, umask, new_session, waits = marshal.loads(message)
    between, program = os.getpid(), os.fork()
    if program:
        with suppress(BrokenPipeError):
            connection.send(marshal.dumps(program))
            if waits:
                _, status = os.waitpid(program, 0)
                connection.send(marshal.dumps(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    while not waits and os.getppid() == between:
        time.sleep(0.0005)  # a program may end when its parent changes
    connection.close()  # by its owner: its number may be given to a file of the program
    if new_session:
        os.setsid()
    os.umask(umask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first = "" if name == "-c" else str(Path(sys.executable).parent) if waits else folder
    sys.path[:1] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return name, arguments, descriptors, waits


def _renew_streams() -> None:
    """Open the streams anew, as Python does when it starts: what they are open on has changed."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        buffer: Any = os.fdopen(number, "wb" if number else "rb", 0 if number and unbuffered else -1, closefd=False)
        getattr(buffer, "raw", buffer).name = f"<{name}>"
        new = TextIOWrapper(
            buffer,
            encoding=old.encoding,
            errors=old.errors,
            newline="\n" if number else None,
            line_buffering=not unbuffered and (number == 2 or os.isatty(number)),
            write_through=unbuffered,
        )
        new.__dict__["mode"] = "w" if number else "r"
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
