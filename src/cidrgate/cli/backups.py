"""`backup` and `restore-backup`: a whole store in one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.files import STANDARD_STREAM, lines_of, write_text
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import counted
from cidrgate.manager import BackupReport
from cidrgate.manager.backups import report_of_line

__all__ = ["app"]

app = typer.Typer()

_NOT_CONTAINED = "sessions of the console and one-time links are not in a backup: people sign in again"


@command(app, "backup")
def _backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; - for stdout.")],
) -> None:
    """Write a backup: every account and list, the change log and the hashes of tokens, all of one moment.

    Only the owner can read the file. A name that ends with .gz is compressed.
    """
    last = ""
    with session.open() as manager, session.output.progress("backing up rows") as advance:

        def lines() -> Iterator[str]:
            nonlocal last
            for line in manager.backup(progress=advance):
                last = line
                yield line

        write_text(file, lines())
    if file != STANDARD_STREAM:
        _answer(session, f"backed up {{}} to {file}", report_of_line(last), file)


@command(app, "restore-backup")
def _restore_backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of `backup`; - for stdin.")],
) -> None:
    """Restore a backup to a new store: all of it, or nothing. The store may be of another kind than the original.

    The database is created if it does not exist. A store with accounts, changes or tokens is refused.
    """
    opened, progress = session.open(create=True), session.output.progress("restoring rows")
    with lines_of(file) as lines, opened as manager, progress as advance:
        report = manager.restore_backup(lines, progress=advance)
    _answer(session, "restored {}", report, file)


def _answer(session: Session, done: str, report: BackupReport, file: Path) -> None:
    parts = [
        counted(report.accounts, "account", "accounts"),
        counted(report.entries, "entry", "entries"),
        counted(report.changes, "change", "changes"),
        counted(report.tokens, "token", "tokens"),
    ]
    session.output.answer(
        {
            "account_count": report.accounts,
            "entry_count": report.entries,
            "change_count": report.changes,
            "token_count": report.tokens,
            "file": str(file),
        },
        done.format(f"{', '.join(parts[:-1])} and {parts[-1]}"),
        _NOT_CONTAINED,
    )
