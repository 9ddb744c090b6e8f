"""Evaluations of changes: the lists before and after a change, and the traffic of every account that has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cidrgate.errors import NoTrafficError
from cidrgate.foresight.evaluation import ChangedList, PastTraffic, Unknown, allowed_networks, evaluate, first_day
from cidrgate.foresight.later import Listed, alters_later
from cidrgate.foresight.sentences import Sentence, sentences
from cidrgate.manager.queries import former_names
from cidrgate.serialization import evaluation_record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from typing import TypeAlias

    from cidrgate.foresight.evaluation import Evaluation, UnaddressedRequests
    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.stores import Store, Transaction
    from cidrgate.values import Observation

    PastRequest: TypeAlias = Observation | UnaddressedRequests
    GivenObservations: TypeAlias = Iterable[Observation] | Callable[[Collection[str]], Iterable[PastRequest]]
    """Observations to evaluate instead of the stored traffic, or what returns all past requests of some accounts."""

__all__ = [
    "Foresight",
    "GivenObservations",
    "changed_list",
    "changed_lists",
    "collector",
    "evaluation_of",
    "foresight_of",
    "former_requests",
    "inherited_lists",
]

_LISTS_A_PART = 500
"""Of how many lists the traffic is read in one transaction."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What previews and dry runs say of the requests of the past: an evaluation, or the reason why there is none.

    Attributes:
        evaluation: The evaluation, or None.
        missing: Why there is no evaluation, or None.
        busy: Whether the reason is that other questions are being answered, so that it can be asked again.
    """

    evaluation: Evaluation | None = None
    missing: str | None = None
    busy: bool = False

    @property
    def denies(self) -> bool:
        """Whether observed requests would be denied that are allowed now, or some of them."""
        found = self.evaluation
        kinds = () if found is None else (found.newly_denied, found.partly_denied, found.denied_if_unlisted)
        return any(one.requests for one in kinds)

    def sentences(self) -> list[Sentence]:
        """Return what people read: the words of the evaluation, or the reason why there is none."""
        if self.evaluation is None:
            return [] if self.missing is None else [Sentence(self.missing, "unknown")]
        return list(sentences(self.evaluation))

    def record(self) -> dict[str, Any]:
        """Return the JSON members that the API and the command line say it with."""
        found = None if self.evaluation is None else evaluation_record(self.evaluation)
        return {"evaluation": found, "evaluation_missing": self.missing}


def foresight_of(
    store: Store, changes: Sequence[ChangedList], days: int = 30, observations: GivenObservations | None = None
) -> Foresight:
    """Return what tried changes would do to the requests of the past, as far as traffic is stored.

    Args:
        store: The store of the lists and of their traffic.
        changes: The changed lists.
        days: How many days in UTC to look back, with today.
        observations: What to evaluate instead of the stored traffic.

    Raises:
        StoreError: If the store cannot be read.
    """
    try:
        return Foresight(evaluation_of(store, changes, at=datetime.now(UTC), days=days, observations=observations))
    except NoTrafficError as error:
        return Foresight(missing=str(error))


def changed_lists(outcomes: Iterable[ListOutcome]) -> list[ChangedList]:
    """Return what lists allow now and after changes."""
    changes: list[ChangedList] = []
    collect = collector(changes)
    for outcome in outcomes:
        collect(outcome)
    return changes


def collector(changes: list[ChangedList]) -> Callable[[ListOutcome], None]:
    """Return a hook that appends what each tried change does to its list, which takes less memory than outcomes."""
    at = datetime.now(UTC)
    last: ListOutcome | None = None

    def collect(outcome: ListOutcome) -> None:
        nonlocal last
        if last is not None and _siblings(last, outcome):
            changes.append(replace(changes[-1], accounts=(outcome.account.name,)))
        else:
            changes.append(changed_list(outcome, at))
        last = outcome

    return collect


def _siblings(one: ListOutcome, other: ListOutcome) -> bool:
    """Return whether two outcomes create subaccounts of one parent, which can be many with one long list."""
    return one.created and other.created and one.parent is not None and one.after is other.after


def changed_list(outcome: ListOutcome, at: datetime) -> ChangedList:
    """Return what a list allows before and after a change. Its accounts are only the one that changes, by its old name.

    Args:
        outcome: The outcome of the change.
        at: The time at which entries match or not, with a time zone.
    """
    name, former = outcome.account.name, outcome.former_name
    before: Listed = ([], None) if outcome.created else (outcome.before, outcome.account_before)
    after: Listed = (outcome.after, outcome.decider)
    return ChangedList(
        accounts=(name if former is None else former,),
        before=None if outcome.created else allowed_networks(outcome.before, outcome.account_before, at),
        after=allowed_networks(outcome.after, outcome.decider, at),
        later=not outcome.deleted and alters_later(before, after, at),
        deleted=outcome.deleted,
        created=outcome.created,
        renamed_to=None if former is None or former == name else name,
    )


def inherited_lists(changes: Mapping[str, ChangedList], parents: Mapping[str, str]) -> list[ChangedList]:
    """Return the lists of several changes, of which each was tried alone, as they are after all of them.

    An account that one of them creates, moves or edits inherits the list as another one changes it.

    Args:
        changes: The changed lists by account.
        parents: The parents, after their changes, of those accounts that have one.
    """
    found = []
    for name, one in changes.items():
        parent = changes.get(parents.get(name, ""))
        if parent is not None and not parent.deleted and not _same(one.after, parent.after):
            # When the addresses of the two lists end was compared without the other change, so it counts as altered.
            one = replace(one, after=parent.after, later=True)
        found.append(one)
    return found


def evaluation_of(
    store: Store,
    changes: Sequence[ChangedList],
    *,
    at: datetime,
    days: int = 30,
    account: str | None = None,
    observations: GivenObservations | None = None,
) -> Evaluation:
    """Return what changes of lists would do to the requests of every account that has one of these lists.

    A list that allows the same networks before and after a change is left out, unless the change creates its account:
    it needs no traffic to know that every request would be decided as it is now. Of a renamed account only the requests
    with the old name, and given observations with the new one, count then.

    Args:
        store: The store of the lists and of their traffic.
        changes: The changed lists, from `changed_list`.
        at: The time of the evaluation, with a time zone.
        days: How many days in UTC to look back, with that of `at`; without meaning for given observations.
        account: Only the requests of this account, and of its subaccounts if it has any; None for all.
        observations: What to evaluate instead of the stored traffic.

    Raises:
        NoTrafficError: If no traffic is stored, and no observations are given.
        StoreError: If the store cannot be read.
    """
    found = _evaluation_of_now(store, changes, at, days, account, observations)
    own = _names(changes)
    later = [one for one in changes if one.later]
    return _with_later(found, [one.accounts[0] for _, part in _in_parts(store, later, account, own) for one in part])


def _names(changes: Iterable[ChangedList]) -> frozenset[str]:
    return frozenset(one.accounts[0] for one in changes)


def _with_later(evaluation: Evaluation, accounts: Sequence[str]) -> Evaluation:
    """Return an evaluation that says of which lists more changes than what is decided now."""
    if not accounts:
        return evaluation
    which = f"account {accounts[0]!r}" if len(accounts) == 1 else f"{len(accounts):,} accounts"
    text = f"what is decided for {which} once the mode of a list or an entry ends, as the change alters that too"
    return replace(evaluation, unknown=(*evaluation.unknown, Unknown(code="later", text=text)))


def _evaluation_of_now(
    store: Store,
    changes: Sequence[ChangedList],
    at: datetime,
    days: int,
    account: str | None,
    observations: GivenObservations | None,
) -> Evaluation:
    altered = [
        one for one in changes if one.created or one.deleted or one.renamed_to or not _same(one.before, one.after)
    ]
    own = _names(changes)
    if not altered:
        return evaluate([], at=at, days=days if observations is None else None)
    if observations is not None:
        former = _Former()
        return former.told(evaluate(_given(store, altered, account, own, observations, former), at=at))
    from cidrgate.stores.observations import first_observed  # it needs SQLAlchemy

    with store.read() as transaction:
        begun = first_observed(transaction)
    if begun is None:
        raise NoTrafficError(_NOT_RECORDED)
    return evaluate(_stored(store, altered, account, own, begun, first_day(at, days)), at=at, days=days)


class _Former:
    """The requests with former names of accounts in given observations. Recorded traffic follows each renaming.

    Attributes:
        names: The former names, each with the present one.
        requests: How many requests each of them has.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.requests: Counter[str] = Counter()

    def told(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation that says that these requests do not count."""
        if not self.requests:
            return evaluation
        text = f"what the change does to {former_requests(self.names, self.requests)}, which do not count"
        return replace(evaluation, unknown=(*evaluation.unknown, Unknown(code="former_name", text=text)))


def former_requests(names: Mapping[str, str], requests: Mapping[str, int]) -> str:
    """Return how many requests have former names of accounts.

    Args:
        names: The former names, each with the present one.
        requests: How many requests each of them has, of those that have some.

    Example:
        >>> former_requests({"old": "new"}, {"old": 3})
        "3 requests with 'old', a former name of account 'new'"
    """
    count = sum(requests.values())
    first = next(iter(requests))
    which = (
        f"{first!r}, a former name of account {names[first]!r}"
        if len(requests) == 1
        else f"{len(requests):,} former names of accounts"
    )
    return f"{count:,} {'request' if count == 1 else 'requests'} with {which}"


_NOT_RECORDED = (
    "no traffic is stored, so it is not known who calls: start the processes that decide with --traffic addresses "
    "or --traffic networks"
)


def _same(before: Collection[str] | None, after: Collection[str] | None) -> bool:
    if before is None or after is None:
        return before is after
    return set(before) == set(after)


def _stored(
    store: Store,
    changes: Sequence[ChangedList],
    account: str | None,
    own: Collection[str],
    begun: datetime,
    since: date,
) -> Iterator[tuple[ChangedList, PastTraffic]]:
    """Yield the changed lists with the stored observations of their accounts."""
    from cidrgate.stores.incomplete_days import accounts_with_incomplete_days
    from cidrgate.stores.observations import observations_of_family

    for transaction, part in _in_parts(store, changes, account, own):
        owners = transaction.accounts_named([name for one in part for name in one.accounts[:1]])
        incomplete = frozenset(accounts_with_incomplete_days(transaction, owners.values(), since))
        for one in part:
            owner = owners.get(one.accounts[0])
            seen = [] if owner is None else observations_of_family(transaction, owner, since)
            yield one, PastTraffic(seen, since=begun, incomplete=incomplete, recorded=True)


def _given(
    store: Store,
    changes: Sequence[ChangedList],
    account: str | None,
    own: Collection[str],
    observations: GivenObservations,
    former: _Former,
) -> Iterator[tuple[ChangedList, PastTraffic]]:
    """Yield the changed lists with those of the observations that are of their accounts."""
    lists = [one for _, part in _in_parts(store, changes, account, own) for one in part]
    of_account: dict[str, list[PastRequest]] = {name: [] for one in lists for name in one.accounts}
    of_account |= {one.renamed_to: [] for one in lists if one.renamed_to is not None}
    with store.read() as transaction:
        former.names = former_names(transaction, (name for one in lists if not one.created for name in one.accounts))
        former.names = {name: one for name, one in former.names.items() if name not in of_account}
    asked = {*of_account, *former.names}
    for observation in observations(asked) if callable(observations) else observations:
        if observation.account in former.names:
            former.requests[observation.account] += observation.requests
            continue
        found = of_account.get(observation.account)
        if found is not None:
            found.append(observation)
    for one in lists:
        yield one, PastTraffic([observation for name in one.accounts for observation in of_account.pop(name, ())])
        if one.renamed_to is not None and (seen := of_account.pop(one.renamed_to, None)):
            named = replace(one, accounts=(one.renamed_to,), before=None, created=True, renamed_to=None)
            yield named, PastTraffic(seen)


def _in_parts(
    store: Store, changes: Sequence[ChangedList], account: str | None, own: Collection[str]
) -> Iterator[tuple[Transaction, list[ChangedList]]]:
    """Yield the changed lists with every account that has them, or with the one that is asked for."""
    for first in range(0, len(changes), _LISTS_A_PART):
        with store.read() as transaction:
            part = changes[first : first + _LISTS_A_PART]
            yield transaction, list(_with_subaccounts(transaction, part, account, own))


def _with_subaccounts(
    transaction: Transaction, changes: Sequence[ChangedList], account: str | None, own: Collection[str]
) -> Iterator[ChangedList]:
    """Yield changed lists with the subaccounts that have them: those for which the change says nothing else."""
    subaccounts = transaction.subaccounts_of([name for one in changes for name in one.accounts])
    for one in changes:
        [owner] = one.accounts
        names = (owner, *(name for name in subaccounts.get(owner, ()) if name not in own))
        if one.renamed_to is not None and _same(one.before, one.after):
            names = (owner,)  # its subaccounts keep their names and the list
        if account is None or account == owner:
            yield replace(one, accounts=names)
        elif account in names:
            yield replace(one, accounts=(account,))
