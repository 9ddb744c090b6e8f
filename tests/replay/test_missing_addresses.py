"""Requests without a readable address of the client: a comparison counts them as the gate decides about them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from cidrgate import Gate, Matcher
from cidrgate.gate import ClientIPResolver
from cidrgate.replay import FORMATS, LogSource, replay

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, dict[str, Any] | None] = {
    "unknown": None,
    "open": {"prefixes": []},
    "closed": {"prefixes": [], "when_empty": "deny"},
    "listed": {"prefixes": ["8.8.8.0/24"]},
    "everything": {"prefixes": ["0.0.0.0/0", "::/0"]},
    "reports": {"prefixes": ["8.8.8.0/24"], "mode": "report_only"},
    "off": {"prefixes": ["8.8.8.0/24"], "mode": "off"},
    "paused": {"prefixes": [], "when_empty": "deny", "mode": "off"},
}
RESOLVER = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
CHANGES = list(product(SETTINGS, SETTINGS))


def matcher_of(place: int) -> Matcher:
    """Return the lists before (0) or after (1) each change: each has an account of its number, and a subaccount."""
    matcher = Matcher()
    for number, change in enumerate(CHANGES):
        settings = SETTINGS[change[place]]
        if settings is not None:
            matcher.publish(f"{number}", **settings)
            matcher.link(f"sub-{number}", f"{number}")
    return matcher


def test_each_change_is_counted_as_the_gate_decides(tmp_path: Path) -> None:
    names = [f"{kind}{number}" for number in range(len(CHANGES)) for kind in ("", "sub-")]
    rows = "".join(f"{name},10.0.0.1,{sent},2026-01-01T00:00:00Z,2\n" for name in names for sent in ("x", "unknown"))
    (tmp_path / "a.csv").write_text(f"account,address,forwarded,time,requests\n{rows}")
    source = LogSource(
        files=[str(tmp_path / "a.csv")],
        form=FORMATS["csv"],
        columns={"forwarded": "forwarded", "requests": "requests"},
    )
    before, after = matcher_of(0), matcher_of(1)
    gates = [Gate(one, unlisted="allow", resolver=RESOLVER, log="none") for one in (before, after)]
    expected = {}
    for name in names:
        headers = [(b"x-forwarded-for", b"x")]
        was, now = (gate.decide(name, "10.0.0.1", headers).result != "denied" for gate in gates)
        expected[name] = {(True, False): "newly_denied", (False, True): "newly_allowed"}.get((was, now), "no_address")
    report = replay(source, after, before=before, resolver=RESOLVER, rows=tmp_path / "rows.parquet", threads=1)
    written = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert {one["account"]: one["verdict"] for one in written} == expected
    assert {one["address"] for one in written} == {None}
    counts = {name: 4 * list(expected.values()).count(name) for name in report.verdicts}
    assert report.verdicts == counts
    assert sum(counts.values()) == report.requests == 4 * len(names)
    assert all(sum(one.verdicts[name] for one in report.periods) == counts[name] for name in counts)
    changed = {name: verdict for name, verdict in expected.items() if verdict != "no_address"}
    assert {one.account: one.verdict for one in report.changes} == changed
    assert {(one.network, one.addresses, one.requests) for one in report.changes} == {(None, 0, 4)}
    assert (report.accounts, report.more_changes) == (len(changed), 0)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_without_a_comparison_they_are_counted_apart(tmp_path: Path, settings: dict[str, Any] | None) -> None:
    (tmp_path / "a.csv").write_text("account,address,forwarded,time\na,10.0.0.1,x,2026-01-01T00:00:00Z\n")
    lists = Matcher()
    if settings is not None:
        lists.publish("a", **settings)
    source = LogSource(files=[str(tmp_path / "a.csv")], form=FORMATS["csv"], columns={"forwarded": "forwarded"})
    report = replay(source, lists, resolver=RESOLVER)
    assert (report.verdicts["no_address"], report.changes) == (1, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "x"])
def test_what_only_one_side_knows_is_said(tmp_path: Path, address: str) -> None:
    rows = "".join(f"{name},10.0.0.1,{address},2026-01-01T00:00:00Z\n" for name in ("new", "old", "both", "nobody"))
    (tmp_path / "a.csv").write_text(f"account,address,forwarded,time\n{rows}")
    before, after = Matcher(), Matcher()
    for matcher, names in ((before, ("old", "both", "silent")), (after, ("new", "both"))):
        for name in names:
            matcher.publish(name, ["8.8.8.0/24"])
    source = LogSource(files=[str(tmp_path / "a.csv")], form=FORMATS["csv"], columns={"forwarded": "forwarded"})
    found = replay(source, after, before=before, resolver=RESOLVER).unknown
    assert [one.code for one in found] == ["unlisted", "unlisted"]
    assert [one.text.partition(":")[0] for one in found] == [
        "what gates answer for account 'new' now, before the creation",
        "what gates answer for account 'old' after the deletion",
    ]
    assert replay(source, after, before=after, resolver=RESOLVER).unknown == ()
    assert replay(source, after, resolver=RESOLVER).unknown == ()
