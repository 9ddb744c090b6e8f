"""The end of the lifespan of an ASGI application: nothing that was counted is lost with the process.

After a graceful stop uvicorn raises the signal again with its default action, which ends the process at once: Python
calls no functions of `atexit`. So what is counted in memory is written before the server learns that the lifespan has
ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cidrgate.gate.gate import Gate
    from cidrgate.middleware._asgi_requests import App, Message, Receive, Scope, Send

__all__ = ["answer_lifespan", "pass_lifespan"]


async def pass_lifespan(app: App, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
    """Let the application answer its lifespan, and flush the gate before the server learns of the end.

    An exception is passed on unchanged: by it a server knows that the application has no lifespan.
    """
    runs = False

    async def sent(message: Message) -> None:
        nonlocal runs
        if message["type"] == "lifespan.startup.complete":
            runs = True
        elif runs and message["type"].startswith("lifespan.shutdown."):
            runs = False
            gate._flush()
        await send(message)

    try:
        await app(scope, receive, sent)
    finally:
        if runs:
            gate._flush()


async def answer_lifespan(gates: Iterable[Gate], receive: Receive, send: Send) -> None:
    """Answer the lifespan for an application that has none, and flush the gates that there are at its end."""
    while True:
        message = await receive()
        ended = message["type"] == "lifespan.shutdown"
        if ended:
            for gate in gates:
                gate._flush()
        await send({"type": f"{message['type']}.complete"})
        if ended:
            return
