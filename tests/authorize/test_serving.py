"""`cidrgate authorize` as a process: workers, a Unix socket, its options, and what it refuses."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import Policy, RuleManager
from cidrgate.authorize.operation import Operation
from tests.authorize.asgi import messages_of
from tests.command_line import typed
from tests.servers.endpoint import authorize_endpoint, database
from tests.servers.requests import Answer, ask
from tests.servers.running import free_port, running
from tests.waiting import eventually
from tests.warm_starts import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTED = "127.0.0.2"
STRANGER = "127.0.0.4"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return database(tmp_path_factory.mktemp("lists"))


def asked(
    port: int, account: str | None, client: str, source: str = "127.0.0.1", path: str = "/v1/authorize"
) -> Answer:
    named = [] if account is None else [("X-Account", account)]
    return ask(port, source, [*named, ("X-Forwarded-For", client)], path=path)


def counted(port: int, result: str, reason: str) -> float:
    """How often there was such a decision, says `/metrics`."""
    name = f'cidrgate_decisions_total{{reason="{reason}",result="{result}"}} '
    text = ask(port, path="/metrics").body.decode()
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


def test_workers_answer_alike_and_follow_the_store(tmp_path: Path, url: str) -> None:
    with authorize_endpoint(tmp_path, url, "--workers", "2", "--metrics") as port:
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        before = counted(port, "allowed", "matched")
        for _ in range(8):
            assert asked(port, "sub-1", LISTED).status == 200
            assert asked(port, "acct-1", STRANGER).status == 403
            assert asked(port, "acct-1", LISTED, source=STRANGER).status == 403
            assert asked(port, None, LISTED).headers["x-cidrgate-reason"] == "no_account"
        assert counted(port, "allowed", "matched") == before + 8
        assert counted(port, "denied", "not_listed") == 16
        with RuleManager.open(url, policy=Policy(allow_special=True), load=False) as manager:
            manager.add("acct-1", f"{STRANGER}/32")
            eventually(lambda: all(asked(port, "acct-1", STRANGER).status == 200 for _ in range(8)))
            manager.remove("acct-1", f"{STRANGER}/32")
            eventually(lambda: all(asked(port, "acct-1", STRANGER).status == 403 for _ in range(8)))


def test_options_say_whom_to_believe_and_what_to_do_in_doubt(tmp_path: Path, url: str) -> None:
    options = ["--account-parameter", "account", "--client-header", "X-Real-IP", "--unlisted", "deny", "--log", "all"]
    with authorize_endpoint(tmp_path, url, *options) as port:
        real = [("X-Real-IP", LISTED), ("X-Account", "empty"), ("X-Forwarded-For", STRANGER)]
        assert ask(port, headers=real, path="/v1/authorize?account=acct-1").status == 200
        assert ask(port, headers=real, path="/v1/authorize?account=acct-2").status == 403
        assert ask(port, headers=real, path="/v1/authorize?account=empty").status == 403
        assert ask(port, headers=[*real, ("X-Real-IP", LISTED)], path="/v1/authorize?account=acct-1").status == 403
        assert ask(port, headers=real, path="/v1/authorize/?account=acct-1").status == 404
        [log] = tmp_path.glob(f"*-{port}.log")
        decisions = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        assert [(one["result"], one["account"], one["source"]) for one in decisions] == [
            ("allowed", "acct-1", "x-real-ip"),
            ("denied", "acct-2", "x-real-ip"),
            ("denied", "empty", "x-real-ip"),
            ("denied", "acct-1", "x-real-ip"),
        ]


def test_options_say_which_headers_of_the_client_are_unclear(tmp_path: Path, url: str) -> None:
    allowed = [("X-Account", "acct-1"), ("X-Forwarded-For", LISTED)]
    key, token, alias = ("X-Api-Key", "a"), ("X-Token", "a"), ("X_Account", "acct-2")
    for options, unclear in (
        ((), {"key", "alias"}),
        (("--credential-header", "X-Token"), {"token", "alias"}),
        (("--credential-header", "x-token", "--credential-header", "x-api-key"), {"key", "token", "alias"}),
        (("--allow-header-aliases",), {"key"}),
    ):
        with authorize_endpoint(tmp_path, url, *options) as port:
            for name, headers in {"key": [key, key], "token": [token, token], "alias": [alias]}.items():
                answer = ask(port, headers=[*allowed, *headers], path="/v1/authorize")
                expected = (403, "unclear_account") if name in unclear else (200, "matched")
                assert (answer.status, answer.headers["x-cidrgate-reason"]) == expected, (options, name)


def test_it_says_that_it_is_well(tmp_path: Path, url: str) -> None:
    with authorize_endpoint(tmp_path, url) as port:
        assert ask(port, path="/healthz").record == {"status": "ok"}
        ready = ask(port, path="/readyz")
        assert (ready.status, ready.record["status"]) == (200, "ready")
        assert ask(port, path="/metrics").status == 404
        assert ask(port, path="/").status == 404
        assert ask(port, path="/healthz", method="HEAD").body == b""


def test_lists_too_old_are_not_ready() -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        told = Operation(manager._replica, ready_within=1e-9, metrics=None)
        start, body = messages_of(told, {"type": "http", "path": "/readyz", "method": "GET"})
        assert (start["status"], json.loads(body["body"])["status"]) == (503, "stale")


@pytest.mark.parametrize("ready_within", [None, 60.0])
def test_lists_of_an_unknown_age_are_not_ready(ready_within: float | None) -> None:
    """They may be wrong, whatever age is allowed; and JSON has no infinity."""
    with RuleManager.open("memory://", follow=False) as manager:
        manager._replica.published._record_known_at(-math.inf)
        operation = Operation(manager._replica, ready_within=ready_within, metrics=None)
        start, body = messages_of(operation, {"type": "http", "path": "/readyz", "method": "GET"})
        assert (start["status"], body["body"]) == (503, b'{"status": "stale", "staleness": null}')


def test_it_can_only_report(tmp_path: Path, url: str) -> None:
    with authorize_endpoint(tmp_path, url, "--report-only", "--no-require-account") as port:
        answer = asked(port, "acct-1", STRANGER)
        assert (answer.status, answer.headers["x-cidrgate-reason"]) == (200, "not_listed")
        assert asked(port, None, STRANGER).status == 200
        [log] = tmp_path.glob(f"*-{port}.log")
        assert '"result": "would_deny"' in log.read_text()


@contextmanager
def on_a_unix_socket(folder: Path, url: str, *options: str) -> Iterator[Path]:
    path = folder / "authorize.sock"
    with running(
        [sys.executable, "-m", "cidrgate", "-d", url, "authorize", "--unlisted", "allow", "--uds", str(path), *options],
        folder,
        path,
    ):
        yield path


def asked_on(path: Path, account: str, client: str) -> bytes:
    """The status line of an answer on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(
            f"GET /v1/authorize HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            f"X-Account: {account}\r\nX-Forwarded-For: {client}\r\n\r\n".encode()
        )
        return connection.makefile("rb").readline()


def test_a_proxy_on_the_host_may_ask_on_a_unix_socket(tmp_path: Path, url: str) -> None:
    with on_a_unix_socket(tmp_path, url) as path:
        assert b" 200 " in asked_on(path, "acct-1", LISTED)
        assert b" 403 " in asked_on(path, "acct-1", STRANGER)
    with on_a_unix_socket(tmp_path, url, "--trusted-proxy", "10.0.0.0/8") as path:
        assert b" 403 " in asked_on(path, "acct-1", LISTED)


def refused(*arguments: str, status: int = 2) -> str:
    """What the command says when it refuses to start."""
    result = typed(arguments)
    assert result.exit_code == status, result.output
    return result.stderr


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """An empty one would let everybody pass."""
    missing = tmp_path / "missing.db"
    assert "is not there" in refused("-d", str(missing), "authorize", "--unlisted", "allow", status=6)
    assert not missing.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trusted-proxy", "10.0.0.1"], "10.0.0.1/32"),
        (["--trusted-proxy", "10.0.0.0/8", "--trusted-hops", "1"], "not both"),
        (["--trusted-hops", "1", "--client-header", "X-Real-IP"], "no list of hops"),
        (["--trusted-proxy", "0.0.0.0/0"], "--trust-everybody"),
        (["--trusted-proxy", "::/1", "--trusted-proxy", "8000::/1"], "--trust-everybody"),
        (["--trust-everybody", "--trusted-hops", "1"], "trusted_proxies"),
        (["--trusted-hops", "100000"], "below 100"),
        (["--client-header", "X-Real-IP:"], "X-Real-IP:"),
        (["--client-header", ""], "header"),
        (["--account-header", "x account"], "x account"),
        (["--account-header", ""], "header"),
        (["--account-parameter", ""], "parameter"),
        (["--credential-header", "X-Token:"], "X-Token:"),
        (["--on-stale", "deny"], "--max-staleness"),
        (["--max-staleness", "nan"], "not a length of time"),
        (["--ready-within", "0"], "above 0"),
        (["--log", "some"], "denials"),
        (["--port", "-1"], "--port"),
        (["--snapshot", "-"], "--snapshot"),
    ],
)
def test_options_that_do_not_fit_are_refused(url: str, options: list[str], said: str) -> None:
    assert said in refused("-d", url, "authorize", "--unlisted", "allow", *options)


def test_a_port_that_is_taken_ends_it(tmp_path: Path, url: str) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        for workers in ("1", "2"):
            command = command_of(url, port, "--workers", workers)
            done = output_of(command, cwd=tmp_path, text=True, timeout=60)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in done.stderr


def test_what_happens_without_a_list_has_to_be_said(url: str) -> None:
    said = refused("-d", url, "authorize")
    for unlisted in ("allow", "deny_unknown", "deny"):
        assert f"--unlisted {unlisted}" in said
    assert "'open' is not one of" in refused("-d", url, "authorize", "--unlisted", "open")
    assert "--unlisted allow" in refused("-d", url, "serve", "--authorize", "--port", "0")
    assert "/v1/authorize" in refused("-d", url, "serve", "--unlisted", "allow", "--port", "0")


def is_listened_on(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def command_of(url: str, port: int, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "cidrgate",
        "-d",
        url,
        "authorize",
        "--unlisted",
        "allow",
        "--port",
        str(port),
        *options,
    ]


@pytest.mark.fault("the process that supervises `cidrgate authorize --workers` is killed")
def test_workers_end_with_a_supervisor_that_was_killed(tmp_path: Path, url: str) -> None:
    """Nobody would end them, and they would keep the port and answer from lists that nobody knows of."""
    port, folder = free_port(), tmp_path / "temporary"
    folder.mkdir()
    own = {"TMPDIR": str(folder)}
    with running(command_of(url, port, "--workers", "2"), tmp_path, port, own) as supervisor:
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        supervisor.kill()
        supervisor.wait()
        eventually(lambda: not is_listened_on(port))
    assert len(list(folder.iterdir())) == 1
    with running(command_of(url, port, "--workers", "2"), tmp_path, port, own):
        assert asked(port, "acct-1", STRANGER).status == 403
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.fault("the terminal of `serve` or `authorize` is closed (SIGHUP)")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_ends_when_it_is_told_to_or_its_terminal_is_closed(
    tmp_path: Path, url: str, workers: str, number: signal.Signals
) -> None:
    port = free_port()
    with running(command_of(url, port, "--workers", workers), tmp_path, port) as process:
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        process.send_signal(number)
        assert process.wait(60) == 0
        eventually(lambda: not is_listened_on(port))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_answers_no_request_with_an_error_of_the_server(tmp_path: Path, url: str, workers: str) -> None:
    """Not even those of a client that does not read."""
    port = free_port()
    errors = tmp_path / "errors"
    with running(command_of(url, port, "--workers", workers, "--metrics"), tmp_path, port, errors=errors) as process:
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        with socket.create_connection(("127.0.0.1", port), timeout=1) as unread:
            with suppress(TimeoutError):
                unread.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4_000)
            process.terminate()
            assert process.wait(60) == 0
            received = b""
            unread.settimeout(60)
            with suppress(ConnectionError):
                while part := unread.recv(65_536):
                    received += part
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 500" not in received
    assert "Cancel" not in errors.read_text()


@pytest.mark.fault("the terminal of `serve` or `authorize` is closed (SIGHUP)")
def test_it_outlives_a_terminal_if_it_shall(tmp_path: Path, url: str) -> None:
    port = free_port()
    for workers in ("1", "2"):
        with running(["nohup", *command_of(url, port, "--workers", workers)], tmp_path, port) as process:
            eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
            process.send_signal(signal.SIGHUP)
            assert asked(port, "acct-1", LISTED).status == 200
            process.terminate()
            assert process.wait(60) == 0


def changed(url: str, change: str, port: int, *options: str) -> list[str]:
    """The command, in a process in which something is different."""
    arguments = command_of(url, port, *options)[3:]
    return [sys.executable, "-c", f"{change}\nfrom cidrgate.cli import main\nmain()", *arguments]


@pytest.mark.parametrize("hangs", [False, True])
def test_a_worker_without_supervisor_has_the_time_of_its_last_work(tmp_path: Path, hangs: bool) -> None:
    """Otherwise its last matches and traffic would be lost without a sign."""
    done = tmp_path / "done"
    script = (
        "import multiprocessing, os, signal, sys, time\n"
        "from cidrgate.authorize import process\n"
        "from cidrgate.event_log import log_to_stderr\n"
        "ready, done, hangs = multiprocessing.Event(), sys.argv[1], sys.argv[2] == 'True'\n"
        "process.GRACE, process.LAST_WORK = -0.9, 0.1 if hangs else 60.0\n"
        "def work():\n"
        "    log_to_stderr()\n"
        "    told = []\n"  # no lock, which the thread that is interrupted may hold
        "    signal.signal(signal.SIGTERM, lambda *_: told.append(1))\n"
        "    process.end_with_supervisor()\n"
        "    ready.set()\n"
        "    while not told:\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(60 if hangs else 1.5)\n"
        "    open(done, 'w').close()\n"
        "    os._exit(0)\n"
        "multiprocessing.get_context('fork').Process(target=work).start()\n"
        "ready.wait()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(done), str(hangs)]
    told = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=50, check=False).stderr
    assert done.exists() is not hangs
    assert ('"cidrgate.parent_lost"' in told, '"cidrgate.worker_failed"' in told) == (True, hangs)


def workers_of(supervisor: int) -> list[int]:
    """The processes of the workers."""
    found = []
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(int(child))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.fault("a worker of `authorize --workers` is stopped (SIGSTOP)")
def test_a_stopped_worker_does_not_keep_its_supervisor(tmp_path: Path, url: str) -> None:
    port = free_port()
    change = (
        "from cidrgate.authorize import process\n"
        "process.LAST_WORK = 1.0\n"
        # Otherwise the supervisor may notice that the worker does not answer before it is told to end.
        "process.Process.is_alive = lambda worker, timeout=5: worker.process.is_alive()"
    )
    command = changed(url, change, port, "--workers", "2")
    with running(command, tmp_path, port) as supervisor:
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        os.kill(workers_of(supervisor.pid)[0], signal.SIGSTOP)
        supervisor.terminate()
        assert supervisor.wait(60) == 0
        eventually(lambda: not is_listened_on(port))
    [log] = tmp_path.glob(f"*-{port}.log")
    events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]
    assert events == ["cidrgate.worker_failed"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_supervisor_that_cannot_start_a_worker_ends_the_others(tmp_path: Path, url: str) -> None:
    """Python would wait for them at its end, and they would answer without a supervisor."""
    change = (
        "import os\n"
        "from uvicorn.supervisors.multiprocess import Process\n"
        "started, start = [], Process.start\n"
        "def start_two(process):\n"
        "    if len(started) == 1: raise OSError(11, os.strerror(11))\n"
        "    started.append(process)\n"
        "    start(process)\n"
        "Process.start = start_two"
    )
    done = output_of(changed(url, change, free_port(), "--workers", "2"), cwd=tmp_path, text=True, timeout=60)
    assert done.returncode != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_while_it_starts_leaves_no_file_behind(
    tmp_path: Path, url: str, workers: str, number: signal.Signals
) -> None:
    """The copy of the lists that the workers share is gone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    change = (
        "import os\n"
        "from cidrgate.authorize import server\n"
        "make = server.url_of if WORKERS == 1 else server.RuleManager.save_snapshot\n"
        "def end(*arguments):\n"
        f"    if WORKERS == 2: make(*arguments)\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "if WORKERS == 1: server.url_of = end\n"
        "else: server.RuleManager.save_snapshot = end"
    ).replace("WORKERS", workers)
    command = changed(url, change, free_port(), "--workers", workers)
    done = output_of(command, cwd=tmp_path, text=True, timeout=60, env={**os.environ, "TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.fault("the store has more expiry times than a snapshot can have")
def test_workers_start_without_a_snapshot_that_cannot_be_written(tmp_path: Path, url: str) -> None:
    change = "from cidrgate.expiry import snapshot_notes\nsnapshot_notes._MOST_NOTE = 1"
    port = free_port()
    with running(changed(url, change, port, "--workers", "2"), tmp_path, port):
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        assert asked(port, "acct-1", STRANGER).status == 403


@pytest.mark.fault(
    "the snapshot cannot be written or locked (a folder of another user, a file system without locks, no space)"
)
def test_workers_start_where_no_snapshot_can_be_written(tmp_path: Path, url: str) -> None:
    missing = str(tmp_path / "missing" / "lists.snapshot")
    with authorize_endpoint(tmp_path, url, "--workers", "2", "--snapshot", missing) as port:
        eventually(lambda: asked(port, "acct-1", LISTED).status == 200)
        assert asked(port, "acct-1", STRANGER).status == 403
