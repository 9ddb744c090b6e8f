"""`cidrgate find`: the entries of all accounts that cover or overlap a network."""

from typing import Annotated

import typer

from cidrgate.cli.arguments import CURSOR_HELP, Limit
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Table, a_page, counted, value_text
from cidrgate.serialization import found_entry_record
from cidrgate.values import FoundEntry

__all__ = ["app"]

app = typer.Typer()


@command(app, "find")
def _find(
    session: Session,
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="An address or a network.")],
    *,
    overlaps: Annotated[
        bool, typer.Option("--overlaps", help="Find entries inside of the network too, not only those that contain it.")
    ] = False,
    limit: Limit = None,
    cursor: Annotated[int | None, typer.Option("--cursor", metavar="CURSOR", min=1, help=CURSOR_HELP)] = None,
) -> None:
    """Find the entries of all accounts that contain an address or a network, in the order in which they were added."""
    covers, overlapped = (None, network) if overlaps else (network, None)
    with session.open() as manager:
        found = manager.find(covers, overlaps=overlapped, after=cursor or 0, limit=None if limit is None else limit + 1)
    shown, following = a_page(found, limit)
    columns = ("account", "subaccounts", "id", "CIDR", "allows", "label", "added at (UTC)", "added by")
    does = "overlap" if overlaps else "contain"
    count = f"{counted(len(shown), 'entry', 'entries')} {does}{'s' if len(shown) == 1 else ''} {network}"
    session.output.answer(
        {
            "items": [found_entry_record(one) for one in shown],
            "next_cursor": None if following is None else str(following.entry.id),
        },
        *([Table(columns, [_row(one) for one in shown], right=frozenset({"subaccounts", "id"}))] if shown else []),
        count if following is None else f"{count}; more follow",
        *(
            ["a subaccount inherits the list of its account: see `cidrgate account show ACCOUNT`"]
            if any(one.subaccounts for one in shown)
            else []
        ),
        "accounts without entries are not shown; unless they are closed, they allow every address",
    )


def _row(found: FoundEntry) -> tuple[str, ...]:
    entry = found.entry
    return (
        entry.account,
        f"{found.subaccounts}" if found.subaccounts else "",
        f"{entry.id}",
        entry.cidr,
        "yes" if found.allows else f"no, {'expired' if entry.is_expired() else 'disabled'}",
        entry.label or "",
        value_text(entry.created_at),
        entry.created_by or "",
    )
