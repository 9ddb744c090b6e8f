"""Asking an ASGI application without a server."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["messages_of"]


def messages_of(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """What an app sends when it has received this."""
    waiting = list(received)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(app(scope, receive, send))
    return sent
