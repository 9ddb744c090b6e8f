"""What has expired takes effect in a matcher: entries no longer match, and lists are enforced again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from cidrgate.errors import SnapshotError
from cidrgate.expiry.snapshot_notes import UNREADABLE, OtherContentError, read_expired

if TYPE_CHECKING:
    from cidrgate._engine import Matcher
    from cidrgate.expiry.schedule import ExpirySchedule
    from cidrgate.values import Mode

__all__ = ["ModeChange", "remove_expired", "remove_expired_of_snapshot"]


class ModeChange(NamedTuple):
    """A mode that a list had, and the one that it has now, perhaps until a time."""

    account: str
    before: Mode
    mode: Mode
    until: datetime | None


def remove_expired(
    matcher: Matcher, schedule: ExpirySchedule, at: datetime, changed: list[ModeChange]
) -> Exception | None:
    """Remove the entries from a matcher that have expired at a time, and enforce the lists whose mode has expired.

    An account that cannot be published keeps no other account waiting, and stays due.

    Args:
        matcher: The matcher.
        schedule: The expiry times of its entries.
        at: The time.
        changed: Where to add the modes that change.

    Returns:
        The first error, once all accounts were tried.
    """
    failed: Exception | None = None
    for account in schedule.due(at):
        try:
            listed = matcher.prefixes(account)
            active = schedule.active(account, listed, at)
            mode = before = matcher.mode(account)
            if before != "enforce" and schedule.mode_has_expired(account, at):
                mode = "enforce"
            if mode != before or len(active) < len(listed):
                matcher.publish(account, active, when_empty=matcher._when_empty(account), mode=mode)
        except Exception as error:  # noqa: BLE001
            failed = failed or error
        else:
            schedule.settle(account, at)
            if mode != before:
                changed.append(ModeChange(account, before, mode, None))
    return failed


def remove_expired_of_snapshot(matcher: Matcher, path: str) -> None:
    """Remove from a matcher that was just opened what has expired by now, according to the note in its file.

    Nothing is published for accounts of which nothing has expired.

    Args:
        matcher: The matcher.
        path: The file, for errors.

    Raises:
        SnapshotError: If the note is that of a manager, and cannot be read.
    """
    at = datetime.now(UTC)
    try:
        schedule = read_expired(matcher.note, at)
    except OtherContentError:
        raise SnapshotError(
            f"{path!r} was written by another version of cidrgate, and its expiry times cannot be read: "
            "write it again with `cidrgate compile`"
        ) from None
    except UNREADABLE as error:
        raise SnapshotError(
            f"the expiry times in {path!r} cannot be read: write it again with `cidrgate compile`"
        ) from error
    for account in list(schedule.expiries()):
        # A change that was published while the file was written can be in it.
        if account not in matcher or matcher._parent_of(account) is not None:
            schedule.put(account, {})
    failed = remove_expired(matcher, schedule, at, [])
    if failed is not None:
        raise failed
