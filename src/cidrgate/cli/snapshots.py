"""`cidrgate compile`: writes a snapshot file from which services start without reading the store."""

from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import STANDARD_STREAM
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import counted

__all__ = ["app"]

app = typer.Typer()


@command(app, "compile")
def _compile(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The snapshot; replaced in one step.")],
) -> None:
    """Write all lists, with their position in the change log, to one file that `RuleManager.open(snapshot=)` maps."""
    if file == STANDARD_STREAM:
        raise CommandError("a snapshot is mapped, not read: name a file")
    with session.open() as manager:
        with session.output.progress("reading the lists", None) as progress:
            manager.load(progress=progress)
        try:
            manager.save_snapshot(file)
            size = file.stat().st_size
        except OSError as error:
            raise CommandError(f"cannot write {file}: {error.strerror}") from error
        accounts = len(manager.matcher)
    session.output.answer(
        {"file": str(file), "account_count": accounts, "bytes": size},
        f"{file}: {counted(accounts, 'account', 'accounts')}, {size:,} bytes",
    )
