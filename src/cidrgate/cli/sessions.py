"""`cidrgate session`: lists and ends the sessions of the console."""

from typing import Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Table, value_text
from cidrgate.service.auth.serialization import session_record

__all__ = ["app"]

app = typer.Typer(help="List and end sessions of the console.", no_args_is_help=True)


@command(app, "list")
def _list(session: Session) -> None:
    """List every current session, the newest first."""
    with session.open_credentials() as credentials:
        found = credentials.sessions()
    rows = [
        (
            one.id,
            one.name,
            ", ".join(map(str, one.scopes)),
            "link" if one.by_link else f"token {one.token_id}",
            one.address or "",
            value_text(one.created_at),
            value_text(one.expires_at),
        )
        for one in found
    ]
    columns = ("id", "name", "scopes", "begun by", "from", "begun at (UTC)", "ends at (UTC)")
    session.output.answer({"items": [session_record(one) for one in found], "next_cursor": None}, Table(columns, rows))


@command(app, "end")
def _end(
    session: Session,
    which: Annotated[str | None, typer.Argument(metavar="ID", help="The session's id.")] = None,
    *,
    everyone: Annotated[
        bool, typer.Option("--all", help="End every session and invalidate every one-time link.")
    ] = False,
) -> None:
    """End a session. The next request of that browser must sign in again."""
    if (which is None) != everyone:
        raise CommandError("name the session by its id, or use --all for every session")
    with session.open_credentials() as credentials:
        if which is None:
            ended = credentials.end_all_sessions(actor=session.actor)
            session.output.answer({"ended": ended}, f"ended {ended} {'session' if ended == 1 else 'sessions'}")
            return
        one = credentials.end_session_by_id(which, actor=session.actor)
    session.output.answer(session_record(one), f"ended session {one.id}, of {one.name}")
