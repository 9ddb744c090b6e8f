"""`cidrgate account`: creates and lists accounts and subaccounts."""

from typing import Annotated

import typer

from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Table, counted
from cidrgate.serialization import account_record

__all__ = ["app"]

app = typer.Typer(help="Create and list accounts.", no_args_is_help=True)


@command(app, "create")
def _create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new account.")],
    *,
    parent: Annotated[str | None, typer.Option("--parent", "-p", help="The account whose list it inherits.")] = None,
) -> None:
    """Create an account, or with --parent a subaccount, which inherits a list."""
    with session.open(create=True) as manager:
        account = manager.create_account(name, parent=parent, actor=session.actor)
        state = manager.list_states([name])[name]
    session.output.answer(
        account_record(account, state),
        f"created account {name}" if parent is None else f"created account {name}, which inherits the list of {parent}",
    )


@command(app, "list")
def _list(session: Session) -> None:
    """List every account, the number of its entries, and whether it is enforced."""
    with session.open() as manager:
        accounts = manager.accounts()
        states = manager.list_states()
    # An account that was created between the two reads is left out.
    accounts = [account for account in accounts if account.name in states]
    rows = [
        (
            account.name,
            account.parent or "",
            f"{states[account.name].entries}",
            "yes" if states[account.name].enforced else "no",
            f"{account.created_at:%Y-%m-%d %H:%M:%S}",
        )
        for account in accounts
    ]
    columns = ("account", "inherits from", "entries", "enforced", "created at (UTC)")
    session.output.answer(
        {"accounts": [account_record(account, states[account.name]) for account in accounts]},
        Table(columns, rows, right=frozenset({"entries"})),
        counted(len(accounts), "account", "accounts"),
    )
