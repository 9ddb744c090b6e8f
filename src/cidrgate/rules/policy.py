"""What an operator may decide about the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from cidrgate.rules.limits import most_pieces

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits lists are checked against.

    Each field is an option of the command line too, and a variable of its environment: its metadata hold what the help
    says and what the option is made with.

    Args:
        max_entries: Most entries an account may hold.
        allow_special: Whether special-purpose ranges (private, loopback, ...) may be listed, as a platform inside
            one company's own network wants it.

    Raises:
        TypeError: `max_entries` is no whole number.
        ValueError: `max_entries` is below 1.

    Example:
        >>> Policy()
        Policy(max_entries=50, allow_special=False)
    """

    max_entries: int = field(
        default=50,
        metadata={"help": "Most entries an account may hold", "option": {"min": 1, "metavar": "N"}},
    )
    allow_special: bool = field(
        default=False, metadata={"help": "Let private and other special ranges be listed", "option": {}}
    )

    def __post_init__(self) -> None:
        """Refuse a limit that no list can meet."""
        if isinstance(self.max_entries, bool) or not isinstance(self.max_entries, int):
            raise TypeError(f"max_entries is a whole number, not {self.max_entries!r}")
        if self.max_entries < 1:
            raise ValueError(f"max_entries is at least 1, not {self.max_entries}")

    @property
    def most_pieces(self) -> int:
        """How many pieces one submission may have; see `cidrgate.rules.limits`."""
        return most_pieces(self.max_entries)
