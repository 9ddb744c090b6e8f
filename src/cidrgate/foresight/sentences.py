"""Evaluations in words, the same for the command line and for the console."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Literal

from cidrgate.foresight.evaluation import is_begin_of_day, minute_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from cidrgate.foresight.evaluation import AffectedTraffic, Evaluation, TrafficTotal, Unknown
    from cidrgate.foresight.recommending import Recommendation

__all__ = ["Sentence", "days_text", "network_text", "number_text", "observed_text", "sentences", "since_text"]

_MOST_AS_DIGITS = 2**32


@dataclass(frozen=True, slots=True)
class Sentence:
    """One statement of an evaluation.

    Attributes:
        text: The statement, which begins with a small letter and has no full stop.
        kind: `loss` for requests that would be denied, `gain` for requests that would be allowed, `same` if no observed
            request would be denied, `unknown` for what is not known.
        traffic: The requests that it is about, if the change affects them.
    """

    text: str
    kind: Literal["loss", "gain", "same", "unknown"]
    traffic: AffectedTraffic | None = None


def sentences(evaluation: Evaluation) -> Iterator[Sentence]:
    """Yield what an evaluation says, losses first and what is not known last.

    Example:
        >>> from datetime import datetime
        >>> from cidrgate.foresight.evaluation import ChangedList, PastTraffic, evaluate
        >>> from cidrgate.values import Observation
        >>> at = datetime(2026, 1, 2, tzinfo=UTC)
        >>> seen = Observation(
        ...     account="acct-1", network="8.8.8.8/32", allowed=True, requests=7, first_seen=at, last_seen=at
        ... )
        >>> change = ChangedList(accounts=("acct-1",), before=["8.8.8.0/24"], after=["1.1.1.1/32"])
        >>> for sentence in sentences(evaluate([(change, PastTraffic([seen]))], at=at)):
        ...     print(sentence.kind, sentence.text)
        loss since 2026-01-02 00:00 UTC, 1 address with 7 requests would be denied
    """
    if not evaluation.lists:
        yield Sentence("every request would be decided as it is now", "same")
        yield from _not_known(evaluation)
        return
    when = _window(evaluation)
    denied, partly_denied = evaluation.newly_denied, evaluation.partly_denied
    if denied.requests:
        yield Sentence(f"{when}, {_of(denied)} would be denied", "loss", denied)
    if partly_denied.requests:
        yield Sentence(f"{when}, some requests of {_of(partly_denied)} would be denied", "loss", partly_denied)
    deleted = evaluation.denied_if_unlisted
    if deleted.requests:
        text = f"{when}, {_of(deleted)} would be denied by gates that deny unknown accounts"
        yield Sentence(text, "loss", deleted)
    if not denied.requests and not partly_denied.requests and not deleted.requests and _observed(evaluation):
        yield Sentence(f"no request that was observed {when} would be newly denied", "same")
    allowed, partly_allowed = evaluation.newly_allowed, evaluation.partly_allowed
    if allowed.requests:
        yield Sentence(f"{when}, {_of(allowed)} would be allowed that are denied now", "gain", allowed)
    if partly_allowed.requests:
        text = f"{when}, some requests of {_of(partly_allowed)} would be allowed that are denied now"
        yield Sentence(text, "gain", partly_allowed)
    opened = evaluation.allowed_if_unlisted
    if opened.requests:
        text = f"{when}, {_of(opened)} that are denied now would be allowed by gates that allow unknown accounts"
        yield Sentence(text, "gain", opened)
    admitted = evaluation.allowed_if_created
    if admitted.requests:
        text = f"{when}, {_of(admitted)} would be allowed that gates deny now if they deny unknown accounts"
        yield Sentence(text, "gain", admitted)
    yield from _not_known(evaluation)


def _not_known(evaluation: Evaluation) -> Iterator[Sentence]:
    for one in evaluation.unknown:
        yield Sentence(f"not known: {one.text}", "unknown")


def network_text(network: str) -> str:
    """Return an observed address without its length, and a network as it is.

    Example:
        >>> network_text("8.8.8.8/32"), network_text("2606:4700::1/128"), network_text("2606:4700::/48")
        ('8.8.8.8', '2606:4700::1', '2606:4700::/48')
    """
    address, _, length = network.partition("/")
    return address if length == ("128" if ":" in address else "32") else network


def number_text(addresses: int) -> str:
    """Return a number of addresses: grouped digits, or about which power of two it is.

    Example:
        >>> number_text(65_024), number_text(2**64 - 2)
        ('65,024', 'about 2^64.0')
    """
    return f"{addresses:,}" if addresses <= _MOST_AS_DIGITS else f"about 2^{math.log2(addresses):.1f}"


def _window(evaluation: Evaluation) -> str:
    short = any(one.code == "short_window" for one in evaluation.unknown)
    if evaluation.days is not None and not short:
        return days_text(evaluation.days)
    return "in the observations" if evaluation.since is None else since_text(evaluation.since, evaluation.unknown)


def since_text(since: datetime, unknown: Iterable[Unknown]) -> str:
    """Return from when on requests were observed, as far as it is known, as a time in a sentence.

    Args:
        since: That time, or the begin of that day in UTC.
        unknown: What is not known: with `short_window`, when on that day the first request was observed.

    Example:
        >>> from datetime import datetime
        >>> since_text(datetime(2026, 1, 2, tzinfo=UTC), ())
        'since 2026-01-02 00:00 UTC'
    """
    if is_begin_of_day(since) and any(one.code == "short_window" for one in unknown):
        return f"since some time on {since.astimezone(UTC).date().isoformat()} (UTC)"
    return f"since {minute_text(since)}"


def days_text(days: int) -> str:
    """Return some days in UTC with today as a time in a sentence.

    Example:
        >>> days_text(1), days_text(30)
        ('today, since 00:00 UTC', 'in the last 30 days')
    """
    return "today, since 00:00 UTC" if days == 1 else f"in the last {days:,} days"


def observed_text(found: Recommendation) -> str:
    """Return how many addresses and truncated networks a recommendation covers.

    Example:
        >>> from cidrgate.foresight import recommend
        >>> observed_text(recommend(["8.8.8.8", "9.9.9.9", "1.1.1.0/24"]))
        '2 addresses and 1 network'
    """
    return _addresses_and_networks(found.observed - found.observed_networks, found.observed_networks)


def _addresses_and_networks(addresses: int, networks: int) -> str:
    parts = []
    if addresses or not networks:
        parts.append(_counted(addresses, "address", "addresses"))
    if networks:
        parts.append(_counted(networks, "network", "networks"))
    return " and ".join(parts)


def _of(total: AffectedTraffic) -> str:
    accounts = f" of {total.accounts:,} accounts" if total.accounts > 1 else ""
    parts = []
    if total.requests > total.without_address:
        which = _addresses_and_networks(total.addresses, total.networks)
        parts.append(f"{which} with {_counted(total.requests - total.without_address, 'request', 'requests')}")
    if total.without_address:
        parts.append(f"{_counted(total.without_address, 'request', 'requests')} without a client address")
    return f"{' and '.join(parts)}{accounts}"


def _observed(evaluation: Evaluation) -> bool:
    totals: tuple[TrafficTotal, ...] = (
        evaluation.still_allowed,
        evaluation.still_denied,
        evaluation.still_mixed,
        evaluation.newly_allowed,
        evaluation.partly_allowed,
        evaluation.allowed_if_unlisted,
    )
    return any(one.requests for one in totals)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
