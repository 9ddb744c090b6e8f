"""Sums of an interval: equal to exact counts within the bounds, and within the stated error of a sketch beyond them."""

from __future__ import annotations

from collections import Counter, defaultdict
from ipaddress import ip_address, ip_network
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cidrgate.errors import CidrgateError
from cidrgate.traffic import Traffic, sums as sums_module
from cidrgate.traffic.notes import _NOTE, ALLOWED, IPV6, network_text, sums_of
from cidrgate.traffic.sums import Sums, Taken
from tests.length import length

Note = tuple[int, str, bool]
"""The row of an account, an address, and whether the request was allowed."""

ADDRESSES = ["8.8.8.8", "8.8.8.9", "8.8.9.8", "0.0.0.0", "255.255.255.255", "2606:4700::1", "2606:4700:0:1::1", "::1:2"]


def noted(notes: list[Note]) -> bytes:
    """Notes as the engine hands them out."""
    rows = []
    for row, text, allowed in notes:
        address = ip_address(text)
        number = int(address) << (0 if address.version == 6 else 96)
        flags = (ALLOWED if allowed else 0) | (IPV6 if address.version == 6 else 0)
        rows.append((number >> 64, number & (1 << 64) - 1, row, flags))
    return np.array(rows, _NOTE).tobytes()


def exact(batches: list[list[Note]], chosen: Traffic) -> dict[tuple[int, str, bool], tuple[int, int, int]]:
    """What an obviously right model finds: requests, and the first and last batch."""
    found: dict[tuple[int, str, bool], list[int]] = defaultdict(list)
    for at, batch in enumerate(batches):
        for row, text, allowed in batch:
            length_ = chosen.ipv4_length if "." in text else chosen.ipv6_length
            found[row, str(ip_network(f"{text}/{length_}", strict=False)), allowed].append(at)
    return {key: (len(times), min(times), max(times)) for key, times in found.items()}


def summed(taken: Taken, chosen: Traffic) -> dict[tuple[int, str, bool], tuple[int, int, int]]:
    found = {}
    for hi, lo, row, flags, requests, first, last in taken.sums.tolist():
        key = row, str(ip_network(network_text(hi, lo, flags, chosen))), bool(flags & ALLOWED)
        assert key not in found
        found[key] = requests, first, last
    return found


a_note = st.tuples(st.integers(0, 3), st.sampled_from(ADDRESSES), st.booleans())
lengths = st.builds(
    Traffic, ipv4_length=st.sampled_from([0, 8, 24, 31, 32]), ipv6_length=st.sampled_from([0, 32, 48, 64, 65, 128])
)


@settings(max_examples=length(100, 1000))
@given(st.lists(st.lists(a_note, max_size=20), max_size=6), lengths, st.sampled_from([1, 7, 10**6]))
def test_within_the_bounds_sums_are_exact(batches: list[list[Note]], chosen: Traffic, later: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums_module, "_LATER", later)
        sums = Sums(chosen)
        for at, batch in enumerate(batches):
            sums.add(sums_of(noted(batch), at, chosen))
        taken = sums.take()
        assert (summed(taken, chosen), taken.lost) == (exact(batches, chosen), 0)
        assert len(sums.take().sums) == 0


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_many_networks_of_an_account_are_within_the_stated_error(skew: float) -> None:
    chosen = Traffic(most_allowed=100, most_denied=50)
    random = Random(7)
    networks = [f"8.{number >> 8}.{number & 255}.1" for number in range(3_000)]
    weights = [1 / (1 + place) ** skew for place in range(len(networks))]
    sums, counts = Sums(chosen), Counter[tuple[int, str]]()
    for at in range(length(20, 200)):
        some = [(1, one) for one in random.choices(networks, weights, k=1_000)] + [(2, "9.9.9.9"), (3, networks[at])]
        counts.update(some)
        sums.add(sums_of(noted([(row, one, True) for row, one in some]), at, chosen))
    taken = sums.take()
    found = summed(taken, chosen)
    of_many = {key[1].removesuffix("/32"): one[0] for key, one in found.items() if key[0] == 1}
    total = sum(number for (row, _), number in counts.items() if row == 1)
    from datasketches import frequent_strings_sketch

    error = frequent_strings_sketch.get_epsilon_for_lg_size(8) * total
    assert 0 < len(of_many) <= 100
    for network, number in of_many.items():
        assert counts[1, network] - error <= number <= counts[1, network]
    assert all(network in of_many for (row, network), number in counts.items() if row == 1 and number > 2 * error)
    # The accounts beside it are exact.
    assert {key: one[0] for key, one in found.items() if key[0] != 1} == {
        (row, f"{network}/32", True): number for (row, network), number in counts.items() if row != 1
    }
    assert taken.lost == counts.total() - sum(one[0] for one in found.values())


@pytest.mark.parametrize("addresses", [100, 101, 150, 160, 200, 500, 5_000])
@pytest.mark.parametrize("merges", [1, 4])
def test_networks_with_nearly_equal_counts_are_kept_up_to_the_bound(
    addresses: int, merges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sketch with many equal counts loses nearly all of them."""
    monkeypatch.setattr(sums_module, "_LATER", 1)
    chosen = Traffic(most_allowed=100)
    sums = Sums(chosen)
    networks = [f"8.{number >> 8}.{number & 255}.1" for number in range(addresses)]
    busy = networks[:: addresses // 10][:10]
    for at in range(merges):
        notes = [(1, one, True) for one in networks] + [(1, one, True) for one in busy for _ in range(addresses // 50)]
        sums.add(sums_of(noted(notes), at, chosen))
    taken = sums.take()
    found = {key[1].removesuffix("/32"): one[0] for key, one in summed(taken, chosen).items()}
    assert len(found) == 100
    assert found.keys() >= set(busy)
    assert all(number <= merges * (1 + (one in busy) * (addresses // 50)) for one, number in found.items())
    if merges == 1:
        assert {found[one] for one in busy} == {1 + addresses // 50}
    assert taken.lost == merges * (addresses + 10 * (addresses // 50)) - sum(found.values())
    assert taken.incomplete == ([(1, 0)] if taken.lost else [])
    assert sums.take().incomplete == []


A_DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("chosen", "most", "days"),
    [
        # The sketch has the sums of the whole interval, also those of the day before.
        (Traffic(most_allowed=2), 100, [{(1, 4), (1, 5)}]),
        (Traffic(most_denied=2), 100, [{(1, 4)}]),
        (Traffic(), 6, [{(1, 4)}, {(1, 5)}]),
    ],
)
def test_the_days_of_which_something_is_lost_are_named(
    chosen: Traffic, most: int, days: list[set[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums_module, "MOST_SUMS", most)
    sums = Sums(chosen)
    for at, day in enumerate((4, 5, 5)):
        notes = [(1, f"8.8.8.{at}", True), (1, f"8.8.4.{at}", False)]
        notes += [(2, "8.8.8.8", True)] * 9
        sums.add(sums_of(noted(notes), day * A_DAY + at, chosen))
    taken = sums.take()
    assert taken.lost == 1
    assert set(taken.incomplete) in days


def test_of_denied_networks_the_latest_stay() -> None:
    chosen = Traffic(most_denied=3)
    sums = Sums(chosen)
    for at in range(10):
        sums.add(sums_of(noted([(1, f"8.8.8.{at}", False), (2, "8.8.8.8", False), (1, "9.9.9.9", True)]), at, chosen))
    taken = sums.take()
    found = summed(taken, chosen)
    assert {key[1] for key in found if key[0] == 1 and not key[2]} == {f"8.8.8.{at}/32" for at in (7, 8, 9)}
    assert found[2, "8.8.8.8/32", False] == (10, 0, 9)
    assert taken.lost == 7


def test_memory_is_bounded_whatever_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums_module, "MOST_SUMS", 2_000)
    monkeypatch.setattr(sums_module, "_LATER", 500)
    monkeypatch.setattr(sums_module, "_MOST_SKETCHES", 3)
    chosen = Traffic(most_allowed=200)
    sums, random = Sums(chosen), Random(3)
    seen, full = 0, False
    for at in range(30):
        rows = [random.randrange(10**6) for _ in range(400)] + [random.randrange(8) for _ in range(400)]
        batch = [(row, f"8.{random.randrange(256)}.{random.randrange(256)}.1", random.random() < 0.8) for row in rows]
        sums.add(sums_of(noted(batch), at, chosen))
        seen += len(batch)
        full = full or sums.full
        assert len(sums._exact) <= 2_000
        assert sum(map(len, sums._new)) <= 1_000 + 800
        assert len(sums._frequent) <= 3
        assert sums.nbytes < 2_000_000
    taken = sums.take()
    assert full
    assert int(taken.sums["requests"].sum()) + taken.lost == seen


def test_settings_are_checked() -> None:
    for wrong in ({"days": 0}, {"ipv4_length": 33}, {"ipv6_length": -1}, {"most_allowed": 0}, {"most_denied": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Traffic(**wrong)
    with pytest.raises(TypeError, match="days must be a whole number, not '30'"):
        Traffic(days="30")  # type: ignore[arg-type]
    assert Traffic.networks(days=7) == Traffic(days=7, ipv4_length=24, ipv6_length=48)
    assert issubclass(CidrgateError, Exception)
