"""`cidrgate history`: what changed, when, who did it, and from where; `cidrgate prune` deletes old rows."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cidrgate.cli.arguments import CURSOR_HELP, DryRun, Limit, Yes
from cidrgate.cli.confirming import confirm
from cidrgate.cli.durations import duration, moment
from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY, Table, a_page, counted, value_text
from cidrgate.cli.suggestions import suggested
from cidrgate.errors import AccountNotFoundError
from cidrgate.manager import RuleManager
from cidrgate.serialization import change_record
from cidrgate.values import DETAILS, Account, Change, Detail, Entry

__all__ = ["app", "described", "said_of"]

app = typer.Typer()


@command(app, "history")
def _history(
    session: Session,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="The account; not with --all.")] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="All accounts, and events of the store such as sign-ins.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="Only from then on: a time, or how long ago, such as 2h or 7d."),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option("--after", metavar="SEQUENCE", min=0, help="Only changes with a greater sequence."),
    ] = None,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="SEQUENCE", min=1, help="Only changes with a smaller sequence."),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Show changes as they are committed, the oldest first, until interrupted."),
    ] = False,
    limit: Limit = None,
    cursor: Annotated[int | None, typer.Option("--cursor", metavar="CURSOR", min=1, help=CURSOR_HELP)] = None,
) -> None:
    """Show the changes of an account's list or of all accounts, the newest first: who, when, and from where.

    With --follow it begins with the next change, unless --since or --after says where. With --json it then prints a
    line for each change; to continue later, give the sequence of the last one as --after.
    """
    if (account is None) != everything:
        raise CommandError("name the account, or use --all for all accounts")
    if follow and before is not None:
        raise CommandError("--follow shows what comes next: leave out --before")
    if follow and (limit is not None or cursor is not None):
        raise CommandError("--follow has no pages: leave out --limit and --cursor")
    start = None if since is None else _moment(since)
    with session.open() as manager:
        parent = None if account is None else next((one.parent for one in _accounts(manager, account)), None)
        if follow:
            _follow(session, manager, account, start, after)
            return
        begin = _sequence_before(manager, start, after)
        end = min((number for number in (before, cursor) if number is not None), default=None)
        found = manager.history(account, limit=None if limit is None else limit + 1, before=end, after=begin)
    shown, following = a_page([change for change in found if _is_since(change, start)], limit)
    rows = [
        (
            f"{change.sequence}",
            value_text(change.at),
            _by(change),
            *([change.account or ""] if everything else []),
            change.action,
            described(change),
            _from(change),
        )
        for change in shown
    ]
    columns = ("sequence", "at (UTC)", "by", *(["account"] if everything else []), "action", "change", "from")
    inherited = []
    if parent is not None:
        inherited = [f"{account} inherits its list: see `{suggested('history', parent)}` for changes of the list"]
    session.output.answer(
        {
            "account": account,
            "items": [change_record(change) for change in shown],
            "next_cursor": None if following is None else str(following.sequence),
        },
        Table(columns, rows, right=frozenset({"sequence"})),
        *inherited,
    )


def _follow(
    session: Session, manager: RuleManager, account: str | None, since: datetime | None, after: int | None
) -> None:
    begin = None if since is None and after is None else _sequence_before(manager, since, after)
    with closing(manager.follow_changes(after=begin)) as changes:
        for change in changes:
            if account in (None, change.account) and _is_since(change, since):
                parts = (
                    f"{change.sequence}",
                    value_text(change.at),
                    _by(change),
                    change.account or "",
                    change.action,
                    described(change),
                    _from(change),
                )
                session.output.answer(change_record(change), "  ".join(part for part in parts if part))


def _moment(text: str) -> datetime:
    """Return a time that was written as such, or as how long ago it is."""
    if text[-1:].isalpha() and text[:1].isdecimal() and "-" not in text:
        return datetime.now(UTC) - min(duration(text), _LONGEST_AGO)
    found = moment(text)
    try:
        return found.replace(tzinfo=UTC) if found.utcoffset() is None else found.astimezone(UTC)
    except OverflowError:
        raise CommandError(f"{text!r} is out of range in UTC; write a time such as 2027-01-31T18:00+00:00") from None


_LONGEST_AGO = timedelta(days=18_250)


def _sequence_before(manager: RuleManager, since: datetime | None, after: int | None) -> int:
    """Return the sequence after which the wanted changes begin."""
    return max(after or 0, 0 if since is None else manager._sequence_before(since))


def _is_since(change: Change, since: datetime | None) -> bool:
    return since is None or change.at >= since


def _by(change: Change) -> str:
    """Return who made a change, and for whom."""
    person = None if change.origin is None else change.origin.on_behalf_of
    return " ".join([change.actor or "", *([] if person is None else [f"for {person}"])]).strip()


def _from(change: Change) -> str:
    """Return how the actor is known, and the address from which the change came."""
    if change.origin is None:
        return ""
    known = " ".join(part for part in (change.origin.kind, change.origin.id) if part)
    return known if change.origin.address is None else f"{known}, {change.origin.address}"


@command(app, "prune")
def _prune(
    session: Session,
    *,
    older_than: Annotated[str, typer.Option("--older-than", metavar="DURATION", help="The age, such as 90d or 52w.")],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete old rows of the change log for all accounts. Nothing can restore them, nor the lists from before them."""
    age = duration(older_than)
    with session.open() as manager:
        if not dry_run:
            confirm(
                session.output,
                lambda: f"Delete {_rows(_would_prune(manager, age))} older than {older_than} of all accounts for good?",
                f"this would delete all rows of the change log that are older than {older_than}, for good",
                yes=yes,
            )
        pruned = _would_prune(manager, age) if dry_run else manager.prune_history(age, actor=session.actor)
    if dry_run:
        session.output.answer({"pruned": pruned, "dry_run": True}, f"would delete {_rows(pruned)}", DRY)
    else:
        session.output.answer({"pruned": pruned}, f"deleted {_rows(pruned)}")


def _would_prune(manager: RuleManager, age: timedelta) -> int:
    return manager.with_hooks(dry_run=True).prune_history(age)


@command(app, "erase")
def _erase(
    session: Session,
    *,
    older_than: Annotated[str, typer.Option("--older-than", metavar="DURATION", help="The age, such as 365d.")],
    account: Annotated[
        str | None, typer.Option("--account", metavar="ACCOUNT", help="Only this account, also if it was deleted.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Erase personal data of that age: who changed lists and from where, labels and names not in use, and traffic.

    Observations of traffic are deleted if their last request is older. Nothing can restore what is erased. Lists allow
    what they did, and the change log still says what changed and when.
    """
    age = duration(older_than)
    of = "all accounts" if account is None else account
    with session.open() as manager:
        if not dry_run:
            confirm(
                session.output,
                lambda: (
                    f"Erase personal data older than {older_than} of {of} for good, in "
                    f"{_places(_would_erase(manager, age, account))}?"
                ),
                f"this would erase personal data of {of} that is older than {older_than}, for good",
                yes=yes,
            )
            erased = manager.erase(age, account=account, actor=session.actor)
        else:
            erased = _would_erase(manager, age, account)
    if dry_run:
        said = f"would erase personal data in {_places(erased)}"
        session.output.answer({"erased": erased, "dry_run": True}, said, DRY)
    else:
        session.output.answer({"erased": erased}, f"erased personal data in {_places(erased)}")


def _would_erase(manager: RuleManager, age: timedelta, account: str | None) -> int:
    return manager.with_hooks(dry_run=True).erase(age, account=account)


def _places(number: int) -> str:
    one = "row of the change log, entry or observation of traffic"
    return counted(number, one, "rows of the change log, entries and observations of traffic")


def _rows(number: int) -> str:
    return f"{counted(number, 'row', 'rows')} of the change log"


def described(change: Change) -> str:
    """Describe a change on one line: `+` for what it added, `-` for what it removed, and what else changed.

    Example:
        >>> from datetime import UTC, datetime
        >>> from functools import partial
        >>> at = datetime(2025, 1, 2, tzinfo=UTC)
        >>> old = Entry(id=7, account="acct-1", cidr="1.1.1.1/32", label=None, created_at=at, created_by="me")
        >>> new = Entry(id=7, account="acct-1", cidr="1.1.1.0/24", label="dns", created_at=at, created_by="me")
        >>> change = partial(Change, at=at, actor="me", account="acct-1")
        >>> described(change(sequence=3, action="edit", before=(old,), after=(new,)))
        '1.1.1.1/32 -> 1.1.1.0/24 (dns)'
        >>> described(change(sequence=4, action="remove", before=(new,), after=()))
        '- 1.1.1.0/24 (dns)'
    """
    before = {entry.id: entry for entry in change.before}
    after = {entry.id: entry for entry in change.after}
    removed = [f"- {_labelled(entry)}" for entry in change.before if entry.id not in after]
    altered = [f"{_labelled(before[key])} -> {_labelled(entry)}" for key, entry in after.items() if key in before]
    added = [f"+ {_labelled(entry)}" for entry in change.after if entry.id not in before]
    return ", ".join([*_other(change), *removed, *altered, *added])


def _other(change: Change) -> list[str]:
    """Describe what a change changed besides entries.

    Example:
        >>> from datetime import UTC, datetime
        >>> _other(
        ...     Change(
        ...         sequence=3,
        ...         at=datetime(2025, 1, 2, tzinfo=UTC),
        ...         actor="me",
        ...         account="acct-2",
        ...         action="rename_account",
        ...         before=(),
        ...         after=(),
        ...         details={"before": {"name": "acct-1", "version": 2}, "after": {"name": "acct-2"}},
        ...     )
        ... )
        ['name: acct-1 -> acct-2']
    """
    said = change.details or {}
    before, after = said.get("before"), said.get("after")
    found = [f"{name} {_word(value)}" for name, value in said.items() if name not in ("before", "after")]
    if before is None or after is None:  # an event, such as a sign-in, or what is gone
        only = before or after or {}
        return [*found, *(f"{name.replace('_', ' ')} {_word(value)}" for name, value in only.items() if value)]
    return found + [
        f"{name.replace('_', ' ')}: {_word(before.get(name))} -> {_word(value)}"
        for name, value in after.items()
        if value != before.get(name)
    ]


def _word(value: object) -> str:
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _accounts(manager: RuleManager, name: str) -> list[Account]:
    """Return the account with a name; none if only the history knows the name."""
    try:
        return [manager.account(name)]
    except AccountNotFoundError:
        return []


def said_of(entry: Entry) -> list[str]:
    """Return the details of an entry that somebody set: its label, and every other detail with its name.

    Example:
        >>> from datetime import UTC, datetime
        >>> at = datetime(2025, 1, 2, tzinfo=UTC)
        >>> entry = Entry(
        ...     id=7, account="a", cidr="1.1.1.1/32", label="dns", created_at=at, created_by="me", expires_at=at
        ... )
        >>> said_of(entry)
        ['dns', 'expires at 2025-01-02 00:00:00']
    """
    return [
        _said(detail, value)
        for detail in DETAILS
        if (value := getattr(entry, detail.name)) != detail.default and value is not None
    ]


def _said(detail: Detail, value: object) -> str:
    name = detail.name.replace("_", " ")
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return value_text(value) if detail.name == "label" else f"{name} {value_text(value)}"


def _labelled(entry: Entry) -> str:
    said = ", ".join(said_of(entry))
    return f"{entry.cidr} ({said})" if said else entry.cidr
