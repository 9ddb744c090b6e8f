"""The clock of this machine as modules read it, which a test can set: the one that nobody sets goes on."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import pytest

__all__ = ["MachineClock"]


class MachineClock:
    """A clock that is `ahead` of the time, or behind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, modules: Iterable[ModuleType]) -> None:
        clock = self
        self.ahead = timedelta()

        class Set(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + clock.ahead

        for module in modules:
            monkeypatch.setattr(module, "datetime", Set)
