"""`Traffic`: whether and how long addresses of requests are recorded, and how exactly."""

from __future__ import annotations

from dataclasses import dataclass

from cidrgate.values import whole_number

__all__ = ["Traffic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How a manager records which addresses act for which account. Addresses of people are personal data.

    Without these settings nothing is recorded.

    Attributes:
        days: How many days an observation is kept. The process deletes older ones; with several processes, the fewest
            days count.
        ipv4_length: The prefix length to which IPv4 addresses are truncated before they are stored; 32 stores them
            whole, 24 stores only their /24 networks.
        ipv6_length: The same for IPv6 addresses, up to 128.
        most_allowed: The largest number of networks of allowed requests that are kept for an account and a day: those
            with the most requests.
        most_denied: The largest number of networks of denied requests that are kept for an account and a day: those
            that were seen last.

    Raises:
        TypeError: If a value is no whole number.
        ValueError: If a value is out of range.

    Example:
        >>> Traffic(days=14, ipv4_length=24, ipv6_length=48).days
        14
    """

    days: int = 30
    ipv4_length: int = 32
    ipv6_length: int = 128
    most_allowed: int = 1000
    most_denied: int = 1000

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("days", "most_allowed", "most_denied"):
            whole_number(getattr(self, name), name, least=1)
        for name, most in (("ipv4_length", 32), ("ipv6_length", 128)):
            if whole_number(getattr(self, name), name, least=0) > most:
                raise ValueError(f"{name} must be a prefix length up to {most}, not {getattr(self, name)}")

    @classmethod
    def named(cls, what: str, *, days: int = 30) -> Traffic | None:
        """Return the settings that servers call by a name.

        Args:
            what: `off` for no record, `networks` for the networks of addresses, `addresses` for whole addresses.
            days: How many days an observation is kept.

        Raises:
            ValueError: If it is another name.
        """
        if what == "off":
            return None
        if what not in ("networks", "addresses"):
            raise ValueError(f"traffic must be 'off', 'networks' or 'addresses', not {what!r}")
        return cls.networks(days=days) if what == "networks" else cls(days=days)

    @classmethod
    def networks(cls, *, days: int = 30) -> Traffic:
        """Return settings with which no address is stored, only its network: /24 of IPv4, /48 of IPv6.

        Args:
            days: How many days an observation is kept.
        """
        return cls(days=days, ipv4_length=24, ipv6_length=48)
