"""The soak itself: for some seconds, so that it works when somebody wants it for hours, and what it calls growth."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.soak import BOUNDS, Held, growth, run, verdict

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, of Linux")
def test_a_service_under_mixed_load_answers_as_it_must(
    shared_store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {200, 201, 303, 401, 403, 422}
    for seconds in (4, 12, 36, 108):  # on a busy machine few requests are answered in a short time
        soak, looks = run(shared_store_url, minutes=seconds / 60, rate=60)
        assert soak.wrong == []
        assert max(soak.statuses) < 500
        assert len(looks) > 5
        missing -= set(soak.statuses)
        if not missing:
            break
    assert not missing
    assert "rss MiB" in capsys.readouterr().out
    # Pools still fill in so short a time: growth says nothing.
    passed, line = verdict(soak, dict.fromkeys(BOUNDS, 0.0))
    assert passed, line


FIGURES: dict[str, tuple[Callable[[float], float], float]] = {
    "steady": (lambda _: 5.0, 0.0),
    "filled during the warm-up": (lambda at: min(at, 20.0), 0.0),
    "a peak": (lambda at: 100.0 if 60 < at < 65 else 5.0, 0.0),
    "a leak": (lambda at: at, 50.0),
    "a leak that began late": (lambda at: 0.0 if at < 80 else 30.0, 30.0),
}


@pytest.mark.parametrize("name", FIGURES)
def test_growth_is_what_comes_after_the_warm_up_and_stays(name: str) -> None:
    figure, expected = FIGURES[name]
    looks = [Held(at, *[int(figure(at))] * 4) for at in range(101)]
    assert growth(looks)["descriptors"] == pytest.approx(expected, abs=1)
