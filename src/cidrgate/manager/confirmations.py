"""The guards: what a change may do only when somebody has said that it shall.

Each has a name, and a confirmation names the guard that it answers: one that was given for the guards of today says
nothing about a guard of tomorrow. `RuleManager` asks here for every change of a list, in the transaction that makes it,
whichever edge it comes from; an edge only says how its callers confirm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import WouldDisableEnforcementError, WouldLockOutCallerError
from cidrgate.manager.outcomes import Guard
from cidrgate.manager.previews import locks_out
from cidrgate.rules.decisions import enforced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from cidrgate.errors import UnconfirmedChangeError
    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.values import Entry

__all__ = ["disables_enforcement", "guards_met", "named_guards", "refuse_unconfirmed", "unconfirmed"]


def named_guards(names: Iterable[str]) -> frozenset[Guard]:
    """The guards of these names.

    Raises:
        ValueError: If one is no guard; says which there are.

    Example:
        >>> sorted(named_guards(["lock_out"]))
        [<Guard.LOCK_OUT: 'lock_out'>]
        >>> named_guards(["yes"])
        Traceback (most recent call last):
        ...
        ValueError: 'yes' confirms nothing: name disable_enforcement or lock_out
    """
    if isinstance(names, str):
        raise TypeError(f"give the names of confirmations as a collection, such as {{{names!r}}}")
    found = set()
    for name in names:
        if name not in tuple(Guard):
            raise ValueError(f"{name!r} confirms nothing: name {' or '.join(Guard)}")
        found.add(Guard(name))
    return frozenset(found)


def disables_enforcement(before: Collection[Entry], after: Collection[object]) -> bool:
    """Whether a list is enforced before a change and not after it.

    Args:
        before: The whole list, expired entries too.
        after: The same.
    """
    return enforced(before) and not enforced(after)


def guards_met(outcome: ListOutcome, address: str | None, at: datetime) -> tuple[Guard, ...]:
    """What a change must be confirmed for.

    Args:
        outcome: What it comes to.
        address: Where the caller is; None if that is not known, which then cannot be judged.
        at: The time of the change; aware.
    """
    met = []
    if disables_enforcement(outcome.before, outcome.after):
        met.append(Guard.DISABLE_ENFORCEMENT)
    if locks_out(outcome, address, at) is not None:
        met.append(Guard.LOCK_OUT)
    return tuple(met)


def refuse_unconfirmed(outcome: ListOutcome, address: str | None, confirmed: Collection[Guard]) -> None:
    """Refuse a change that meets a guard nobody has confirmed.

    Args:
        outcome: What the change comes to, with the guards it meets.
        address: Where the caller is; None if that is not known.
        confirmed: What was confirmed.

    Raises:
        UnconfirmedChangeError: The kind of the first guard that was not; names every confirmation the change needs.
    """
    for guard in outcome.confirm:
        if guard not in confirmed:
            raise unconfirmed(guard, outcome.account.name, address, outcome.confirm)


def unconfirmed(
    guard: Guard, account: str, address: str | None = None, needed: Iterable[Guard] = ()
) -> UnconfirmedChangeError:
    """The error of a guard that was not confirmed.

    Args:
        guard: The guard.
        account: Whose list the change is of.
        address: Where the caller is.
        needed: Every guard the change meets; this one alone if none is given.
    """
    confirm = [str(one) for one in needed] or [str(guard)]
    if guard is Guard.DISABLE_ENFORCEMENT:
        return WouldDisableEnforcementError(account, confirm)
    return WouldLockOutCallerError(account, str(address), confirm)
