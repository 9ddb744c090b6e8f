"""Loggers as they were before a test, also for examples in documents: a level that stays lets other tests log.

Statements and lines of tests that run later in the same process would depend on it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Loggers"]


class _State(NamedTuple):
    level: int
    handlers: list[logging.Handler]
    propagate: bool
    disabled: bool


class Loggers:
    """A plugin of pytest."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Put the loggers of cidrgate back behind each test."""
        before = _states()
        try:
            return (yield)
        finally:
            for name, now in _states().items():
                was = before.get(name, _State(logging.NOTSET, [], propagate=True, disabled=False))
                if now != was:
                    logger = logging.getLogger(name)
                    logger.handlers[:] = was.handlers
                    logger.propagate, logger.disabled = was.propagate, was.disabled
                    logger.setLevel(was.level)  # clears what loggers remember of levels


def _states() -> dict[str, _State]:
    found = [one for name, one in logging.root.manager.loggerDict.items() if name.partition(".")[0] == "cidrgate"]
    return {
        one.name: _State(one.level, [*one.handlers], one.propagate, one.disabled)
        for one in found
        if isinstance(one, logging.Logger)
    }
