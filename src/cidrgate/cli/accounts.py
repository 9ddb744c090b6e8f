"""`cidrgate account`: creates, lists and shows accounts and subaccounts."""

from typing import Annotated

import typer

from cidrgate.cli.arguments import CURSOR_HELP, AccountName, DryRun, Limit
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY, Table, a_page, counted, value_text
from cidrgate.serialization import account_record
from cidrgate.values import ListState

__all__ = ["app"]

app = typer.Typer(help="Create, list and show accounts.", no_args_is_help=True)


@command(app, "create")
def _create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new account.")],
    *,
    parent: Annotated[str | None, typer.Option("--parent", "-p", help="The account whose list it inherits.")] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Enforce it while its list is empty too: every address is then denied.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Create an account, or with --parent a subaccount, which inherits a list."""
    with session.open(create=True, dry_run=dry_run) as manager:
        maker = manager.with_hooks(dry_run=True) if dry_run else manager
        account = maker.create_account(name, parent=parent, closed=closed, actor=session.actor)
        # A new account has the state of its parent's list, and a dry run creates none that could be asked for.
        states = manager.list_states([name if parent is None else parent])
    state = states.get(account.parent or name, ListState(entries=0, enforced=closed, closed=closed))
    inherits = "" if parent is None else f", which inherits the list of {parent}"
    if dry_run:
        record = {**account_record(account, state), "dry_run": True}
        session.output.answer(record, f"would create account {name}{inherits}", DRY)
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
        "inherits from": account.parent or "",
        "subaccounts": ", ".join(subaccounts),
        "entries": f"{state.entries}",
        "enforced": "yes" if state.enforced else "no",
        "mode": "" if state.mode == "enforce" else state.mode,
        "mode until (UTC)": value_text(state.mode_until),
        "reason": state.mode_reason or "",
        "closed": "yes" if state.closed else "",
        "version": f"{account.version}",
        "created at (UTC)": f"{account.created_at:%Y-%m-%d %H:%M:%S}",
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
    limit: Limit = None,
    cursor: Annotated[str | None, typer.Option("--cursor", metavar="CURSOR", help=CURSOR_HELP)] = None,
) -> None:
    """List accounts by name, the number of their entries, and whether they are enforced."""
    with session.open() as manager:
        found = manager.accounts(after=cursor, limit=None if limit is None else limit + 1)
        accounts, following = a_page(found, limit)
        states = manager.list_states(None if limit is None else [account.name for account in accounts])
    # An account that was created between the two reads is left out.
    accounts = [account for account in accounts if account.name in states]
    rows = [
        (
            account.name,
            account.parent or "",
            f"{states[account.name].entries}",
            _enforced(states[account.name]),
            f"{account.created_at:%Y-%m-%d %H:%M:%S}",
        )
        for account in accounts
    ]
    columns = ("account", "inherits from", "entries", "enforced", "created at (UTC)")
    session.output.answer(
        {
            "items": [account_record(account, states[account.name]) for account in accounts],
            "next_cursor": None if following is None else following.name,
        },
        Table(columns, rows, right=frozenset({"entries"})),
        counted(len(accounts), "account", "accounts"),
    )


def _enforced(state: ListState) -> str:
    """Return whether a list is enforced, or the mode because of which it is not."""
    if state.mode != "enforce":
        return state.mode
    return "yes" if state.enforced else "no"
