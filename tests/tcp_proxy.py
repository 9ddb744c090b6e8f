"""A TCP proxy on the loopback that can be cut, as a network is: nothing arrives any more, and nobody is told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class TcpProxy:
    """Passes bytes between its own port and another one while it is not cut.

    Args:
        target: Host and port of the server behind it.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._whole = threading.Event()
        self._whole.set()
        self._closed = False
        self._trap: tuple[bytes, tuple[bytes, ...], bool] | None = None
        self.trapped = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        self._whole.set()
        self._listener.close()
        self.drop()

    def cut(self) -> None:
        """Let nothing pass any more; connections stay open on both sides."""
        self._whole.clear()

    def heal(self) -> None:
        """Let everything pass again, what was held back first."""
        self._whole.set()

    def lead_to(self, target: tuple[str, int]) -> None:
        """Lead new connections to another server; the others stay where they are."""
        self._target = target

    def drop_at(self, word: bytes, *, deliver: bool, after: tuple[bytes, ...] = (b"",)) -> None:
        """Break the connection on which a client says a word, once; how often that came about is in `trapped`.

        Args:
            word: The word.
            deliver: Whether the server still gets what the client said, and carries it out; its answer is lost.
            after: One of these the client must have said before on the same connection, since this was called.
        """
        self._trap = word, after, deliver

    def drop(self) -> None:
        """Break every connection."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._sockets.append(client)
        self._whole.wait()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._sockets.append(server)
        threading.Thread(target=self._pass, args=(client, server), kwargs={"from_client": True}, daemon=True).start()
        self._pass(server, client, from_client=False)

    def _pass(self, source: socket.socket, sink: socket.socket, *, from_client: bool) -> None:
        primed: object = None
        with suppress(OSError):
            while data := source.recv(65536):
                self._whole.wait()
                trap = self._trap if from_client else None
                if trap is not None and any(word in data for word in trap[1]):
                    primed = trap
                if trap is not None and trap is primed and trap[0] in data:
                    deliver, self._trap = trap[2], None
                    self.trapped += 1
                    source.shutdown(socket.SHUT_RDWR)  # first, so that no answer comes through
                    if deliver:
                        sink.sendall(data)  # and carries it out before it sees the end
                    break
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
