"""`Policy`: the rules that an operator can configure."""

from __future__ import annotations

from dataclasses import dataclass, field

from cidrgate.rules.limits import most_pieces
from cidrgate.values import check_switches, whole_number

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits that lists are checked against.

    Each field is an option of the command line too, and a variable of its environment: its metadata hold what the help
    says and what the option is made with.

    Args:
        max_entries: The most entries that an account may have.
        allow_special: Whether lists may contain special-purpose ranges (private, loopback, ...). Use it only for a
            platform inside a private network.

    Raises:
        TypeError: If `max_entries` is not a whole number, or `allow_special` is not True or False.
        ValueError: If `max_entries` is below 1.

    Example:
        >>> Policy()
        Policy(max_entries=50, allow_special=False)
    """

    max_entries: int = field(
        default=50,
        metadata={"help": "The most entries that an account may have", "option": {"min": 1, "metavar": "N"}},
    )
    allow_special: bool = field(
        default=False, metadata={"help": "Allow entries that overlap a special-purpose range", "option": {}}
    )

    def __post_init__(self) -> None:
        """Check the limits."""
        whole_number(self.max_entries, "max_entries")
        check_switches(allow_special=self.allow_special)
        if self.max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, not {self.max_entries}")

    @property
    def most_pieces(self) -> int:
        """The most entries that one submission may have; see `cidrgate.rules.limits`."""
        return most_pieces(self.max_entries)
