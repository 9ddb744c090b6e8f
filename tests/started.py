"""A program that says how it was started, for `test_warm_starts`."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any


def owned() -> list[int]:
    """The descriptors that objects will close, although another file may have been opened as the same one."""
    gc.unfreeze()
    # By the type itself: to be asked for its class makes many a proxy do something.
    sockets = [one.fileno() for one in gc.get_objects() if issubclass(type(one), socket.socket)]
    files = [one.fileno() for one in gc.get_objects() if issubclass(type(one), io.FileIO) and not one.closed]
    return sorted(number for number in [*sockets, *files] if number > 2)


def main() -> None:
    """Say it as JSON, then end as the arguments say."""
    kind = sys.argv[1]
    umask = os.umask(0)
    streams: list[Any] = [sys.stdin, sys.stdout, sys.stderr]
    told = {
        "arguments": sys.argv,
        "name": __name__,
        "spec": __spec__.name if __spec__ else None,
        "main": sys.modules["__main__"].__dict__ is globals(),
        "path": sys.path,
        "folder": str(Path.cwd()),
        "variables": dict(os.environ),
        "umask": umask,
        "parent": os.getppid(),
        "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
        "open": sorted(int(name) for name in os.listdir("/proc/self/fd") if Path(f"/proc/self/fd/{name}").exists()),  # noqa: PTH208
        "owned": owned(),
        "threads": threading.active_count(),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "signals": [str(signal.getsignal(number)).partition(" at ")[0] for number in signal.valid_signals()],
        "streams": [
            (one.encoding, one.errors, one.line_buffering, one.write_through, one.fileno(), one.name) for one in streams
        ],
        "read": sys.stdin.read(),
    }
    print(json.dumps(told))
    print("on the other stream", file=sys.stderr)
    sys.stdout.flush()
    if kind == "exit":
        sys.exit(3)
    if kind == "raise":
        raise ValueError(kind)
    if kind == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "wait":
        signal.pause()


if __name__ == "__main__":
    main()
