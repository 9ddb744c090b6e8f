"""`cidrgate account`: creating accounts and subaccounts, and listing them."""

from typing import Annotated

import typer

from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Table, counted
from cidrgate.records import account_record

__all__ = ["app"]

app = typer.Typer(help="Create and list accounts.", no_args_is_help=True)


@command(app, "create")
def _create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new account.")],
    *,
    parent: Annotated[str | None, typer.Option("--parent", "-p", help="The account whose list it inherits.")] = None,
) -> None:
    """Create an account, or with --parent a subaccount that inherits a list."""
    with session.open(create=True) as manager:
        account = manager.create_account(name, parent=parent, actor=session.actor)
        held = 0 if parent is None else len(manager.entries(parent))
    session.output.answer(
        account_record(account, held),
        f"created account {name}" if parent is None else f"created account {name}, which inherits the list of {parent}",
    )


@command(app, "list")
def _list(session: Session) -> None:
    """List every account and how many entries count for it."""
    with session.open() as manager:
        accounts = manager.accounts()
        counts = manager.counts()
    held = {account.name: counts.get(account.parent or account.name, 0) for account in accounts}
    rows = [
        (
            account.name,
            account.parent or "",
            f"{held[account.name]}",
            "yes" if held[account.name] else "no",
            f"{account.created_at:%Y-%m-%d %H:%M:%S}",
        )
        for account in accounts
    ]
    columns = ("account", "inherits from", "entries", "enforced", "created at (UTC)")
    session.output.answer(
        {"accounts": [account_record(account, held[account.name]) for account in accounts]},
        Table(columns, rows, right=frozenset({"entries"})),
        counted(len(accounts), "account", "accounts"),
    )
