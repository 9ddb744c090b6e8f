"""A client of an ASGI application that runs in the thread of the test.

Starlette's `TestClient` hands each request, and each part of its response, over to a thread with an event loop: twice
the work of the application itself. Here the thread that asks runs the loop until the response is complete.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

import anyio
import httpx2

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import ASGIApp, Message

__all__ = ["AppClient"]


class AppClient(httpx2.Client):
    """A browser or a program that asks an application.

    Inside of a `with` block each thread that asks has an event loop, until the end; otherwise each request has one.

    Args:
        app: The application. It is told of no start and no end.
        client: The address and port it is asked from.
        base_url: Where it is.
        raise_server_exceptions: Whether an exception that the application lets through is raised here.
        settings: Of `httpx2.Client`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        client: tuple[str, int] = ("testclient", 50_000),
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        follow_redirects: bool = True,
        **settings: Any,
    ) -> None:
        self.app = app
        self._in_thread = _InThread(app, client, raise_server_exceptions)
        super().__init__(transport=self._in_thread, base_url=base_url, follow_redirects=follow_redirects, **settings)

    def __enter__(self) -> Self:
        self._in_thread.keeps = True
        return super().__enter__()


class _InThread(httpx2.BaseTransport):
    def __init__(self, app: ASGIApp, client: tuple[str, int], raises: bool) -> None:
        self._app, self._client, self._raises = app, client, raises
        self._own = threading.local()
        self._loops: list[_Loop] = []
        self.keeps = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url, content = request.url, request.read()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": unquote(url.path),
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": (url.host, url.port or {"http": 80, "https": 443}[url.scheme]),
            "state": {},
        }
        asked = [content]
        start: Message = {}
        body: list[bytes] = []
        complete = asyncio.Event()

        async def receive() -> Message:
            if asked:
                return {"type": "http.request", "body": asked.pop(), "more_body": False}
            await complete.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                assert not start, "the response begins twice"
                start.update(message)
                return
            assert start, "the response has no beginning"
            without_end = (b"content-type", b"text/event-stream") in start["headers"]
            if without_end and complete.is_set():
                return  # nobody reads any more
            assert not complete.is_set(), "the response goes on after its end"
            body.append(message.get("body", b""))
            if not message.get("more_body") or without_end:  # the client leaves a stream after its first part
                complete.set()

        loop = self._kept_loop() if self.keeps else _Loop()
        try:
            loop.run(self._app(scope, receive, send))  # type: ignore[arg-type]
        except Exception:
            if self._raises or not start:
                raise
        finally:
            if not self.keeps:
                loop.close()
        assert complete.is_set(), "the response does not end"
        sent = b"" if request.method == "HEAD" else b"".join(body)
        return httpx2.Response(start["status"], headers=start.get("headers", []), content=sent, request=request)

    def close(self) -> None:
        while self._loops:
            self._loops.pop().close()

    def _kept_loop(self) -> _Loop:
        loop: _Loop | None = getattr(self._own, "loop", None)
        if loop is None or loop.closed:
            loop = self._own.loop = _Loop()
            self._loops.append(loop)
        return loop


class _Loop:
    """An event loop that runs while there is something to do, with one task that begins all others.

    The threads in which applications run their functions belong to that task, and stay from one request to the next.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._asked: asyncio.Queue[tuple[Coroutine[Any, Any, None], asyncio.Future[None]] | None] = asyncio.Queue()
        self._task = self._loop.create_task(self._begin_tasks())

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        done = self._loop.create_future()
        self._asked.put_nowait((coroutine, done))
        self._loop.run_forever()
        done.result()

    def close(self) -> None:
        self._asked.put_nowait(None)
        self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _begin_tasks(self) -> None:
        async with anyio.create_task_group() as tasks:
            while (asked := await self._asked.get()) is not None:
                tasks.start_soon(self._complete, *asked)

    async def _complete(self, coroutine: Coroutine[Any, Any, None], done: asyncio.Future[None]) -> None:
        try:
            await coroutine
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            done.set_exception(error)
        else:
            done.set_result(None)
        finally:
            self._loop.stop()
