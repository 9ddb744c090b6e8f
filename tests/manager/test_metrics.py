"""What `/metrics` of both servers tells about lists, snapshots, locks and suppressed denials, through real servers."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import signal
import sqlite3
import struct
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cidrgate import RuleManager
from cidrgate.authorize.workers import WorkerFile, living_workers
from cidrgate.manager.metrics import ListsCollector, ListsState
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from tests.servers.endpoint import database
from tests.servers.requests import ask
from tests.service.a_server import a_server
from tests.test_event_log import endpoint, workers_of
from tests.waiting import eventually
from tests.warm_starts import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.replica.replica import Replica


def metrics_in(text: str) -> dict[str, float]:
    """Every sample without labels, and sums of those with labels, by name."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "le" not in sample.labels:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def of_endpoint(port: int) -> dict[str, float]:
    return metrics_in(ask(port, path="/metrics").body.decode())


def ask_about(port: int, client: str) -> int:
    headers = [("X-Account", "acct-1"), ("X-Forwarded-For", client)]
    return ask(port, headers=headers, path="/v1/authorize").status


def test_the_worst_of_the_workers_that_live_counts(tmp_path: Path) -> None:
    url = database(tmp_path)
    with endpoint(url, tmp_path, "--workers", "2", "--metrics") as (port, process, _):
        eventually(lambda: of_endpoint(port)["cidrgate_followers"] == 2, pause=0.05)
        found = of_endpoint(port)
        assert found["cidrgate_processes"] == 2
        assert 0 <= found["cidrgate_staleness_seconds"] < 30
        assert 0 <= found["cidrgate_snapshot_age_seconds"] < 300
        assert found["cidrgate_store_busy_total"] == 0

        # One that is dead counts no more, however it ended; another one takes its place.
        killed, _ = workers_of(process.pid)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: killed not in workers_of(process.pid), pause=0.05)
        eventually(lambda: of_endpoint(port)["cidrgate_followers"] == 2, pause=0.05)
        assert of_endpoint(port)["cidrgate_staleness_seconds"] < 30


WORKER = """
import sys, time
from pathlib import Path
from cidrgate import RuleManager
from cidrgate.authorize.workers import WorkerFile
manager = RuleManager.open(sys.argv[1], max_staleness=0.03)
file = WorkerFile(Path(sys.argv[2]), manager._replica)
time.sleep(300)
"""


def test_a_worker_that_is_stopped_grows_old_and_a_dead_one_is_forgotten(tmp_path: Path) -> None:
    url, folder_ = database(tmp_path), folder(tmp_path)

    def known() -> list[float]:
        return sorted(state.known_at for state in living_workers(folder_))

    with contextlib.ExitStack() as opened:
        first, second = [
            opened.enter_context(Program([sys.executable, "-c", WORKER, url, str(folder_)])) for _ in range(2)
        ]
        for process in (first, second):
            opened.callback(process.kill)
        eventually(lambda: len(known()) == 2, pause=0.02)
        first.send_signal(signal.SIGSTOP)
        before = known()
        eventually(lambda: known()[1] > before[1] + 0.2, pause=0.02)
        oldest = known()[0]
        eventually(lambda: known()[1] > oldest + 0.4, pause=0.02)
        assert known()[0] == oldest
        first.kill()
        first.wait()
        assert len(known()) == 1
        assert len(list(folder_.iterdir())) == 1
        second.terminate()
        second.wait()
        assert known() == []


@dataclass
class KnownLists:
    """Lists of which a worker's file tells."""

    known_at: float = 7.0
    follows: bool = True
    on_known: Callable[[], object] | None = None


def test_the_file_of_a_worker_has_its_place_on_the_disk_before_it_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that writes to a mapped block for which a full disk has no place is killed by SIGBUS."""
    found: list[bytes] = []
    map_file = mmap.mmap

    def look(file: int, size: int) -> mmap.mmap:
        found.append(os.pread(file, size, 0))
        return map_file(file, size)

    monkeypatch.setattr("cidrgate.authorize.workers.mmap.mmap", look)
    lists = KnownLists()
    WorkerFile(tmp_path, cast("Replica", lists))
    assert [struct.unpack("=dd", one) for one in found] == [(7.0, 1.0)]
    lists.known_at, lists.follows = 8.0, False
    assert lists.on_known is not None
    lists.on_known()
    [path] = tmp_path.iterdir()
    assert struct.unpack("=dd", path.read_bytes()) == (8.0, 0.0)


def test_a_worker_whose_file_cannot_be_opened_is_not_left_out(tmp_path: Path) -> None:
    loop = tmp_path / "7.worker"
    loop.symlink_to(loop)
    assert list(living_workers(tmp_path)) == [ListsState(known_at=-math.inf, follows=False)]


def test_denials_that_were_only_counted_are_summed_over_workers(tmp_path: Path) -> None:
    with endpoint(database(tmp_path), tmp_path, "--workers", "2", "--metrics") as (port, _, _):
        eventually(lambda: of_endpoint(port)["cidrgate_followers"] == 2, pause=0.05)
        for _ in range(20):
            assert ask_about(port, "127.0.0.9") == 403
        assert 18 <= of_endpoint(port)["cidrgate_denials_suppressed_total"] <= 19
    with endpoint(database(folder(tmp_path)), tmp_path, "--metrics", "--log-every", "0") as (port, _, _):
        for _ in range(5):
            assert ask_about(port, "127.0.0.9") == 403
        assert of_endpoint(port)["cidrgate_denials_suppressed_total"] == 0


def folder(parent: Path) -> Path:
    made = parent / "another"
    made.mkdir()
    return made


@pytest.mark.parametrize("workers", ["1", "2"])
def test_lists_of_a_store_that_is_gone_grow_old(workers: str, tmp_path: Path) -> None:
    with endpoint(database(tmp_path), tmp_path, "--workers", workers, "--metrics") as (port, _, _):
        eventually(lambda: of_endpoint(port)["cidrgate_followers"] == int(workers), pause=0.05)
        (tmp_path / "lists.db").rename(tmp_path / "away.db")
        eventually(lambda: of_endpoint(port)["cidrgate_staleness_seconds"] > 6.0, pause=0.1)
        (tmp_path / "away.db").rename(tmp_path / "lists.db")
        eventually(lambda: of_endpoint(port)["cidrgate_staleness_seconds"] < 6.0, pause=0.1)


def test_an_endpoint_alone_tells_of_its_snapshot(tmp_path: Path) -> None:
    snapshot = tmp_path / "lists.snapshot"
    url = database(tmp_path)
    with endpoint(url, tmp_path, "--metrics") as (port, _, _):
        assert "cidrgate_snapshot_age_seconds" not in of_endpoint(port)
        assert of_endpoint(port)["cidrgate_followers"] == of_endpoint(port)["cidrgate_processes"] == 1
    with RuleManager.open(url) as manager:
        manager.save_snapshot(snapshot)
    os.utime(snapshot, (time.time() - 5000, time.time() - 5000))
    Path(f"{snapshot}.lock").mkdir()  # so that nobody writes it anew
    with endpoint(url, tmp_path, "--metrics", "--snapshot", str(snapshot)) as (port, _, _):
        assert 5000 <= of_endpoint(port)["cidrgate_snapshot_age_seconds"] < 5300
        snapshot.unlink()
        assert of_endpoint(port)["cidrgate_snapshot_age_seconds"] == math.inf


def service(url: str, *arguments: str) -> Iterator[httpx.Client]:
    """`cidrgate serve`, and who may do everything with it."""
    with closing(open_store(url)) as store:
        secret = Credentials(store).create_token("tester", [Scope("admin")]).secret
    with (
        a_server(url, *arguments) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client,
    ):
        yield client


def of_service(client: httpx.Client) -> dict[str, float]:
    return metrics_in(client.get("/metrics").text)


def test_the_service_counts_waits_for_locks_and_refusals(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, load=False) as manager:
        manager.create_account("acct-1")
    entries = "/v1/accounts/acct-1/entries?confirm=lock_out"
    for client in service(shared_store_url, "--lock-timeout", "0.5"):
        assert client.post(entries, json={"cidrs": "8.8.8.0/24"}).status_code == 201
        before = of_service(client)
        assert (before["cidrgate_lock_wait_seconds_count"], before["cidrgate_store_busy_total"]) == (1, 0)
        assert before["cidrgate_lock_wait_seconds_sum"] < 0.5
        with locked(shared_store_url):
            assert client.post(entries, json={"cidrs": "9.9.9.0/24"}).json()["code"] == "store_busy"
        after = of_service(client)
        assert (after["cidrgate_lock_wait_seconds_count"], after["cidrgate_store_busy_total"]) == (2, 1)
        assert after["cidrgate_lock_wait_seconds_sum"] >= before["cidrgate_lock_wait_seconds_sum"] + 0.4
        assert after["cidrgate_followers"] == after["cidrgate_processes"] == 1
        assert 0 <= after["cidrgate_staleness_seconds"] < 15
        assert "cidrgate_snapshot_age_seconds" not in after


class locked:  # noqa: N801 - reads as a context
    """A store whose lists somebody else has locked."""

    def __init__(self, url: str) -> None:
        if url.startswith("sqlite"):
            self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            self._connection.execute("BEGIN IMMEDIATE")
        else:
            self._connection = psycopg.connect(url)  # type: ignore[assignment]
            self._connection.execute("SELECT 1 FROM cidrgate.accounts FOR UPDATE")

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        self._connection.rollback()
        self._connection.close()


def test_the_service_counts_denials_that_it_only_counted(tmp_path: Path) -> None:
    url = database(tmp_path)
    arguments = ["--authorize", "--unlisted", "allow", "--trusted-proxy", "127.0.0.1/32"]
    for every, suppressed in (("60", 9), ("0", 0)):
        for client in service(url, *arguments, "--log-every", every):
            for _ in range(10):
                headers = {"X-Account": "acct-1", "X-Forwarded-For": "127.0.0.9"}
                assert client.get("/v1/authorize", headers=headers).status_code == 403
            assert of_service(client)["cidrgate_denials_suppressed_total"] == suppressed


def test_a_worker_that_has_only_begun_its_counts_hides_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(folder(tmp_path)))
    with endpoint(database(tmp_path), tmp_path, "--workers", "2", "--metrics") as (port, _, _):
        eventually(lambda: of_endpoint(port)["cidrgate_followers"] == 2, pause=0.05)
        (counts,) = (tmp_path / "another").glob("cidrgate-*/metrics")
        for kind in ("counter", "histogram"):
            # As a worker makes it; its size, its header and its counts come after.
            (counts / f"{kind}_999999999.db").touch()
        assert ask_about(port, "127.0.0.9") == 403
        assert of_endpoint(port)["cidrgate_decisions_total"] == 1


def test_no_label_holds_what_a_client_chose(tmp_path: Path) -> None:
    with endpoint(database(tmp_path), tmp_path, "--workers", "2", "--metrics") as (port, _, _):
        for number in range(50):
            headers = [("X-Account", f"acct-{number}"), ("X-Forwarded-For", f"9.9.9.{number}")]
            ask(port, headers=headers, path="/v1/authorize")
        text = ask(port, path="/metrics").body.decode()
    labels = {name for family in text_string_to_metric_families(text) for one in family.samples for name in one.labels}
    assert labels <= {"result", "reason", "le", "version", "mode"}
    assert len(text.splitlines()) < 200


def test_what_is_not_known_is_infinitely_old() -> None:
    with RuleManager.open("memory://", load=False) as manager:
        samples = {one.name: one.samples for one in ListsCollector(manager).collect()}
    assert samples["cidrgate_staleness_seconds"][0].value == math.inf
    assert samples["cidrgate_followers"][0].value == 0
    assert "cidrgate_snapshot_age_seconds" not in samples
    assert not {"cidrgate_accounts", "cidrgate_enforced_accounts"} & set(samples)


def test_one_of_several_processes_is_missed() -> None:
    """Whether it does not follow, or does not run and has no state."""
    follows, idle = ListsState(known_at=7.0, follows=True), ListsState(known_at=7.0, follows=False)
    with RuleManager.open("memory://") as manager:
        for states, missing in (([follows] * 4, 0), ([follows] * 3 + [idle], 1), ([follows] * 3, 1), ([], 4)):
            collector = ListsCollector(manager, lambda states=states: states, processes=4)  # type: ignore[misc]
            found = {one.name: one.samples[0].value for one in collector.collect()}
            assert found["cidrgate_processes"] - found["cidrgate_followers"] == missing


def test_accounts_are_counted_as_they_are_created_enforced_and_emptied() -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        collector = ListsCollector(manager)

        def counted() -> tuple[float, float]:
            samples = {one.name: one.samples for one in collector.collect()}
            return samples["cidrgate_accounts"][0].value, samples["cidrgate_enforced_accounts"][0].value

        assert counted() == (0, 0)
        manager.create_account("acct-1")
        manager.create_account("acct-2")
        manager.create_account("sub-1", parent="acct-1")
        assert counted() == (3, 0)
        manager.add("acct-1", "8.8.8.0/24")
        assert counted() == (3, 2)
        manager.replace("acct-1", [], allow_empty=True)
        assert counted() == (3, 0)
