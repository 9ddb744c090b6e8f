"""The report of a replay in a browser: what it shows, how it zooms, and that what clients wrote stays text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate.foresight.evaluation import Unknown
from cidrgate.replay import html_report
from cidrgate.replay.decisions import VERDICTS
from cidrgate.replay.reading import BadLine
from cidrgate.replay.replaying import Period, ReplayReport, VerdictChange
from tests.console.a_console import a_browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

START = datetime(2026, 10, 10, tzinfo=UTC)
EVIL = "</script><script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


def a_report() -> ReplayReport:
    counts = [{"allowed": 1_000 - hour, "newly_denied": hour % 7} for hour in range(48)]
    periods = [
        Period(start=START + timedelta(hours=hour), verdicts=dict.fromkeys(VERDICTS, 0) | one)
        for hour, one in enumerate(counts)
    ]
    verdicts = {name: sum(period.verdicts[name] for period in periods) for name in VERDICTS}
    changes = [
        VerdictChange(
            account=f"acct-{number}",
            network=f"8.8.{number}.0/24",
            verdict="newly_denied",
            addresses=1,
            requests=10 - number,
            first_seen=START,
            last_seen=START,
        )
        for number in range(3)
    ]
    changes.append(
        VerdictChange(
            account=EVIL,
            network="9.9.9.0/24",
            verdict="newly_denied",
            addresses=1,
            requests=1,
            first_seen=None,
            last_seen=None,
        )
    )
    changes.append(
        VerdictChange(
            account="acct-9",
            network=None,
            verdict="newly_denied",
            addresses=0,
            requests=1,
            first_seen=None,
            last_seen=None,
        )
    )
    return ReplayReport(
        compared=True,
        lines=sum(verdicts.values()) + 1,
        requests=sum(verdicts.values()),
        verdicts=verdicts,
        bad=1,
        not_enforced=0,
        bad_lines=(BadLine(file="a.log", line=7, reason="it is not as the format says", text=EVIL),),
        changes=tuple(changes),
        more_changes=0,
        accounts=5,
        step=timedelta(hours=1),
        periods=tuple(periods),
        seconds=0.5,
        unknown=(Unknown(code="unlisted", text=EVIL),),
    )


def test_the_report_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html_report(a_report(), EVIL))
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(path.as_uri())
    assert page.title() == "Replay"
    assert page.locator("#title").inner_text() == EVIL
    assert page.locator("#changes tbody tr").count() == 5
    assert page.locator("#changes tbody tr").last.inner_text().split("\t")[:2] == ["acct-9", "no client address"]
    assert page.locator("#unknown p").all_inner_texts() == [f"Not known: {EVIL}"]
    assert page.locator("#bad td").last.inner_text() == EVIL
    assert "newly denied" in page.locator("#verdicts").inner_text()
    bars = page.locator("#plot rect:not(#drag)")
    whole = bars.count()
    box = page.locator("#plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 80)
    page.mouse.up()
    assert 0 < bars.count() < whole, "zoomed in"
    page.locator("#plot").dblclick(position={"x": 400, "y": 100})
    assert bars.count() == whole
    page.locator("#keys label", has_text="newly denied").locator("input").uncheck()
    assert bars.count() == 0
    page.locator("#search").fill("acct-1")
    assert page.locator("#changes tbody tr").count() == 1
    page.locator("#search").fill("")
    page.get_by_role("button", name="requests").click()
    page.get_by_role("button", name="requests").click()
    assert page.locator("#changes tbody tr").first.locator("td").nth(4).inner_text() == "1"
    assert faults == []
    page.close()


def test_the_report_of_all_times(browser: Browser, tmp_path: Path) -> None:
    times = [datetime.min.replace(tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)]
    denied = dict.fromkeys(VERDICTS, 0) | {"newly_denied": 1}
    report = replace(
        a_report(), step=timedelta(days=20_000), periods=tuple(Period(start=at, verdicts=denied) for at in times)
    )
    (tmp_path / "report.html").write_text(html_report(report, "all times"))
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    ends = page.locator("#plot text").all_text_contents()
    assert ends[-2:] == ["0001-01-01 00:00", "9999-12-31 23:59 UTC"]
    page.close()
