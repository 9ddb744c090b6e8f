"""`cidrgate migrate`: the tables of a store, brought to the version that this cidrgate needs."""

import typer

from cidrgate.cli.options import Session, command
from cidrgate.stores import migrate_store
from cidrgate.stores.migrations import HEAD

__all__ = ["app"]

app = typer.Typer()


@command(app, "migrate")
def _migrate(session: Session) -> None:
    """Bring the tables of the database to the version this cidrgate needs; create them where there are none."""
    before = migrate_store(session.database)
    if before is None:
        done = f"created the tables, version {HEAD}"
    elif before == HEAD:
        done = f"nothing to do: the tables have version {HEAD}"
    else:
        done = f"migrated the tables from version {before} to {HEAD}"
    session.output.answer({"before": before, "version": HEAD}, done)
