"""Every setting and argument that is a duration takes seconds or a `timedelta`, and refuses everything else by name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Gate, Matcher, RuleManager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.settings import Settings
from cidrgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def opened(folder: Path, **settings: Any) -> None:
    RuleManager.open(folder / "lists.db", create=True, **settings).close()


def pruned(value: Any) -> int:
    with RuleManager.open("memory://", load=False) as manager:
        return manager.prune_history(value)


def erased(value: Any) -> int:
    with RuleManager.open("memory://", load=False) as manager:
        return manager.erase(value)


def linked(value: Any) -> None:
    with RuleManager.open("memory://", load=False) as manager:
        Credentials(manager._store).create_link("ops", [Scope("admin")], lifetime=value)


DURATIONS: dict[str, Callable[[Path, Any], object]] = {
    "max_staleness": lambda folder, value: opened(folder, max_staleness=value),
    "refresh_snapshot": lambda folder, value: opened(
        folder, snapshot=folder / "lists.snapshot", refresh_snapshot=value
    ),
    "lock_timeout": lambda folder, value: opened(folder, lock_timeout=value),
    "lock_timeout of a store": lambda folder, value: open_store(
        folder / "lists.db", create=True, lock_timeout=value
    ).close(),
    "older_than": lambda _, value: pruned(value),
    "older_than of an erasure": lambda _, value: erased(value),
    "lifetime": lambda _, value: linked(value),
    "log_every": lambda _, value: Gate(Matcher(), unlisted="deny", log_every=value),
    "log_every of the service": lambda _, value: Settings(log_every=value),
    "session_lifetime": lambda _, value: Settings(session_lifetime=value),
    "answer_lifetime": lambda _, value: Settings(answer_lifetime=value),
}


@pytest.mark.parametrize("setting", DURATIONS)
def test_a_duration_is_seconds_or_a_timedelta(setting: str, tmp_path: Path) -> None:
    use = DURATIONS[setting]
    name = setting.partition(" ")[0]
    for number, right in enumerate((timedelta(minutes=1), 60, 60.5)):
        folder = tmp_path / str(number)
        folder.mkdir()
        use(folder, right)
    for wrong in ("60", "1m", True, b"60", [60]):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds or a timedelta, not"):
            use(tmp_path, wrong)
    for impossible in (-1, float("nan"), float("inf"), timedelta(seconds=-1)):
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds"):
            use(tmp_path, impossible)


@pytest.mark.parametrize("setting", DURATIONS)
def test_a_duration_that_no_time_can_end_after_is_no_overflow(setting: str, tmp_path: Path) -> None:
    name = setting.partition(" ")[0]
    for number, huge in enumerate((timedelta.max, 1e12, 1e300)):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            DURATIONS[setting](folder, huge)
        except ValueError as error:
            assert name in str(error)  # noqa: PT017 - most have no greatest value


def test_an_age_may_be_longer_than_any_time() -> None:
    assert pruned(timedelta.max) == pruned(1e300) == erased(timedelta.max) == erased(1e300) == 0
