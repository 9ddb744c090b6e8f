"""`cidrgate migrate`: brings the tables of a store to the version that this cidrgate needs."""

from typing import Annotated

import typer

from cidrgate.cli.options import Session, command
from cidrgate.errors import StoreError, after_commits
from cidrgate.stores import grant_store, migrate_store
from cidrgate.stores.urls import store_of

__all__ = ["app"]

app = typer.Typer()


@command(app, "migrate")
def _migrate(
    session: Session,
    *,
    grant: Annotated[
        list[str] | None,
        typer.Option(
            "--grant",
            metavar="USER",
            help="On PostgreSQL, grant this database user the rights that a service needs: to read and write rows, not "
            "to alter tables. May be repeated; repeat it after each migration.",
        ),
    ] = None,
) -> None:
    """Create the tables of the database, or migrate them to the version that this cidrgate needs."""
    from cidrgate.stores.migrations import HEAD

    session.check_new_database()
    users = grant or []
    if users and store_of(session.database)[0] != "postgresql":
        grant_store(session.database, users[0])  # raises the error before anything is migrated
    before = migrate_store(session.database, lock_timeout=session.lock_timeout)
    for number, user in enumerate(users):
        try:
            grant_store(session.database, user, lock_timeout=session.lock_timeout)
        except StoreError as error:
            earlier = f", and {number} of {len(users)} users got the rights" if number else ""
            raise after_commits(error, f"the tables have version {HEAD}{earlier}") from error
    if before is None:
        done = f"created the tables, version {HEAD}"
    elif before == HEAD:
        done = f"nothing to do: the tables have version {HEAD}"
    else:
        done = f"migrated the tables from version {before} to {HEAD}"
    rights = [f"granted {user} what a service needs" for user in users]
    session.output.answer({"before": before, "version": HEAD, "granted": users}, done, *rights)
