"""Changes of the mode of a list: whether it is enforced, only reports, or is paused, and until when.

A change of the mode is a change like others: it has guards, a version, and a row of the change log, whose details say
what was set before and after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cidrgate.errors import InvalidExpiryError
from cidrgate.manager.changes import check_expiry
from cidrgate.manager.outcomes import Guard
from cidrgate.rules.characters import checked_text
from cidrgate.values import MODES, Mode, in_utc, seconds, truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cidrgate.manager.changes import Listing
    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.stores import StoredAccount, StoredChange
    from cidrgate.values import Account, Action, Duration

__all__ = [
    "DEFAULT_SETTINGS",
    "ModeSetting",
    "closing_change",
    "consequence_of",
    "consequences",
    "end_after",
    "end_of_mode",
    "has_expired",
    "mode_change",
    "mode_setting",
    "parents_settings",
    "settings_change",
    "settings_of",
    "settings_record",
]


DEFAULT_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"mode": "enforce", "mode_until": None, "mode_reason": None, "closed": False}
)
"""The columns of a mode, with their values in an account for which nobody has set one."""


@dataclass(frozen=True, slots=True)
class ModeSetting:
    """What somebody sets of an account besides its entries.

    Attributes:
        mode: The mode.
        until: When the mode expires; None for never.
        reason: Why, or None.
        closed: Whether the list is enforced even while it is empty; None for no change.
    """

    mode: Mode
    until: datetime | None = None
    reason: str | None = None
    closed: bool | None = None


def mode_setting(mode: Mode, until: datetime | None, reason: str | None, closed: bool | None) -> ModeSetting:
    """Check what somebody sets, as far as it does not depend on the account.

    Raises:
        TypeError: If an argument has another type.
        ValueError: If the mode is an unknown word.
        InvalidTextError: If the reason is too long, or contains an invisible character.
        InvalidExpiryError: If `until` is out of range in UTC, or the mode is `enforce`, which has no end.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be 'enforce', 'report_only' or 'off', not {mode!r}")
    if mode == "enforce" and until is not None:
        raise InvalidExpiryError(
            "the mode enforce has no end: leave out until, or set report_only or off",
            expires_at=in_utc(until, "until"),
        )
    if closed is not None:
        truth(closed, "closed")
    return ModeSetting(mode, None if until is None else in_utc(until, "until"), checked_text(reason, "reason"), closed)


def mode_change(listing: Listing, setting: ModeSetting) -> StoredChange:
    """Return the change that sets the mode of a list; an account that is set so already is not changed.

    Raises:
        InvalidExpiryError: If `until` is in the past or has no time zone.
    """
    check_expiry(setting.until, listing.at, name="until")
    settings: dict[str, Any] = {
        "mode": setting.mode,
        "mode_until": setting.until,
        "mode_reason": setting.reason,
        "closed": listing.owner.closed if setting.closed is None else setting.closed,
    }
    return settings_change(listing, "set_mode", settings)


def closing_change(listing: Listing) -> StoredChange:
    """Return the change that closes an account and leaves the mode that it has at that time."""
    owner = listing.owner
    if owner.value().mode_at(listing.at) == "enforce":
        return mode_change(listing, ModeSetting("enforce", closed=True))
    return mode_change(listing, ModeSetting(owner.mode, owner.mode_until, owner.mode_reason, closed=True))


def end_after(duration: Duration) -> datetime:
    """Return the time at which something ends that begins now.

    Raises:
        TypeError: If the duration is neither a number of seconds nor a `timedelta`.
        ValueError: If it is not above zero.
        InvalidExpiryError: If the end is too far from now to be a time.
    """
    length = seconds(duration, "for_", above_zero=True)
    now = datetime.now(UTC)
    try:
        return now + timedelta(seconds=length)
    except OverflowError:
        raise InvalidExpiryError(f"{length:g} seconds from now is out of range: choose an earlier end") from None


def consequences(outcome: ListOutcome) -> dict[Guard, str]:
    """Return what a change of the settings of an account does, for the guards whose usual words do not say it."""
    said = consequence_of(outcome.account_before, outcome.account)
    return {} if said is None else {Guard.DISABLE_ENFORCEMENT: said}


def consequence_of(was: Account, now: Account) -> str | None:
    """Return what new settings of an account do that end its enforcement; None if the settings stay."""
    if (was.mode, was.mode_until, was.closed) == (now.mode, now.mode_until, now.closed):
        return None
    what = "if it is not closed" if now.mode == "enforce" else f"in the mode {now.mode}"
    if now.mode != "enforce" and now.mode_until is not None:
        what = f"until {now.mode_until.isoformat(timespec='seconds')}, {what}"
    return f"{what} account {now.name!r} would not be enforced: every address would be allowed"


def has_expired(owner: StoredAccount, at: datetime) -> bool:
    """Return whether an account has a mode that has expired at a time and is still stored."""
    return owner.mode_until is not None and owner.mode_until <= at


def end_of_mode(listing: Listing) -> StoredChange:
    """Return the change that stores the end of a mode that has expired by all clocks; without one, nothing changes."""
    if not has_expired(listing.owner, listing.at if listing.certain is None else listing.certain):
        return listing.change("expire")
    return settings_change(listing, "expire", {"mode": "enforce", "mode_until": None, "mode_reason": None})


def settings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings from their JSON object in the details of a change.

    Example:
        >>> settings_of({"mode": "off", "mode_until": "2027-01-31T18:00:00+00:00"})["mode_until"].year
        2027
    """
    found = {name: record[name] for name in (*DEFAULT_SETTINGS, "display_name", "policy") if name in record}
    if isinstance(found.get("mode_until"), str):
        found["mode_until"] = datetime.fromisoformat(found["mode_until"])
    return found


def settings_change(listing: Listing, action: Action, settings: dict[str, Any]) -> StoredChange:
    """Return the change of those settings that differ, with a JSON object of all of them before and after."""
    owner = listing.owner
    if all(getattr(owner, name) == value for name, value in settings.items()):
        return listing.change(action)
    before = {name: getattr(owner, name) for name in settings}
    details = {"before": settings_record(before), "after": settings_record(settings)}
    return replace(listing.change(action), details=details, settings=settings)


def parents_settings(owner: StoredAccount) -> dict[str, Any]:
    """Return the settings that an account changes when it becomes a subaccount: its parent's mode counts then."""
    return {name: value for name, value in DEFAULT_SETTINGS.items() if getattr(owner, name) != value}


def settings_record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON, for the change log."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in settings.items()}
