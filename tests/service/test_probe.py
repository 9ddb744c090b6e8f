"""The probe of the store, which `/readyz` asks: what fails once does not fail for ever."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from cidrgate.service.http.threads import StoreProbe
from cidrgate.stores import open_store

if TYPE_CHECKING:
    import pytest


def test_a_thread_that_cannot_be_started_fails_one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def ask() -> list[bool]:
        answers = [await probe.answers()]
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            answers += [await probe.answers(), await probe.answers()]
        return [*answers, await probe.answers()]

    store = open_store("memory://")
    try:
        probe = StoreProbe(store)
        assert asyncio.run(ask()) == [True, False, False, True]
    finally:
        store.close()
