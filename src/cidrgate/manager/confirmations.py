"""Guards, which refuse a dangerous change until the caller confirms it.

Each guard has a name, and a confirmation names a guard: so a confirmation given today does not confirm a guard that is
added later. `RuleManager` checks the guards for every change of a list, from every edge, in the transaction of the
change. An edge only says how its callers confirm.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from cidrgate.errors import (
    WouldAddWideEntryError,
    WouldDisableEnforcementError,
    WouldLockOutCallerError,
    WouldUseOtherListError,
    confirming,
)
from cidrgate.manager.outcomes import Guard
from cidrgate.manager.previews import locks_out
from cidrgate.rules.decisions import has_list
from cidrgate.rules.limits import some_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cidrgate.errors import Confirmation, UnconfirmedChangeError
    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.rules import Policy
    from cidrgate.values import Account, Entry

__all__ = [
    "disables_enforcement",
    "guards_met",
    "named_guards",
    "refuse_unconfirmed",
    "unconfirmed",
    "wide_consequence",
    "with_wide",
]


def named_guards(names: Iterable[str]) -> frozenset[Guard]:
    """Return the guards with these names.

    Raises:
        ValueError: If a name is not a guard. The message names all guards.

    Example:
        >>> sorted(named_guards(["lock_out"]))
        [<Guard.LOCK_OUT: 'lock_out'>]
        >>> named_guards(["yes"])
        Traceback (most recent call last):
        ...
        ValueError: 'yes' confirms nothing: name disable_enforcement or lock_out or other_list or wide_entry
    """
    if isinstance(names, str):
        raise TypeError(f"pass the names of confirmations as a collection, such as {{{names!r}}}")
    found = set()
    for name in names:
        if name not in tuple(Guard):
            raise ValueError(f"{name!r} confirms nothing: name {' or '.join(Guard)}")
        found.add(Guard(name))
    return frozenset(found)


def disables_enforcement(
    before: Collection[Entry], after: Collection[object], at: datetime, *, was: Account, now: Account
) -> bool:
    """Return whether a list that is enforced now or later would not be enforced after a change, or only later.

    The state at this moment is not enough: during a pause, a change could make its end come later or mean nothing.

    Args:
        before: The whole list before the change, including expired entries.
        after: The whole list after the change, including expired entries.
        at: The time of the change, with a time zone.
        was: The account before the change.
        now: The account after the change.
    """
    if not has_list(before, was):
        return False
    return not has_list(after, now) or _enforced_from(now, at) > _enforced_from(was, at)


def _enforced_from(account: Account, at: datetime) -> datetime:
    """Return from when on the list of an account is enforced, if it has one; the last of all times for never."""
    if account.mode_at(at) == "enforce":
        return at
    return _NEVER if account.mode_until is None else account.mode_until


_NEVER = datetime.max.replace(tzinfo=UTC)


def guards_met(outcome: ListOutcome, address: str | None, at: datetime) -> tuple[Guard, ...]:
    """Return the guards that a change meets, each of which needs a confirmation.

    Args:
        outcome: The outcome of the change.
        address: The caller's address; None if it is unknown, and then no change is a lock-out.
        at: The time of the change, with a time zone.
    """
    met = []
    if disables_enforcement(outcome.before, outcome.after, at, was=outcome.account_before, now=outcome.decider):
        met.append(Guard.DISABLE_ENFORCEMENT)
    if locks_out(outcome, address, at) is not None:
        met.append(Guard.LOCK_OUT)
    return tuple(met)


def with_wide(outcome: ListOutcome, policy: Policy) -> ListOutcome:
    """Return an outcome that meets the guard of wide entries too, if the change lists some that were not listed."""
    listed = {entry.cidr for entry in outcome.before}
    wide = policy.wider(entry.cidr for entry in outcome.change.after if entry.cidr not in listed)
    if not wide:
        return outcome
    return replace(
        outcome,
        confirm=(*outcome.confirm, Guard.WIDE_ENTRY),
        consequences={**outcome.consequences, Guard.WIDE_ENTRY: wide_consequence(wide, policy)},
        wide=tuple(wide),
    )


def wide_consequence(wide: Sequence[str], policy: Policy) -> str:
    """Return what a change does that lists wide networks."""
    families = [
        f"{family} /{length}"
        for family, length, sign in (("IPv4", policy.widest_ipv4, "."), ("IPv6", policy.widest_ipv6, ":"))
        if any(sign in cidr for cidr in wide)
    ]
    verb = "is" if len(wide) == 1 else "are"
    named, limits = some_of(list(wide), _MOST_NAMED), " and ".join(families)
    return f"{named} {verb} wider than the widest network that the policy lists without a confirmation, {limits}"


_MOST_NAMED = 20
"""How many networks a message names."""


def refuse_unconfirmed(outcome: ListOutcome, address: str | None, confirmed: Collection[Guard]) -> None:
    """Refuse a change that meets an unconfirmed guard.

    Args:
        outcome: The outcome of the change, with the guards that it meets.
        address: The caller's address; None if it is unknown.
        confirmed: The confirmed guards.

    Raises:
        UnconfirmedChangeError: The subclass for the first unconfirmed guard. The error names every confirmation that
            the change needs.
    """
    for guard in outcome.confirm:
        if guard not in confirmed:
            account = outcome.account.name if outcome.former_name is None else outcome.former_name
            raise unconfirmed(guard, account, address, outcome.confirm, outcome.consequences.get(guard), outcome.wide)


def unconfirmed(
    guard: Guard,
    account: str,
    address: str | None = None,
    needed: Iterable[Guard] = (),
    consequence: str | None = None,
    networks: Iterable[str] = (),
) -> UnconfirmedChangeError:
    """Return the error of an unconfirmed guard.

    Args:
        guard: The guard.
        account: The account whose list changes, by the name that it has before the change.
        address: The caller's address.
        needed: Every guard that the change meets; only this guard if empty.
        consequence: What the change would do; None for the usual words of the guard.
        networks: The networks that are wider than the policy allows.
    """
    confirm = cast("list[Confirmation]", [str(one) for one in needed] or [str(guard)])
    if guard is Guard.DISABLE_ENFORCEMENT and consequence is not None:
        way = confirming(confirm)
        return WouldDisableEnforcementError(account=account, confirm=confirm, consequence=consequence, way=way)
    if guard is Guard.DISABLE_ENFORCEMENT:
        return WouldDisableEnforcementError(account=account, confirm=confirm)
    if guard is Guard.OTHER_LIST:
        return WouldUseOtherListError(account=account, consequence=str(consequence), confirm=confirm)
    if guard is Guard.WIDE_ENTRY:
        return WouldAddWideEntryError(account=account, networks=networks, consequence=str(consequence), confirm=confirm)
    return WouldLockOutCallerError(account=account, address=str(address), confirm=confirm)
