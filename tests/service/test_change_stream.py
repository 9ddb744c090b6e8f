"""The feed over HTTP: each change once and in order, across reconnects; and how a stream ends."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import count, islice
from random import Random
from threading import Semaphore
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx
import pytest
import uvicorn
from starlette.concurrency import run_in_threadpool

from cidrgate import HistoryError, RuleManager, StoreBusyError, StoreError
from cidrgate.client import ApiConnectionError, ApiError, Client
from cidrgate.manager.change_feed import ChangeFeed, ChangeReader
from cidrgate.service.api import change_stream
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.threads import Threads
from cidrgate.stores.waits import answer_by
from tests.change_stream import a_held_change, change_something, open_manager
from tests.service.a_server import a_server
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cidrgate.service.settings import Service
    from tests.service.conftest import Api


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The service on a port, in a thread."""
    config = uvicorn.Config(api.app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        api.app.state.service.feed.close()
        server.should_exit = True
        thread.join()


@contextmanager
def stream(url: str, token: str, query: str = "", **headers: str) -> Iterator[httpx.Response]:
    """An open stream."""
    sent = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with httpx.stream("GET", f"{url}/v1/changes/stream{query}", headers=sent, timeout=10) as response:
        yield response


def events(response: httpx.Response) -> Iterator[dict[str, str]]:
    """The events, also those that only have an id, and comments."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            event[name] = value.strip()
        elif event:
            yield event
            event = {}


def changes_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    return (json.loads(event["data"]) for event in events(response) if "data" in event)


def test_a_stream_is_server_sent_events(stored_api: Api) -> None:
    manager, token = stored_api.manager, stored_api.token("admin")
    with served(stored_api) as url, stream(url, token) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-length" not in response.headers
        told = events(response)
        first = next(told)
        last = manager.history(limit=1)[0].sequence
        assert first == {"retry": "1000", "id": str(last)}
        manager.add("acct-1", "8.8.8.0/24", label="line\n".strip() + "☕")
        event = next(told)
        assert (event["event"], event["id"]) == ("change", str(last + 1))
        change = json.loads(event["data"])
        with Client(url, token) as client:
            [same] = client.list_changes(after=last)
        assert (change["sequence"], change["after"][0]["label"]) == (same.sequence, "line☕")
        assert set(change) >= {"sequence", "at", "actor", "account", "action", "before", "after", "details", "origin"}
    # From a sequence on; the header takes precedence, as browsers repeat the address.
    with served_again(stored_api) as url:
        for query, headers in (("?after=0", {}), ("?after=7", {"Last_Event_ID": "0"})):
            with stream(url, token, query, **headers) as response:
                whole = [change.sequence for change in manager.changes()]
                assert [one["sequence"] for one in islice(changes_of(response), len(whole))] == whole


@contextmanager
def served_again(api: Api) -> Iterator[str]:
    api.app.state.service.feed.closed = False
    with served(api) as url:
        yield url


def test_head_does_not_wait_for_events(api: Api) -> None:
    with served(api) as url:
        response = httpx.head(f"{url}/v1/changes/stream", headers={"Authorization": f"Bearer {api.token('admin')}"})
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == "text/event-stream"


def test_what_no_stream_can_answer_is_an_error(api: Api) -> None:
    admin, reader = api.caller("admin"), api.caller("account:acct-1:read")
    path = "/v1/changes/stream"
    reader.problem(403, "GET", path)
    api.at("198.51.100.9").problem(401, "GET", path)
    for wrong in ("x", "-1", "1.5", str(2**60), "٣"):
        sent = api.client.get(
            path, headers=[(b"Authorization", f"Bearer {admin.token}".encode()), (b"Last-Event-ID", wrong.encode())]
        )
        assert sent.status_code == 422, wrong
        assert sent.json()["errors"][0]["header"] == "Last-Event-ID"
    end = api.manager.history(limit=1)[0].sequence
    assert admin.problem(404, "GET", f"{path}?after={end + 1}")["code"] == HistoryError.code
    api.manager.prune_history(0)
    assert admin.problem(404, "GET", f"{path}?after={end - 1}")["code"] == HistoryError.code
    for name, value in (("account", "acct-1"), ("before", "3")):
        problem = admin.problem(422, "GET", f"/v1/changes?order=oldest&{name}={value}")
        assert problem["errors"][0]["parameter"] == name
    admin.problem(422, "GET", "/v1/changes?order=random")
    assert not api.app.state.service.feed._subscribers


def test_there_are_only_so_many_streams(api: Api) -> None:
    token = api.token("admin")
    with patch.object(api.app.state.service.feed, "_most", 1), served(api) as url:
        with stream(url, token) as first:
            told = events(first)
            next(told)
            with stream(url, token) as second:
                assert (second.status_code, second.headers["retry-after"]) == (503, "5")
                second.read()
                assert second.json()["code"] == "too_many_streams"
        eventually(lambda: not api.app.state.service.feed._subscribers)  # the client has left
        with stream(url, token) as third:
            assert third.status_code == 200


def test_streams_that_wait_for_their_place_hold_no_other_request_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that has written to the log and does not end delays new streams, and nothing else."""
    token, arrived, ended = api.token("admin"), count(1), threading.Event()
    run = Threads.run
    latest = 0

    async def counted(threads: Threads, call: Callable[[], Any]) -> Any:
        nonlocal latest
        latest = next(arrived)
        return await run(threads, call)

    monkeypatch.setattr(Threads, "run", counted)
    monkeypatch.setattr(ChangeReader, "begin_at_end", lambda _: ended.wait(30))

    def open_one() -> int:
        with stream(url, token) as response:
            return response.status_code

    with served(api) as url, ThreadPoolExecutor(45) as clients:
        opened = [clients.submit(open_one) for _ in range(45)]
        try:
            eventually(lambda: latest == 45)
            answer = httpx.get(f"{url}/v1/accounts", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        finally:
            ended.set()
        assert answer.status_code == 200
        assert {one.result(30) for one in opened} == {200}


@pytest.mark.parametrize("what", ["rows", "checks of tokens", "pages"])
def test_reading_the_feed_from_a_silent_store_holds_no_other_request_up(
    api: Api, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more streams than FastAPI has threads."""
    token, ended, entered = api.token("admin"), threading.Event(), count(1)
    latest = 0

    def silent(*_: object, **__: object) -> Any:
        nonlocal latest
        latest = next(entered)
        ended.wait(30)
        raise StoreError("the store did not answer")

    if what == "checks of tokens":
        monkeypatch.setattr(change_stream, "HEARTBEAT", 0.01)
        monkeypatch.setattr(Credentials, "is_usable", silent)
    else:
        monkeypatch.setattr(ChangeFeed, "recent", lambda *_: None)
        monkeypatch.setattr(ChangeReader, "read", silent)

    begun = Semaphore(0)

    def ask() -> None:
        if what == "pages":
            begun.release()
            headers = {"Authorization": f"Bearer {token}"}
            httpx.get(f"{url}/v1/changes?order=oldest", headers=headers, timeout=30)
            return
        with stream(url, token, "?after=0") as response:
            next(events(response))
            begun.release()
            ended.wait(30)

    with served(api) as url, ThreadPoolExecutor(45) as clients:
        asked = [clients.submit(ask) for _ in range(45)]
        try:
            for _ in asked:
                assert begun.acquire(timeout=20)
            eventually(lambda: latest >= 8)
            time.sleep(0.5)  # as many as ever will have entered
            answer = httpx.get(f"{url}/v1/accounts", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        finally:
            ended.set()
        assert answer.status_code == 200
        for one in asked:
            one.result(30)


def test_a_request_that_is_cancelled_before_it_has_its_place_takes_none(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server stops, or a time limit of a middleware ends the request."""
    token, entered, ended = api.token("admin"), threading.Event(), threading.Event()
    feed: ChangeFeed = api.app.state.service.feed

    def find_place(_: ChangeReader) -> None:
        entered.set()
        ended.wait(30)

    monkeypatch.setattr(ChangeReader, "begin_at_end", find_place)

    async def cancel() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api.app), base_url="http://test") as client:
            asked = asyncio.create_task(client.get("/v1/changes/stream", headers=headers))
            assert await asyncio.to_thread(entered.wait, 10)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        ended.set()

    asyncio.run(cancel())
    eventually(lambda: not feed._subscribers)
    eventually(lambda: feed._thread is None or not feed._thread.is_alive())


def test_a_service_is_closed_also_if_every_thread_of_requests_waits(api: Api) -> None:
    """The last failed sign-ins would be lost if the server did not wait that long."""
    ended = threading.Event()
    service: Service = api.app.state.service

    async def close() -> None:
        lifespan = api.app.router.lifespan_context(api.app)
        await lifespan.__aenter__()
        waiting = [asyncio.create_task(run_in_threadpool(ended.wait, 30)) for _ in range(45)]
        await asyncio.sleep(0.05)
        try:
            await asyncio.wait_for(lifespan.__aexit__(None, None, None), 10)
        finally:
            ended.set()
            await asyncio.gather(*waiting)

    asyncio.run(close())
    assert service.feed.closed


def test_a_stream_that_finds_no_thread_is_refused_in_time(api: Api) -> None:
    threads = Threads("new streams of changes", 1, 0.05)
    ended = threading.Event()

    async def ask() -> None:
        first = asyncio.create_task(threads.run(lambda: ended.wait(30)))
        await asyncio.sleep(0)
        try:
            with pytest.raises(StoreBusyError, match="too many new streams of changes are waiting"):
                await threads.run(lambda: None)
        finally:
            ended.set()
            await first

    asyncio.run(ask())
    with (
        patch.object(ChangeReader, "_current_writers", lambda _: frozenset({"1"})),
        answer_by(time.monotonic() + 0.05),
        pytest.raises(StoreBusyError, match="does not end"),
    ):
        ChangeReader(api.manager._store).begin_at_end()


def test_a_stream_says_that_a_transaction_holds_changes_back(api: Api) -> None:
    with (
        patch.object(change_stream, "HEARTBEAT", 0.2),
        patch.object(ChangeFeed, "_look_at_hold"),
        served(api) as url,
        stream(url, api.token("admin")) as response,
    ):
        told = events(response)
        next(told)
        assert next(told) == {"": "the connection works"}
        api.app.state.service.feed.held_back = True
        eventually(lambda: "holds back all later changes" in next(told)[""])


def test_a_page_that_a_transaction_holds_back_is_an_error(postgres_url: str, tmp_path: Path) -> None:
    """An empty page would be the end of the log."""
    with RuleManager.open(postgres_url, create=True) as manager, (tmp_path / "log").open("w+") as log:
        token = Credentials(manager._store).create_token("t", [Scope("admin")]).secret
        manager.create_account("a")
        after = manager.history(limit=1)[0].sequence
        with (
            a_server(postgres_url, "--lock-timeout", "1", log=log) as server,
            Client(server.url, token) as client,
            a_held_change(manager, "a"),
            stream(server.url, token, f"?after={after}") as response,
        ):
            assert response.status_code == 200
            client.create_account("b")
            with pytest.raises(ApiError) as refused:
                list(client.changes(after=after))
            assert (refused.value.status, refused.value.code) == (503, "store_busy")
            with pytest.raises(ApiError) as refused:
                client.follow_changes()
            assert (refused.value.status, refused.value.code) == (503, "store_busy")
            held = "a transaction holds the streams of changes back"
            eventually(lambda: held in (tmp_path / "log").read_text())
            lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
            busy = [line for line in lines if line["event"] == "cidrgate.store_busy"]
            assert all("process " in line["message"] for line in busy)
            counted = re.search(r"^cidrgate_store_busy_total (\S+)$", client.metrics(), re.MULTILINE)
            assert counted is not None
            assert float(counted[1]) >= len(busy) >= 3


def test_a_stream_ends_with_its_token(api: Api) -> None:
    made = api.credentials.create_token("t", [Scope("admin")])
    with served(api) as url, stream(url, made.secret) as response:
        seen = changes_of(response)
        api.manager.create_account("before")
        assert next(seen)["account"] == "before"
        api.credentials.revoke_token(made.token.id)
        api.manager.create_account("after")
        assert list(seen) == []
    made = api.credentials.create_token("t", [Scope("admin")])
    with patch.object(change_stream, "HEARTBEAT", 0.2), served_again(api) as url, stream(url, made.secret) as response:
        told = events(response)
        next(told)
        assert next(told) == {"": "the connection works"}
        with patch.object(Credentials, "is_usable", lambda *_: False):  # it has expired
            assert [one for one in told if one != {"": "the connection works"}] == []


@pytest.mark.slow
def test_clients_that_reconnect_see_each_change_once_beside_writers(shared_store_url: str) -> None:
    with open_manager(shared_store_url) as manager:
        token = Credentials(manager._store).create_token("t", [Scope("admin")]).secret
        with a_server(shared_store_url, "--max-entries", "5") as server, Client(server.url, token) as client:
            stop = threading.Event()
            read: dict[str, list[int]] = {"stream": [], "pages": [], "client": []}

            def follow(name: str, rng: Random) -> None:
                seen = read[name]
                while not stop.is_set():
                    after, wanted = seen[-1] if seen else 0, rng.randint(1, 25)
                    if name == "pages":
                        seen += (one.sequence for one in islice(client.changes(after=after), wanted))
                    elif name == "client":
                        with closing(client.follow_changes(after=after)) as changes:
                            seen += (one.sequence for one in islice(changes, wanted))
                    else:
                        with stream(server.url, token, Last_Event_ID=str(after)) as response:
                            seen += (one["sequence"] for one in islice(changes_of(response), wanted))

            def write(seed: int) -> None:
                rng, number = Random(seed), 0
                with open_manager(shared_store_url) as own:
                    while not stop.is_set():
                        number += 1
                        change_something(own, rng, f"w{seed}-{number}")
                        time.sleep(0.002)

            threads = [threading.Thread(target=follow, args=(name, Random(name)), daemon=True) for name in read]
            threads += [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(4)
            stop.set()
            for thread in threads[3:]:
                thread.join(30)
            for number in range(30):  # until each reader has what it waits for
                manager.create_account(f"last-{number}")
            for thread in threads[:3]:
                thread.join(30)
                assert not thread.is_alive()
            whole = [one.sequence for one in manager.changes()]
            for name, seen in read.items():
                assert len(seen) > 5, name
                assert seen == whole[: len(seen)], name


def test_a_stream_ends_when_the_service_stops_and_the_client_continues(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, create=True) as manager:
        token = Credentials(manager._store).create_token("t", [Scope("admin")]).secret
        with a_server(shared_store_url) as server:
            with stream(server.url, token) as response:
                seen = events(response)
                next(seen)
                began = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                assert list(seen) == []
                server.process.wait(10)
                assert time.monotonic() - began < 5
            port = server.url.rpartition(":")[2]
        with Client(server.url, token) as client:
            with pytest.raises(ApiConnectionError):
                client.follow_changes()
            with ExitStack() as stack:
                with a_server(shared_store_url, "--port", port):
                    changes = stack.enter_context(closing(client.follow_changes(after=0)))
                    manager.create_account("a")
                    rows = list(islice(changes, len(manager.changes())))
                rest = threading.Thread(target=lambda: rows.append(next(changes)))
                rest.start()
                with a_server(shared_store_url, "--port", port):
                    manager.create_account("b")
                    rest.join(20)
                assert [one.sequence for one in rows] == [one.sequence for one in manager.changes()]


def test_the_client_follows_from_the_call_on(api: Api) -> None:
    with served(api) as url, Client(url, api.token("admin")) as client:
        with closing(client.follow_changes()) as changes:
            api.manager.create_account("after the call")
            assert next(changes).account == "after the call"
        subscribers = api.app.state.service.feed._subscribers
        eventually(lambda: not subscribers)
        unread = client.follow_changes()
        assert len(subscribers) == 1
        unread.close()
        eventually(lambda: not subscribers)


class Scripted(httpx.SyncByteStream):
    """A body that is sent as far as it goes, and then ends or is cut off."""

    def __init__(self, text: str, *, cut: bool) -> None:
        self.text, self.cut = text, cut

    def __iter__(self) -> Iterator[bytes]:
        yield self.text.encode()
        if self.cut:
            raise httpx.RemoteProtocolError("peer closed connection")


def scripted(text: str, *, status: int = 200, cut: bool = True) -> httpx.Response:
    kind = "text/event-stream" if status == 200 else "text/plain"
    return httpx.Response(status, headers={"Content-Type": kind}, stream=Scripted(text, cut=cut))


def following(*responses: httpx.Response | Exception, seen: list[httpx.Request]) -> Client:
    waiting = list(responses)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        response = waiting.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    return Client("http://x", "t", http=httpx.Client(transport=httpx.MockTransport(answer)))


BROKEN = {
    "no connection": lambda: httpx.ConnectError("refused"),
    "an error that is cut off": lambda: scripted("oops", status=503),
    "an error of something in front": lambda: scripted("oops", status=503, cut=False),
    "a head that is all": lambda: scripted(""),
    "a stream that is cut off before its first id": lambda: scripted("retry: 1000\n"),
    "a stream that ends before its first id": lambda: scripted("retry: 1000\n", cut=False),
}
"""What a stream that never begins is like."""


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_does_not_begin_is_an_error_of_the_call(broken: Callable[[], Any]) -> None:
    for after in (None, 7):
        seen: list[httpx.Request] = []
        response = broken()
        with pytest.raises((ApiConnectionError, ApiError)):
            following(response, seen=seen).follow_changes(after=after)
        assert len(seen) == 1
        assert isinstance(response, Exception) or response.is_closed


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_stream_that_has_begun_continues_after_its_last_id(
    broken: Callable[[], Any], api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.client.change_stream._FIRST_PAUSE", 0.0)
    row = json.dumps(api.caller("admin").ok("GET", "/v1/changes?limit=1")["items"][0])
    change = f"id: 9\nevent: change\ndata: {row}\n\n"
    seen: list[httpx.Request] = []
    client = following(
        scripted("retry: 1000\nid: 7\n\n"), broken(), broken(), scripted(f"id: 7\n\n{change}"), seen=seen
    )
    with closing(client.follow_changes()) as changes:
        assert next(changes).action
    assert [request.url.params.get("after") for request in seen] == [None, "7", "7", "7"]


def test_each_change_is_logged_once_by_the_process_that_makes_it(
    shared_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cidrgate.changes")
    with RuleManager.open(shared_store_url, create=True) as one, RuleManager.open(shared_store_url) as other:
        one.create_account("a")
        one.import_accounts({"b": "8.8.8.0/24", "a": "1.1.1.1/32"}, actor="importer")
        with pytest.raises(KeyError):
            one._with_transaction_hook(lambda *_: {}[0]).add("a", "9.9.9.9/32")  # type: ignore[index]
        Credentials(one._store).create_token("t", [Scope("admin")], actor="ops")
        eventually(lambda: other.allows("b", "8.8.8.8"))
        records = [record for record in caplog.records if record.name == "cidrgate.changes"]
        logged = [record.change for record in records]  # type: ignore[attr-defined]
        assert [row["sequence"] for row in logged] == [change.sequence for change in one.changes()]
        assert [row["action"] for row in logged] == ["create_account", "create_account", "add", "add", "create_token"]
        line = records[3].cidrgate  # type: ignore[attr-defined]
        assert (line["event"], line["actor"], line["origin"]["kind"]) == ("cidrgate.change", "importer", "library")


def test_the_service_logs_changes_as_lines_of_json(tmp_path: Any) -> None:
    database = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(database, create=True) as manager:
        token = Credentials(manager._store).create_token("t", [Scope("admin")]).secret
    log = tmp_path / "log"
    with log.open("w") as written, a_server(database, log=written) as server, Client(server.url, token) as client:
        client.for_person("alice").create_account("a")
    [line] = [json.loads(one) for one in log.read_text().splitlines() if '"cidrgate.change"' in one]
    assert (line["account"], line["action"], line["actor"]) == ("a", "create_account", "t")
    assert (line["origin"]["kind"], line["origin"]["on_behalf_of"], line["origin"]["address"]) == (
        "token",
        "alice",
        "127.0.0.1",
    )
    assert line["request_id"]
