"""A flood of denials makes few lines, and every denial is counted in one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from cidrgate.gate.repeated_denials import MOST_LINES, MOST_PAIRS, RepeatedDenials

_WINDOW = 60.0


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([0.0, 0.5, 20.0, 59.5, 60.0, 200.0]))))
def test_every_denial_is_in_a_line_or_in_a_count(steps: list[tuple[str, float]]) -> None:
    clock = _Clock()
    denials: RepeatedDenials[str] = RepeatedDenials(_WINDOW, clock=clock)
    told: dict[str, int] = dict.fromkeys("abcde", 0)
    lines: dict[str, list[float]] = {key: [] for key in "abcde"}
    for key, pause in steps:
        clock.now += pause
        for one in denials.add(key, key):
            assert one.record is not None
            told[one.record] += max(one.count, 1)
            lines[one.record].append(clock.now)
    for one in denials.flush():
        assert one.record is not None
        told[one.record] += one.count
    assert told == {key: sum(1 for name, _ in steps if name == key) for key in "abcde"}
    for times in lines.values():
        assert all(later - earlier >= _WINDOW for earlier, later in pairwise(times))


def test_the_first_denial_of_each_pair_is_written_at_once() -> None:
    denials: RepeatedDenials[int] = RepeatedDenials(_WINDOW, clock=_Clock())
    written = [one.record for key in range(20) for one in denials.add(key, key)]
    assert written == list(range(20))


def test_a_window_of_nothing_writes_every_denial() -> None:
    denials: RepeatedDenials[str] = RepeatedDenials(0)
    assert [one.count for _ in range(3) for one in denials.add("key", "record")] == [0, 0, 0]


def test_a_flood_of_addresses_makes_a_bounded_number_of_lines() -> None:
    clock = _Clock()
    denials: RepeatedDenials[int] = RepeatedDenials(_WINDOW, clock=clock)
    written = sum(len(denials.add(address, address)) for address in range(50_000))
    assert written == MOST_LINES
    clock.now = _WINDOW
    [summary, first] = denials.add("later", 0)
    assert (summary.record, summary.count) == (None, 50_000 - MOST_LINES)
    assert (first.record, first.count) == (0, 0)


def test_memory_is_bounded_by_the_number_of_pairs() -> None:
    clock = _Clock()
    denials: RepeatedDenials[int] = RepeatedDenials(_WINDOW, clock=clock)
    counted = 0
    # Each pair is seen twice, spread over windows so that lines are not what bounds them.
    for start in range(0, 3 * MOST_PAIRS, MOST_LINES // 2):
        clock.now += _WINDOW / 100
        denials._lines = 0
        for address in range(start, start + MOST_LINES // 2):
            counted += sum(max(one.count, 1) for one in denials.add(address, address))
            counted += sum(max(one.count, 1) for one in denials.add(address, address))
    assert len(denials._pairs) <= MOST_PAIRS
    counted += sum(one.count for one in denials.flush())
    assert counted == 2 * 3 * MOST_PAIRS
