"""Batches end whatever writers do meanwhile, and each answer is that of a list that was there during the call."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from cidrgate import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNTS = 1_000
COPIES = 2_000
# Far more changes than fit into one call. They end, so that a call that starts again at each one ends too, and fails.
MOST_CHANGES = 1_000_000
MOST_SLOW_CHANGES = 3_000

NAMES = [f"acct-{number}" for number in range(ACCOUNTS)]
OWN = np.arange(ACCOUNTS, dtype=np.uint32) << 8 | 10 << 24
ASKED = np.tile(OWN, COPIES)


def matcher_of_all() -> Matcher:
    matcher = Matcher()
    for number, name in enumerate(NAMES):
        publish(matcher, number, name)
    return matcher


def publish(matcher: Matcher, number: int, name: str) -> None:
    matcher.publish(name, [f"10.{number >> 8}.{number & 255}.0/24"])


def discard_and_publish(matcher: Matcher, step: int) -> None:
    number = step % ACCOUNTS
    matcher.discard(NAMES[number])
    publish(matcher, number, NAMES[number])


def adopt(matcher: Matcher, step: int) -> None:
    other = Matcher()
    publish(other, step % ACCOUNTS, NAMES[step % ACCOUNTS])
    matcher.adopt(other)


def discard_the_one(matcher: Matcher, _: int) -> None:
    """The account is known nearly always, so that it is looked up while it is known."""
    matcher.discard(NAMES[7])
    publish(matcher, 7, NAMES[7])
    time.sleep(0.001)


COLUMN = pa.array(NAMES * COPIES)
CALLS: dict[str, Callable[[Matcher], Any]] = {
    "list": lambda matcher: matcher.allows_many(NAMES * COPIES, ASKED),
    "array of names": lambda matcher: matcher.allows_many(np.array(NAMES * COPIES, dtype=object), ASKED),
    "arrow": lambda matcher: matcher.allows_many(COLUMN, ASKED),
    "chunks": lambda matcher: matcher.allows_many(pa.chunked_array([NAMES] * COPIES), ASKED),
    "dictionary": lambda matcher: matcher.allows_many(COLUMN.dictionary_encode(), ASKED),
    "deny": lambda matcher: matcher.allows_many(COLUMN, ASKED, invalid="deny"),
    "table": lambda matcher: matcher.allows_arrow(
        pa.table({"account": COLUMN, "address": pa.array(ASKED.byteswap().view("S4"), pa.binary(4))})
    ),
}


def answers_during(
    matcher: Matcher, call: Callable[[Matcher], Any], change: Callable[[Matcher, int], None], most: int = MOST_CHANGES
) -> Any:
    """Return what a call answers while another thread changes the lists; None if it did not end before the changes."""
    answers: list[Any] = []
    reader = threading.Thread(target=lambda: answers.append(call(matcher)))
    reader.start()
    for step in range(most):
        if answers:
            break
        change(matcher, step)
    ended = bool(answers)
    reader.join()
    return answers[0] if ended else None


@pytest.mark.parametrize("change", [discard_and_publish, adopt])
@pytest.mark.parametrize("call", CALLS)
def test_a_batch_by_names_ends_during_changes(call: str, change: Callable[[Matcher, int], None]) -> None:
    """Each account allows its own network, and is unknown for a moment, so every answer is True."""
    answers = answers_during(matcher_of_all(), CALLS[call], change)
    assert answers is not None
    assert np.asarray(answers).all()


@pytest.mark.parametrize("invalid", ["raise", "deny"])
def test_a_batch_for_one_account_has_the_answers_of_one_list(invalid: Any) -> None:
    asked = np.full(8_000_000, 9 << 24, np.uint32)
    answers = answers_during(
        matcher_of_all(),
        lambda matcher: matcher.allows_many(NAMES[7], asked, invalid=invalid),
        discard_the_one,
        MOST_SLOW_CHANGES,
    )
    assert answers is not None
    assert answers.all() or not answers.any()


@pytest.mark.parametrize("chunks", [1, 1_000])
def test_an_account_that_is_published_again_is_not_unknown_for_the_rest_of_a_batch(chunks: int) -> None:
    """Its row is looked up once, as that of a value of a dictionary, and is of no account after the discard."""
    count = 4_000_000 // chunks
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array(["acct-1"]))
    names, denied = pa.chunked_array([column] * chunks), np.full(count * chunks, 9 << 24, np.uint32)
    took = 0.0
    for attempt in range(50):
        matcher = Matcher()
        matcher.publish("acct-1", ["8.8.8.0/24"])
        if not attempt % 10:
            started = time.monotonic()
            matcher.allows_many(names, denied)
            took = time.monotonic() - started
        answers: list[Any] = []
        reader = threading.Thread(
            target=lambda answers=answers, matcher=matcher: answers.append(matcher.allows_many(names, denied))
        )
        reader.start()
        # Somewhere in the batch, which takes longer where the engine is sanitized or the machine is busy.
        time.sleep(took * (attempt * 3 % 10 / 10))
        matcher.discard("acct-1")
        time.sleep(took / 20)
        matcher.publish("acct-1", ["8.8.8.0/24"])
        reader.join()
        if not answers[0][0] and answers[0].any() and not answers[0][-1]:
            return
    pytest.fail("no batch was answered before, between and after the changes")
