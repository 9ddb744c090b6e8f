"""How a list decides now, and the console's sentences about it: every page that says who may call asks here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cidrgate.rules.decisions import enforced, has_list
from cidrgate.service.console.formatting import utc_text

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from cidrgate.values import Account, Decision, Entry, Mode

__all__ = ["Standing"]

_MODES: Final[dict[Mode, str]] = {"off": "is paused", "report_only": "only reports"}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a list means at a moment for addresses that it does not cover.

    Attributes:
        enforced: Whether they are denied.
        listed: Whether they are denied whenever the mode is `enforce`: the list has an entry, or is closed.
        mode: The mode that counts.
        until: When that mode ends; None for never.
    """

    enforced: bool
    listed: bool
    mode: Mode
    until: datetime | None

    @classmethod
    def of(cls, owner: Account, entries: Collection[Entry], at: datetime) -> Self:
        """Return what a list means.

        Args:
            owner: The account whose list it is.
            entries: The whole list, including expired entries.
            at: The moment, with a time zone.
        """
        mode = owner.mode_at(at)
        until = owner.mode_until if mode == owner.mode else None
        return cls(enforced(entries, owner, at), has_list(entries, owner), mode, until)

    @property
    def why_open(self) -> str:
        """Why addresses that are not covered are allowed, if they are: what follows the name of the list.

        Example:
            >>> Standing(False, True, "off", None).why_open, Standing(False, False, "enforce", None).why_open
            ('is paused', 'is empty, so it is not enforced')
        """
        if self.mode == "enforce":
            return "is empty, so it is not enforced"
        return f"{'' if self.listed else 'is empty, and '}{self._mode_words}"

    @property
    def _mode_words(self) -> str:
        return f"{_MODES[self.mode]}{'' if self.until is None else f' until {utc_text(self.until)}'}"

    def of_uncovered(self, decision: Decision) -> str:
        """Return what a page says to a person whose own address no entry covers.

        Args:
            decision: The decision about the address.
        """
        if not decision.allowed:
            nearest = "" if decision.nearest is None else f"; the closest entry is {decision.nearest.cidr}"
            return f"Calls from it are denied{nearest}."
        if self.listed:
            return (
                f"It is allowed only because the list {self.why_open}; once it is enforced, calls from it are denied."
            )
        if self.mode == "enforce":
            return (
                "It is allowed only because the list is empty; with the first entry you would lock yourself out unless "
                "that entry covers you."
            )
        return (
            f"It is allowed because the list {self.why_open}; once it is enforced, with the first entry you would lock "
            "yourself out unless that entry covers you."
        )

    def of_empty(self) -> str:
        """Return what a page says of a list without entries."""
        if self.enforced:
            return "The list is closed: calls from every address get 403 Forbidden, until an entry covers the address."
        open_now = "Every address may call for this account now."
        if self.mode == "enforce":
            return f"{open_now} With the first entry, calls from all other addresses get 403 Forbidden."
        later = "it denies every address" if self.listed else "it denies all other addresses from the first entry on"
        return f"{open_now} The list {self._mode_words}; once it is enforced, {later}."
