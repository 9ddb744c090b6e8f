"""`cidrgate token`: manages who may use the management API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cidrgate.cli.durations import moment, moment_after
from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, Table, value_text
from cidrgate.cli.suggestions import suggested
from cidrgate.errors import CidrgateError
from cidrgate.service.auth.serialization import token_record
from cidrgate.service.auth.values import Scope, Token

if TYPE_CHECKING:
    from cidrgate.service.auth.credentials import Credentials

__all__ = ["app"]

app = typer.Typer(help="Create, list and revoke tokens of the management API.", no_args_is_help=True)


@command(app, "create")
def _create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, which the history shows.")],
    *,
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            "-s",
            metavar="SCOPE",
            help="admin, metrics, account:NAME:read or account:NAME:write. May be repeated.",
        ),
    ],
    expires_at: Annotated[
        str | None,
        typer.Option("--expires-at", metavar="TIME", help="When it expires: a time such as 2027-01-31T18:00+00:00."),
    ] = None,
    expires_in: Annotated[
        str | None,
        typer.Option("--expires-in", metavar="DURATION", help="How long until it expires: 30m, 12h or 90d."),
    ] = None,
) -> None:
    """Create a token and print it. It cannot be shown again."""
    if expires_at is not None and expires_in is not None:
        raise CommandError("give --expires-at or --expires-in, not both")
    end = moment(expires_at) if expires_at is not None else None if expires_in is None else moment_after(expires_in)
    scopes = [Scope.parse(text) for text in scope]
    with session.open_credentials(create=True) as credentials:
        made = credentials.create_token(name, scopes, expires_at=end, actor=session.actor)
        with _revoked_unless_shown(credentials, made.token, session.actor):
            session.output.answer(
                {**token_record(made.token), "token": made.secret},
                made.secret,
                Line("this is the only time it is shown", "yellow"),
            )


@contextmanager
def _revoked_unless_shown(credentials: "Credentials", token: Token, actor: str | None) -> Iterator[None]:
    """Revoke a new token if its secret could not be written: somebody might have got a part of it, and nobody all."""
    try:
        yield
    except BaseException as error:
        try:
            credentials.revoke_token(token.id, actor=actor)
        except CidrgateError as failure:
            raise CommandError(
                f"token {token.id} was created but not shown, and could not be revoked: {failure}; revoke it with "
                f"`{suggested('token revoke', str(token.id))}`"
            ) from failure
        if isinstance(error, CommandError):
            raise CommandError(f"token {token.id} was revoked again, because it could not be shown: {error}") from error
        raise


@command(app, "list")
def _list(session: Session) -> None:
    """List every token, without its secret."""
    with session.open_credentials() as credentials:
        tokens = credentials.tokens()
    now = datetime.now(UTC)
    rows = [
        (
            f"{token.id}",
            token.name,
            ", ".join(map(str, token.scopes)),
            value_text(token.created_at),
            token.created_by or "",
            _state(token, now),
        )
        for token in tokens
    ]
    columns = ("id", "name", "scopes", "created at (UTC)", "by", "state")
    session.output.answer(
        {"items": [token_record(token) for token in tokens], "next_cursor": None},
        Table(columns, rows, right=frozenset({"id"})),
    )


@command(app, "revoke")
def _revoke(
    session: Session, token: Annotated[int, typer.Argument(metavar="ID", min=1, help="The token's id.")]
) -> None:
    """Revoke a token at once, and end the console sessions that it began."""
    with session.open_credentials() as credentials:
        revoked = credentials.revoke_token(token, actor=session.actor)
    session.output.answer(token_record(revoked), f"revoked token {revoked.id}, {revoked.name}")


def _state(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return f"revoked {value_text(token.revoked_at)}"
    if token.expires_at is None:
        return "usable"
    return f"{'usable until' if token.usable(now) else 'expired since'} {value_text(token.expires_at)}"
