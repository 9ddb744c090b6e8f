"""`Policy`: the rules that an operator can configure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from cidrgate.rules.limits import most_pieces
from cidrgate.values import check_switches, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "DEFAULT_POLICY",
    "OPTION_NAMES",
    "Policy",
    "PolicyChange",
    "PolicyOptions",
    "PolicyState",
    "effective_policy",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits that lists are checked against.

    Each field is an option of the command line too, and a variable of its environment: its metadata hold what the help
    says and what the option is made with.

    Args:
        max_entries: The most entries that an account may have.
        allow_special: Whether lists may contain special-purpose ranges (private, loopback, ...). Use it only for a
            platform inside a private network.
        widest_ipv4: The shortest length of an IPv4 network that needs no confirmation: a shorter one is wider.
        widest_ipv6: The shortest length of an IPv6 network that needs no confirmation.

    Raises:
        TypeError: If an option has another type.
        ValueError: If `max_entries` is below 1, or a length is not one of its address family.

    Example:
        >>> Policy()
        Policy(max_entries=50, allow_special=False, widest_ipv4=8, widest_ipv6=16)
    """

    max_entries: int = field(
        default=50,
        metadata={"help": "The most entries that an account may have", "option": {"min": 1, "metavar": "N"}},
    )
    allow_special: bool = field(
        default=False, metadata={"help": "Allow entries that overlap a special-purpose range", "option": {}}
    )
    widest_ipv4: int = field(
        default=8,
        metadata={
            "help": "The shortest length of an IPv4 network that needs no confirmation",
            "option": {"min": 0, "max": 32, "metavar": "LENGTH"},
        },
    )
    widest_ipv6: int = field(
        default=16,
        metadata={
            "help": "The shortest length of an IPv6 network that needs no confirmation",
            "option": {"min": 0, "max": 128, "metavar": "LENGTH"},
        },
    )

    def __post_init__(self) -> None:
        """Check the limits."""
        whole_number(self.max_entries, "max_entries")
        check_switches(allow_special=self.allow_special)
        if self.max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, not {self.max_entries}")
        for name, most in (("widest_ipv4", 32), ("widest_ipv6", 128)):
            if not 0 <= whole_number(getattr(self, name), name) <= most:
                raise ValueError(f"{name} must be a length from 0 to {most}, not {getattr(self, name)}")

    @property
    def most_pieces(self) -> int:
        """The most entries that one submission may have; see `cidrgate.rules.limits`."""
        return most_pieces(self.max_entries)

    def wider(self, cidrs: Iterable[str]) -> list[str]:
        """Return those of some networks that are listed only with a confirmation, because they are wide.

        Args:
            cidrs: Canonical CIDRs.

        Example:
            >>> Policy().wider(["8.0.0.0/7", "8.0.0.0/8", "2000::/3"])
            ['8.0.0.0/7', '2000::/3']
        """
        return [cidr for cidr in cidrs if _length(cidr) < (self.widest_ipv6 if ":" in cidr else self.widest_ipv4)]

    def options(self) -> dict[str, int | bool]:
        """Return the options by name."""
        return {name: getattr(self, name) for name in OPTION_NAMES}


def _length(cidr: str) -> int:
    return int(cidr.rpartition("/")[2])


OPTION_NAMES = tuple(one.name for one in fields(Policy))
"""The names of the options."""


DEFAULT_POLICY = Policy()
"""The policy of a process that was given none."""


class PolicyOptions(TypedDict, total=False):
    """The options of a policy. One that is left out stays as it is, and None takes it back.

    Attributes:
        max_entries: The most entries that an account may have.
        allow_special: Whether lists may contain special-purpose ranges.
        widest_ipv4: The shortest length of an IPv4 network that needs no confirmation.
        widest_ipv6: The shortest length of an IPv6 network that needs no confirmation.
    """

    max_entries: int | None
    allow_special: bool | None
    widest_ipv4: int | None
    widest_ipv6: int | None


def effective_policy(process: Policy, *stored: Mapping[str, Any] | None) -> Policy:
    """Return the policy that applies: each option as the last of the stored policies has it, or else the process.

    Args:
        process: The policy of the process.
        stored: The policy of the store, and what the account overrides; None where nothing is stored. What is no
            option is left out: a later version may have stored it.

    Example:
        >>> effective_policy(Policy(max_entries=20), {"max_entries": 30, "allow_special": True}, {"max_entries": 5})
        Policy(max_entries=5, allow_special=True, widest_ipv4=8, widest_ipv6=16)
    """
    found: dict[str, Any] = {}
    for one in stored:
        if one:
            found.update((name, one[name]) for name in OPTION_NAMES if name in one)
    return replace(process, **found) if found else process


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """The policy of the store or of an account.

    Attributes:
        account: The account; None for the store.
        version: The version of the account, or of the store's policy, which each change increments.
        stored: The options that are stored for it.
        effective: The policy that applies: what the account overrides, then what the store has, then what this process
            was given.
    """

    account: str | None
    version: int
    stored: Mapping[str, int | bool] = field(hash=False)
    effective: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """What a change of the policy did; `RuleManager.set_policy` returns it.

    The named lists stay as they are, and their addresses stay allowed. Entries can be removed from them, and none can
    be added that breaks the policy.

    Attributes:
        state: The policy after the change.
        over_limit: The first 1,000 accounts, by name, with more entries than the new limit allows.
        special: The first 1,000 accounts, by name, with special-purpose ranges that are not allowed any more.
        more_over_limit: The number of further accounts over the limit.
        more_special: The number of further accounts with special-purpose ranges.
    """

    state: PolicyState
    over_limit: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    more_over_limit: int = 0
    more_special: int = 0
