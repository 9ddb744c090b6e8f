"""`cidrgate account`: creates, shows, renames, moves and deletes accounts and subaccounts."""

from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cidrgate.cli.arguments import CURSOR_HELP, AccountName, Confirmed, DryRun, Limit, Version
from cidrgate.cli.errors import CommandError
from cidrgate.cli.evaluations import evaluation_lines, refuse_tried
from cidrgate.cli.list_attempts import access_lines
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY, Table, a_page, counted, value_text
from cidrgate.cli.past_requests import PastRequests, takes_past_requests
from cidrgate.manager import RuleManager
from cidrgate.manager.evaluations import Foresight
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import AccessChange, access_change
from cidrgate.rules.decisions import list_state
from cidrgate.serialization import account_record, deletion_record
from cidrgate.values import Account, ListState

__all__ = ["app"]

app = typer.Typer(help="Create, show, rename, move and delete accounts.", no_args_is_help=True)


@command(app, "create")
@takes_past_requests
def _create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new account.")],
    *,
    parent: Annotated[str | None, typer.Option("--parent", "-p", help="The account whose list it inherits.")] = None,
    display_name: Annotated[
        str | None, typer.Option("--display-name", metavar="TEXT", help="Its name for people.")
    ] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Enforce it while its list is empty too: every address is then denied.")
    ] = False,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Create an account, or with --parent a subaccount, which inherits a list."""
    with session.open(create=True, dry_run=dry_run) as manager:
        outcomes: list[ListOutcome] = []
        maker = manager.with_hooks(before_store=outcomes.append, dry_run=True) if dry_run else manager
        account = maker.create_account(
            name, parent=parent, display_name=display_name, closed=closed, actor=session.actor
        )
        # A new account has the state of its parent's list, and a dry run creates none that could be asked for.
        states = manager.list_states([name if parent is None else parent])
        foresight = past.foresight(session, manager, outcomes) if dry_run else None
    state = states.get(account.parent or name, list_state([], account, datetime.now(UTC)))
    inherits = "" if parent is None else f", which inherits the list of {parent}"
    if foresight is not None:
        record = {**account_record(account, state), "dry_run": True, **foresight.record()}
        session.output.answer(record, f"would create account {name}{inherits}", *evaluation_lines(foresight), DRY)
    else:
        session.output.answer(account_record(account, state), f"created account {name}{inherits}")


@command(app, "show")
def _show(session: Session, name: AccountName) -> None:
    """Show one account, the number of its entries, and whether it is enforced."""
    with session.open() as manager:
        account = manager.account(name)
        state = manager.list_states([name])[name]
        subaccounts = [one.name for one in manager.accounts(parent=name)]
    lines = {
        "account": account.name,
        "display name": account.display_name or "",
        "inherits from": account.parent or "",
        "subaccounts": ", ".join(subaccounts),
        "entries": f"{state.entries}",
        "enforced": "yes" if state.enforced else "no",
        "mode": "" if state.mode == "enforce" else state.mode,
        "mode until (UTC)": value_text(state.mode_until),
        "reason": state.mode_reason or "",
        "closed": "yes" if state.closed else "",
        "version": f"{account.version}",
        "created at (UTC)": value_text(account.created_at),
    }
    width = max(map(len, lines))
    session.output.answer(
        {**account_record(account, state), "subaccounts": subaccounts},
        *(f"{heading:<{width}}  {cell}" for heading, cell in lines.items() if cell),
    )


@command(app, "list")
def _list(
    session: Session,
    *,
    starting_with: Annotated[
        str | None,
        typer.Option("--starting-with", metavar="TEXT", help="Only names that start with this, in any case of A to Z."),
    ] = None,
    containing: Annotated[
        str | None,
        typer.Option("--containing", metavar="TEXT", help="Only names that contain this, in any case of A to Z."),
    ] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", "-p", metavar="ACCOUNT", help="Only the subaccounts of this account.")
    ] = None,
    limit: Limit = None,
    cursor: Annotated[str | None, typer.Option("--cursor", metavar="CURSOR", help=CURSOR_HELP)] = None,
) -> None:
    """List accounts by name, the number of their entries, and whether they are enforced."""
    with session.open() as manager:
        if parent is not None:
            manager.account(parent)  # a name that was mistyped has no subaccounts either
        most = None if limit is None else limit + 1
        found = manager.accounts(
            after=cursor, limit=most, parent=parent, starting_with=starting_with, containing=containing
        )
        accounts, following = a_page(found, limit)
        every = limit is None and parent is None and not starting_with and not containing
        states = manager.list_states(None if every else [account.name for account in accounts])
    # An account that was created between the two reads is left out.
    accounts = [account for account in accounts if account.name in states]
    columns: tuple[str, ...] = ("account", "display name", "inherits from", "entries", "enforced", "created at (UTC)")
    rows: list[tuple[str, ...]] = [
        (
            account.name,
            account.display_name or "",
            account.parent or "",
            f"{states[account.name].entries}",
            _enforced(states[account.name]),
            value_text(account.created_at),
        )
        for account in accounts
    ]
    if not any(account.display_name for account in accounts):
        columns, rows = columns[:1] + columns[2:], [row[:1] + row[2:] for row in rows]
    session.output.answer(
        {
            "items": [account_record(account, states[account.name]) for account in accounts],
            "next_cursor": None if following is None else following.name,
        },
        Table(columns, rows, right=frozenset({"entries"})),
        counted(len(accounts), "account", "accounts") + _by_mode([states[account.name] for account in accounts]),
    )


def _by_mode(states: Collection[ListState]) -> str:
    """Return how many accounts are enforced, and how many are not, by the reason."""
    words = {"yes": "enforced", "no": "open"}
    numbers = Counter(words.get(said, said) for said in map(_enforced, states))
    told = [f"{numbers[word]:,} {word}" for word in ("enforced", "report_only", "off", "open") if numbers[word]]
    return f" ({', '.join(told)})" if told else ""


def _enforced(state: ListState) -> str:
    """Return whether a list is enforced, or the mode because of which it is not."""
    if state.mode != "enforce":
        return state.mode
    return "yes" if state.enforced else "no"


@command(app, "rename")
@takes_past_requests
def _rename(
    session: Session,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The account.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    *,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Rename an account; its list, its subaccounts and its tokens stay, and its history is found under both names."""
    with session.open() as manager:
        account, state, tried = _edited(
            manager,
            lambda accounts: accounts.rename_account(
                old, new, actor=session.actor, expect_version=expect_version, confirmed=confirm or ()
            ),
            confirm,
            session,
            past if dry_run else None,
        )
    record = account_record(account, state)
    if tried is None:
        session.output.answer(record, f"renamed account {old} to {new}")
    else:
        _, foresight = tried
        record |= {"dry_run": True, **foresight.record()}
        session.output.answer(record, f"would rename account {old} to {new}", *evaluation_lines(foresight), DRY)


@command(app, "edit")
@takes_past_requests
def _edit(
    session: Session,
    name: AccountName,
    *,
    display_name: Annotated[
        str | None, typer.Option("--display-name", metavar="TEXT", help="Its name for people; empty for none.")
    ] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", "-p", metavar="ACCOUNT", help="The account whose list it inherits.")
    ] = None,
    no_parent: Annotated[bool, typer.Option("--no-parent", help="Inherit no list: it begins empty.")] = False,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Change the display name of an account, or from which account it inherits its list."""
    if parent is not None and no_parent:
        raise CommandError("give --parent or --no-parent, not both")
    changes: dict[str, Any] = {}
    if display_name is not None:
        changes["display_name"] = display_name or None
    if parent is not None or no_parent:
        changes["parent"] = parent
    if not changes:
        raise CommandError("nothing to change: give --display-name, --parent or --no-parent")
    with session.open() as manager:
        account, state, tried = _edited(
            manager,
            lambda accounts: accounts.edit_account(
                name, **changes, actor=session.actor, expect_version=expect_version, confirmed=confirm or ()
            ),
            confirm,
            session,
            past if dry_run else None,
        )
    said = []
    if "display_name" in changes:
        said.append(f"{account.display_name!r} as its display name" if account.display_name else "no display name")
    if "parent" in changes:
        said.append(f"the list of {account.parent}" if account.parent else "a list that belongs to it alone")
    record = account_record(account, state)
    if tried is None:
        session.output.answer(record, f"account {name} has {' and '.join(said)}")
    else:
        access, foresight = tried
        record |= {"dry_run": True, **access.record(), **foresight.record()}
        lines = [*access_lines(access), *(evaluation_lines(foresight) if "parent" in changes else ())]
        session.output.answer(record, f"account {name} would have {' and '.join(said)}", *lines, DRY)


@command(app, "delete")
@takes_past_requests
def _delete(
    session: Session,
    name: AccountName,
    *,
    recursive: Annotated[bool, typer.Option("--recursive", help="Delete its subaccounts too.")] = False,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Delete an account and its list. The change log keeps the list, and the name can be used again."""
    with session.open() as manager:
        outcomes: list[ListOutcome] = []
        accounts = manager.with_hooks(before_store=outcomes.append, dry_run=True) if dry_run else manager
        deletion = accounts.delete_account(
            name,
            recursive=recursive,
            actor=session.actor,
            expect_version=expect_version,
            confirmed=confirm or (),
        )
        refuse_tried(session, manager, past, outcomes, confirm or ())
        foresight = past.foresight(session, manager, outcomes) if dry_run else None
    below = f" and {counted(len(deletion.subaccounts), 'subaccount', 'subaccounts')}" if deletion.subaccounts else ""
    entries = counted(len(deletion.entries), "entry", "entries")
    record = deletion_record(deletion)
    if foresight is not None:
        said = f"would delete account {name} ({entries}){below}"
        record = {**record, "dry_run": True, **foresight.record()}
        session.output.answer(record, said, *evaluation_lines(foresight), DRY)
    else:
        session.output.answer(record, f"deleted account {name} ({entries}){below}")


def _edited(
    manager: RuleManager,
    edit: Callable[[RuleManager], Account],
    confirm: Collection[Guard] | None,
    session: Session,
    past: PastRequests | None,
) -> tuple[Account, ListState, tuple[AccessChange, Foresight] | None]:
    """Edit an account, or try it.

    Returns:
        The account, the state of the list that decides for it, and of a dry run who would lose or gain access, and what
        would happen to the requests of the past.
    """
    if past is None:
        account = edit(manager)
        return account, manager.list_states([account.name])[account.name], None
    outcomes: list[ListOutcome] = []
    account = edit(manager.with_hooks(before_store=outcomes.append, dry_run=True))
    [outcome] = outcomes
    refuse_tried(session, manager, past, outcomes, confirm or ())
    at = datetime.now(UTC)
    was, now = outcome.account_before, outcome.decider
    access = access_change(outcome.before, outcome.after, at, was=was, now=now)
    return account, list_state(outcome.after, now, at), (access, past.foresight(session, manager, [outcome]))
