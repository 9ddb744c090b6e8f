"""The probe of the store, which `/readyz` asks: what fails once does not fail for ever."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from cidrgate.service.http.threads import StoreProbe
from cidrgate.stores import open_store
from tests.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_a_child_that_is_forked_during_a_probe_probes_again() -> None:
    """The thread that would answer exists in the parent alone."""
    parent, entered, answered = os.getpid(), threading.Event(), threading.Event()

    class Silent:
        """A store that answers nobody but the child."""

        @contextmanager
        def read_autocommit(self) -> Iterator[Any]:
            if os.getpid() == parent:
                entered.set()
                answered.wait(30)
            yield SimpleNamespace(log_start=lambda: 1)

    probe = StoreProbe(cast("Any", Silent()))
    asked = probe._ask()
    assert entered.wait(10)
    try:
        assert in_child(lambda: asyncio.run(probe.answers()), os.fork) == {"made": True}
    finally:
        answered.set()
    assert asked.result(10)
