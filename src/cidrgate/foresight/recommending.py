"""`recommend`: the best list of at most so many entries for addresses that were seen.

The engine does the work: an exact dynamic program over the trie of the addresses (`ext/cover.pxd`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias

from cidrgate._engine import PrefixTrie, SmallestCover
from cidrgate.errors import RecommendationError
from cidrgate.foresight.evaluation import Unknown, is_address
from cidrgate.foresight.observed import read_observed
from cidrgate.rules.asked_networks import asked_network
from cidrgate.rules.checks import validate_replacement
from cidrgate.rules.limits import beginning_of, some_of
from cidrgate.rules.policy import DEFAULT_POLICY, Policy
from cidrgate.rules.special_ranges import special_block, special_networks
from cidrgate.values import NewEntry, check_switches, check_type, prefix_text, several_networks, whole_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from ipaddress import IPv4Address, IPv6Address

    from cidrgate.foresight.observed import Observed, Seen
    from cidrgate.values import Prefix

__all__ = [
    "CurvePoint",
    "LeftOut",
    "LeftOutReason",
    "Recommendation",
    "RecommendedNetwork",
    "recommend",
    "truncated_networks",
]

LeftOutReason: TypeAlias = Literal["invalid_format", "special_range", "excluded", "too_wide", "denied"]
"""Why a recommendation does not cover an address."""

_MOST_ENTRIES = 65_535
"""The most entries that the engine divides. A list is far smaller."""

_MOST_NAMED = 20
"""The most networks that an error names."""

_IPV4_WEIGHT = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The best list of one number of entries.

    Attributes:
        entries: The number of entries.
        extra_ipv4: The IPv4 addresses that the list allows and that nobody was seen to use, without those of forced
            networks.
        extra_ipv6: The same for IPv6.

    Example:
        >>> CurvePoint(entries=3, extra_ipv4=5, extra_ipv6=2**63).extra
        Fraction(11, 2)
    """

    entries: int
    extra_ipv4: int
    extra_ipv6: int

    @property
    def extra(self) -> Fraction:
        """The extra addresses as they are compared: an IPv4 address counts as much as a /64 of IPv6."""
        return self.extra_ipv4 + Fraction(self.extra_ipv6, _IPV4_WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendedNetwork:
    """One entry of a recommended list.

    Attributes:
        cidr: The network, as a canonical CIDR.
        observed: How many different addresses, or truncated networks, were seen inside.
        requests: How many requests they made.
    """

    cidr: str
    observed: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a recommendation does not cover.

    Attributes:
        network: The network as a canonical CIDR, or the text if it is neither an address nor a network.
        reason: `invalid_format`, `special_range`, `excluded`, `too_wide` for a network that is wider than an entry may
            be, or `denied` for requests that were denied.
        requests: How many requests it made.
        explanation: The reason in words.
    """

    network: str
    reason: LeftOutReason
    requests: int
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A list for addresses that were seen. It breaks no rule.

    Attributes:
        networks: The entries, in address order: as few as have the fewest extra addresses. Empty if nothing is covered.
        curve: For each number of entries that can cover everything, up to the most that were allowed: how many extra
            addresses the best list of so many entries has. They never grow with the number of entries.
        extra_ipv4: The IPv4 addresses that the list allows and that nobody was seen to use, without those of forced
            networks and of networks that were seen.
        extra_ipv6: The same for IPv6.
        observed: How many different addresses, or truncated networks, are covered.
        observed_networks: How many of these are networks. Which of their addresses called is not known; the list allows
            all of them.
        requests: How many requests they made.
        requests_newly_allowed: How many denied requests the list would allow, because an entry covers the address or
            network from which they came. They are neither in `requests` nor in `left_out`.
        left_out: What is not covered and why, by reason and network.
    """

    networks: tuple[RecommendedNetwork, ...]
    curve: tuple[CurvePoint, ...]
    extra_ipv4: int
    extra_ipv6: int
    observed: int
    observed_networks: int
    requests: int
    requests_newly_allowed: int
    left_out: tuple[LeftOut, ...]

    @property
    def cidrs(self) -> list[str]:
        """The list, for `RuleManager.replace(account, cidrs, enabled=True)`.

        Entries whose network stays keep their label and their end, and stay disabled without `enabled=True`. Entries of
        other networks are new: they have no label and no end, also in place of entries that had them.
        """
        return [network.cidr for network in self.networks]

    @property
    def requests_left_out(self) -> int:
        """How many requests are not covered."""
        return sum(one.requests for one in self.left_out)


def recommend(
    observed: Observed,
    policy: Policy = DEFAULT_POLICY,
    *,
    max_entries: int | None = None,
    forced: Iterable[Prefix] = (),
    excluded: Iterable[Prefix | IPv4Address | IPv6Address] = (),
    widest_ipv4: int | None = None,
    widest_ipv6: int | None = None,
    include_denied: bool = False,
) -> Recommendation:
    """Return the list of at most so many entries that covers addresses with the fewest extra addresses.

    The result is exact, and depends on nothing but the arguments. An address is extra if the list allows it and nobody
    was seen to use it, except for addresses of forced networks, which are not counted. An extra IPv4 address counts as
    much as an extra /64 of IPv6, and the addresses of a /64 count as fractions: the smallest network that a site gets
    has one address in IPv4, and is a /64 in IPv6. Counted by address, one /64 would weigh more than all of IPv4.

    Of a network that was seen, as where addresses are truncated, every address counts as used: nobody knows which one.

    The number of requests does not change which list is best. It says how much of the traffic the list covers.

    Args:
        observed: Observations, texts of addresses or networks, or a mapping from these texts to numbers of requests.
            For one account, pass its own observations and those of its subaccounts.
        policy: The limits: `max_entries`, special ranges, and how wide an entry may be.
        max_entries: The most entries; as many as the policy allows if not given, and at most 65,535.
        forced: Networks that the list allows whole, whether anybody used them or not. They must be valid as a list.
        excluded: Addresses and networks that no entry overlaps.
        widest_ipv4: The shortest length of an IPv4 entry; the policy's if not given. It cannot be shorter than that.
        widest_ipv6: The same for IPv6.
        include_denied: Whether denied requests are covered too. By default they are left out, because the list denied
            them on purpose, unless an entry that other addresses need covers them. An observation says what was decided
            then; `RuleManager.recommend` leaves out what the list denies now.

    Returns:
        The list, the curve of entries against extra addresses, and what is left out.

    Raises:
        RecommendationError: If more entries are needed; its `fewest` says how many. Also if a forced network overlaps
            an excluded one, or is wider than an entry may be.
        RuleError: If forced networks break a rule.
        InvalidAddressError: If an excluded text is neither an address nor a network.
        TypeError: If an argument is of another type, or `observed`, `forced` or `excluded` is one text or one network,
            or `forced` or `excluded` a mapping.
        ValueError: If a limit is out of range, or wider than the policy's.

    Example:
        >>> found = recommend(["8.8.8.8", "8.8.8.10", "1.1.1.1", "10.0.0.7"], max_entries=2)
        >>> found.cidrs, found.extra_ipv4
        (['1.1.1.1/32', '8.8.8.8/30'], 2)
        >>> [(one.network, one.reason) for one in found.left_out]
        [('10.0.0.7/32', 'special_range')]
        >>> [(point.entries, point.extra_ipv4) for point in recommend(["8.8.8.8", "8.8.8.10", "1.1.1.1"]).curve]
        [(2, 2), (3, 0)]
    """
    check_switches(include_denied=include_denied)
    check_type(policy, Policy, "policy")
    most = min(_limit("max_entries", max_entries, policy.max_entries, 1, policy.max_entries), _MOST_ENTRIES)
    widest4 = _limit("widest_ipv4", widest_ipv4, policy.widest_ipv4, policy.widest_ipv4, 32)
    widest6 = _limit("widest_ipv6", widest_ipv6, policy.widest_ipv6, policy.widest_ipv6, 128)
    seen = read_observed(observed, include_denied=include_denied)
    must = validate_replacement([NewEntry(one) for one in several_networks(forced, "forced")], policy)
    barred = [asked_network(prefix_text(one)) for one in several_networks(excluded, "excluded")]
    networks = list(seen.requests)
    cover = SmallestCover(
        [*networks, *must],
        barred if policy.allow_special else [*barred, *special_networks()],
        min(most, len(networks) + len(must)) or 1,
        widest4,
        widest6,
        bar_mapped=not policy.allow_special,
    )
    outside = _outside(cover, networks, must, policy, barred)
    if cover.fewest > most:
        raise RecommendationError(
            f"{most:,} {'entry is' if most == 1 else 'entries are'} not enough to cover every address: the fewest that "
            f"would do are {cover.fewest:,}. Allow more entries or wider ones, or leave out some addresses",
            fewest=cover.fewest,
        )
    curve = tuple(CurvePoint(entries=n, extra_ipv4=ipv4, extra_ipv6=ipv6) for n, ipv4, ipv6 in cover.curve())
    best = next((point for point in curve if point.extra == curve[-1].extra), None)
    chosen = cover.networks(best.entries) if best else []
    # What the engine chose is checked like every other list.
    validate_replacement([NewEntry(cidr) for cidr in chosen], policy)
    covered = {network: seen.requests[network] for network in networks if network not in outside}
    inside = _inside(chosen, covered)
    allowed = PrefixTrie(chosen)
    let_in = {network for network in seen.denied if allowed.covering(network)}
    return Recommendation(
        networks=inside,
        curve=curve,
        extra_ipv4=best.extra_ipv4 if best else 0,
        extra_ipv6=best.extra_ipv6 if best else 0,
        observed=len(covered),
        observed_networks=sum(not is_address(network) for network in covered),
        requests=sum(covered.values()),
        requests_newly_allowed=sum(seen.denied[network] for network in let_in),
        left_out=_left_out(seen, outside, let_in),
    )


def truncated_networks(found: Recommendation) -> Iterator[Unknown]:
    """Yield that a recommendation does not know which addresses of networks called, if it covers any."""
    number = found.observed_networks
    if number:
        of = "1 network" if number == 1 else f"{number:,} networks"
        yield Unknown(
            code="truncated",
            text=f"of {of}, the single addresses were not kept: which of them called is not known, and the recommended "
            "list allows them all",
        )


def _limit(name: str, given: int | None, default: int, least: int, most: int) -> int:
    """Return an option, or what the policy says."""
    if given is None:
        return default
    if not least <= whole_number(given, name) <= most:
        raise ValueError(f"{name} must be from {least} to {most}, as the policy has it, not {given}")
    return given


def _outside(
    cover: SmallestCover, networks: list[str], must: list[str], policy: Policy, excluded: list[str]
) -> dict[str, tuple[LeftOutReason, str]]:
    """Return the reason for each network that no entry may cover.

    Raises:
        RecommendationError: If a forced network is one of them.
    """
    barred, wide = cover.barred(), cover.wide()
    conflicts = [must[index - len(networks)] for index in (*barred, *wide) if index >= len(networks)]
    if conflicts:
        raise RecommendationError(
            f"forced networks overlap an excluded network, or are wider than an entry may be: "
            f"{some_of(conflicts, _MOST_NAMED)}; leave them out, exclude less, or allow wider entries",
            networks=conflicts,
        )
    outside: dict[str, tuple[LeftOutReason, str]] = {}
    for index in barred:
        block = None if policy.allow_special else special_block(networks[index])
        if block is not None:
            outside[networks[index]] = ("special_range", f"{block.cidr} is {block.name} ({block.rfc})")
    holes = PrefixTrie(excluded)
    for index in barred:
        network = networks[index]
        if network not in outside:
            meets = (holes.covering(network) or holes.covered(network))[0]
            outside[network] = ("excluded", f"{meets} is excluded")
    for index in wide:
        outside[networks[index]] = ("too_wide", "the network is wider than an entry may be")
    return outside


def _inside(chosen: list[str], requests: Mapping[str, int]) -> tuple[RecommendedNetwork, ...]:
    """Return the entries with what was seen inside of each."""
    trie = PrefixTrie(chosen)
    entries = trie.lookup_many([network.rpartition("/")[0] for network in requests])
    counts, sums = [0] * len(chosen), [0] * len(chosen)
    for entry, number in zip(entries.tolist(), requests.values(), strict=True):
        counts[entry] += 1
        sums[entry] += number
    return tuple(
        RecommendedNetwork(cidr=cidr, observed=count, requests=total)
        for cidr, count, total in zip(trie, counts, sums, strict=True)
    )


def _left_out(
    seen: Seen, outside: Mapping[str, tuple[LeftOutReason, str]], let_in: Collection[str]
) -> tuple[LeftOut, ...]:
    """Return everything that is not covered: denied networks only if no entry covers them."""
    left = [
        LeftOut(network=network, reason=reason, requests=seen.requests[network], explanation=explanation)
        for network, (reason, explanation) in outside.items()
    ]
    left += [
        LeftOut(network=network, reason="denied", requests=requests, explanation="requests from it are denied")
        for network, requests in seen.denied.items()
        if network not in let_in
    ]
    left += [
        LeftOut(
            network=beginning_of(text),
            reason="invalid_format",
            requests=requests,
            explanation="the text is neither an address nor a network",
        )
        for text, requests in seen.invalid.items()
    ]
    return tuple(sorted(left, key=lambda one: (one.reason, one.network)))
