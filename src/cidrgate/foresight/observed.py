"""What was seen, in any of its forms, as requests by network: what `recommend` and the reviews of entries read.

A form is observations, texts of addresses, or a mapping from texts to numbers of requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from cidrgate.errors import InvalidAddressError
from cidrgate.rules.asked_networks import network_of
from cidrgate.values import Observation, whole_number, zoned_time

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Observed", "Seen", "read_observed"]

Observed: TypeAlias = Iterable[Observation] | Iterable[str] | Mapping[str, int]
"""What was seen: observations, addresses or networks as text, or a mapping from these to numbers of requests."""


@dataclass(slots=True)
class Seen:
    """What was seen, by network.

    Attributes:
        requests: The requests that count, by canonical CIDR.
        last_seen: The time of the last of them; a network without a time is missing.
        denied: The denied requests that do not count.
        invalid: The requests of each text that is neither an address nor a network.
    """

    requests: Counter[str] = field(default_factory=Counter)
    last_seen: dict[str, datetime] = field(default_factory=dict)
    denied: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)


def read_observed(observed: Observed, *, include_denied: bool = False, since: datetime | None = None) -> Seen:
    """Read what was seen.

    Args:
        observed: Observations, texts, or a mapping from texts to requests. A text counts as one request.
        include_denied: Whether denied requests count like allowed ones.
        since: Leave out observations that end before this time; texts have no time, and count.

    Raises:
        TypeError: If an element is no observation and no text, or `since` is no time.
        ValueError: If a number of requests is negative, or `since` has no time zone, or no form in UTC.
    """
    if isinstance(observed, (str, bytes)):
        raise TypeError("what was observed is an iterable of observations or addresses, not one text: write [address]")
    since = None if since is None else zoned_time(since, "since")
    seen = Seen()
    for one in observed.items() if isinstance(observed, Mapping) else observed:
        if isinstance(one, Observation):
            if since is None or one.last_seen >= since:
                _read_observation(seen, one, counts=one.allowed or include_denied)
            continue
        text, requests = one if isinstance(one, tuple) else (one, 1)
        if not isinstance(text, str):
            raise TypeError(f"what was observed must be an Observation or a str, not {type(text).__name__}")
        if whole_number(requests, "requests") < 0:
            raise ValueError(f"the requests of {text!r} must be 0 or more, not {requests}")
        try:
            seen.requests[network_of(text)] += requests
        except InvalidAddressError:
            seen.invalid[text] += requests
    return seen


def _read_observation(seen: Seen, one: Observation, *, counts: bool) -> None:
    network = network_of(one.network)
    if not counts:
        seen.denied[network] += one.requests
        return
    seen.requests[network] += one.requests
    last = seen.last_seen.get(network)
    seen.last_seen[network] = one.last_seen if last is None else max(last, one.last_seen)
