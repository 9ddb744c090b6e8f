"""Programs that start as forks of a process which has their modules loaded, for a tenth of the processor time.

`python -m cidrgate serve` loads modules for a second before it does anything. A test that is about what it does then
starts it here: `Program` is `subprocess.Popen`, `output_of` is `subprocess.run`, both for `python -c CODE` too, and
`programs` has a `cidrgate` for shells. What they start is a process of its own with arguments, variables, a folder,
files and signals as if it had been started by itself: `tests/test_warm_starts.py` compares the two.

Tests of the start itself use `subprocess`. Everything does under `make test-long`, where lines are counted, and where
there is no Linux.
"""

from __future__ import annotations

import atexit
import ctypes
import marshal
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Program", "output_of", "possible", "programs"]

PROGRAMS = {
    *("aiohttp.web", "cidrgate", "granian", "gunicorn", "hypercorn", "uvicorn", "waitress"),
    *("tests.change_stream", "tests.crash_server", "tests.forked_children", "tests.killed_writer"),
    *("tests.prefork_workers", "tests.race_writers", "tests.started", "tests.stores.open_at_once"),
}
"""What is started so, as `python -m PROGRAM`."""

_OF_PYTHON = ("PYTHON", "LANG", "LC_")
"""How the names of variables begin that the interpreter reads when it starts."""
_READ_AGAIN = {"PYTHONPATH", "PYTHONUNBUFFERED"}
"""Those of them that the server reads for each program."""

_PR_SET_CHILD_SUBREAPER = 36

_FOR_SHELLS = r"""#!{python} -IS
import _signal, _socket, marshal, posix, sys
umask = posix.umask(0)
posix.umask(umask)
variables = {{name.decode(): value.decode("utf-8", "surrogateescape") for name, value in posix.environ.items()}}
with_status = True
asked = ("cidrgate", sys.argv[1:], posix.getcwd(), variables, umask, False, with_status)
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
server.connect({path!r})
descriptors = b"".join(one.to_bytes(4, sys.byteorder) for one in (0, 1, 2))
server.sendmsg([marshal.dumps(asked)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
program = marshal.loads(server.recv(100))
for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
    _signal.signal(number, lambda number, frame: posix.kill(program, number))
status = marshal.loads(server.recv(100))
if status < 0:
    _signal.signal(-status, _signal.SIG_DFL)
    posix.kill(posix.getpid(), -status)
posix._exit(status)
"""


def possible() -> bool:
    """Whether programs start so here."""
    counted = any(name.startswith("COVERAGE_") for name in os.environ)
    return not (sys.platform != "linux" or counted or {"CIDRGATE_LONG", "PYTHONPATH"} & os.environ.keys())


class Program(subprocess.Popen[Any]):
    """`subprocess.Popen` for `[sys.executable, "-m", PROGRAM, ...]` and `[sys.executable, "-c", CODE, ...]`.

    For other commands it is no different.
    """

    def __init__(self, args: list[str], **arguments: Any) -> None:
        self._new_session = bool(arguments.get("start_new_session"))
        known = {"cwd", "encoding", "env", "errors", "start_new_session", "stderr", "stdin", "stdout", "text"}
        self._forks = arguments.keys() <= known and _can_fork(args, arguments.get("env"))
        super().__init__(args, **arguments)

    def _execute_child(self, *arguments: Any) -> None:
        if not self._forks:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        command, folder, environment, pipes = arguments[0], arguments[5], arguments[6], arguments[10:16]
        stdin, _, _, stdout, _, stderr = pipes
        asked = (
            *_name_and_arguments(command),
            str(Path.cwd() if folder is None else Path(folder).absolute()),
            dict(os.environ if environment is None else environment),
            _umask(),
            self._new_session,
            False,
        )
        descriptors = [number if one == -1 else one for number, one in enumerate((stdin, stdout, stderr))]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.connect(str(_server() / "socket"))
            _adopt_orphans(so=True)
            try:
                socket.send_fds(server, [marshal.dumps(asked)], descriptors)
                self.pid = marshal.loads(server.recv(100))
                _wait_until_child(self.pid)
            finally:
                _adopt_orphans(so=False)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def output_of(
    command: list[str], given: Any = None, timeout: float | None = None, **arguments: Any
) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` with a `Program`: what it says to what it is given, and how it ends."""
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        piped["stdin"] = subprocess.PIPE
    with Program(command, **(piped | arguments)) as program:
        try:
            out, err = program.communicate(given, timeout)
        except BaseException:
            program.kill()
            raise
    return subprocess.CompletedProcess(command, program.returncode, out, err)


def programs() -> str:
    """Folders for `PATH`: the programs of this environment, but before them the `cidrgate` that starts as a fork."""
    own = str(Path(sys.executable).parent)
    return f"{_server()}:{own}" if possible() else own


def _can_fork(command: list[str], environment: Mapping[str, str] | None) -> bool:
    if not possible() or _name_and_arguments(command)[0] not in {"-c", *PROGRAMS}:
        return False
    return _of_python(os.environ if environment is None else environment) == _of_python(os.environ)


def _name_and_arguments(command: list[str]) -> tuple[str | None, list[str]]:
    """What Python runs: a module and its arguments, or `-c` and the code with its arguments."""
    if command[:2] == [sys.executable, "-c"]:
        return "-c", command[2:]
    return (command[2], command[3:]) if command[:2] == [sys.executable, "-m"] else (None, [])


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name.startswith(_OF_PYTHON) and name not in _READ_AGAIN
    }


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _adopt_orphans(*, so: bool) -> None:
    """Whether a process becomes a child of this one when its parent, which this one has started, ends."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(so), 0, 0, 0):
        raise OSError("prctl: this process cannot become the parent of others")


def _wait_until_child(pid: int) -> None:
    while True:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return
        time.sleep(0.0005)


@cache
def _server() -> Path:
    """The folder of a server, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="cidrgate-warm-"))
    shell = folder / "cidrgate"
    shell.write_text(_FOR_SHELLS.format(python=sys.executable, path=str(folder / "socket")))
    shell.chmod(0o755)
    command = [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"ready\n"
    # It ends when its standard input does; a process of pytest-xdist has no normal exit.
    atexit.register(_end, process)
    return folder


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(10)
