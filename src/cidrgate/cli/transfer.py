"""`import` and `export`: the lists of many accounts in one file."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.arguments import DryRun, Empty
from cidrgate.cli.errors import BadRowsError, PartialImportError
from cidrgate.cli.exports import CSV_LACKS, Exported, import_exported, is_csv, only_for_exports
from cidrgate.cli.files import STANDARD_STREAM, lines_of, write_text
from cidrgate.cli.import_plan import plan_import
from cidrgate.cli.list_files import ListFormat, format_of, read_rows, written
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY, counted
from cidrgate.manager import ImportReport
from cidrgate.manager.exports import is_export

__all__ = ["app"]

app = typer.Typer()

_Format = Annotated[
    ListFormat | None, typer.Option("--format", help="The format; by default, the ending of the file's name.")
]


@command(app, "import")
def _import(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An export, or rows of account, cidr and details; - for stdin.")
    ],
    *,
    form: _Format = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the lists instead of adding to them.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave accounts of an export that exist as they are.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if any row is bad.")] = False,
    create: Annotated[bool, typer.Option("--create/--no-create", help="Create accounts that do not exist.")] = True,
    empty: Empty = False,
    dry_run: DryRun = False,
) -> None:
    """Import the lists of many accounts. An account with a bad row is not imported; the exit status is then 7.

    An export of cidrgate is imported exactly and as a whole: if one of its accounts has a problem, nothing is stored.
    """
    with lines_of(file) as lines:
        first = next(lines, "")
        if is_export(first):
            import_exported(
                session,
                chain([first], lines),
                replace_existing=replace,
                skip_existing=skip_existing,
                create=create,
                empty=empty,
                dry_run=dry_run,
            )
            return
        only_for_exports({"--skip-existing": skip_existing, "--empty": empty})
        form = form or format_of(file.name)
        with session.output.progress(f"reading {file.name}"):
            plan = plan_import(read_rows(chain([first] if first else [], lines), form))
    # Without its stray rows, a replaced list would lose networks that the file names.
    whole = strict or (replace and bool(plan.stray))
    stopped = whole and bool(plan.stray)
    importing = session.output.progress("importing accounts", len(plan.lists))
    with session.open(create=create, dry_run=dry_run) as manager, importing as advance:
        report = manager.import_accounts(
            plan.lists,
            replace=replace,
            create=create,
            strict=whole,
            dry_run=dry_run or stopped,
            actor=session.actor,
            progress=advance,
        )
    if stopped:
        report = ImportReport(problems=report.problems)
    problems = plan.problems(report.problems)
    record = {
        "account_count": report.accounts,
        "entry_count": report.entries,
        "created_count": report.created,
        "refused": sorted(report.problems),
    }
    amount = f"{_amount(report.entries, report.accounts)}, {report.created:,} of them"
    if dry_run:
        session.output.answer({**record, "dry_run": True}, f"would import {amount} to be created", DRY)
    else:
        session.output.answer(record, f"imported {amount} created")
    if problems:
        kind = PartialImportError if report.accounts else BadRowsError
        raise kind(_advice(len(report.problems), whole=whole, strict=strict, dry_run=dry_run), problems)


@command(app, "export")
def _export(
    session: Session,
    accounts: Annotated[list[str] | None, typer.Argument(metavar="[ACCOUNT...]", help="By default, all.")] = None,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write a table for people, which is no whole copy.")] = False,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - for stdout.")] = (
        STANDARD_STREAM
    ),
) -> None:
    """Export accounts with everything that decides for them; `import` restores them exactly, in any store.

    A name that ends with .gz is compressed. With --csv, or a name that ends with .csv, the file is a table for people.
    """
    wanted = list(dict.fromkeys(accounts or []))
    exported = Exported()
    with session.open() as manager, session.output.progress("exporting accounts") as advance:
        if as_csv or is_csv(file.name):
            session.output.note(CSV_LACKS)
            lines = written(exported.lists_of(manager, wanted, advance), ListFormat.CSV)
        else:
            lines = exported.lines_of(manager, wanted, advance)
        write_text(file, lines)
    if file != STANDARD_STREAM:
        session.output.answer(
            {"account_count": exported.accounts, "entry_count": exported.entries, "file": str(file)},
            f"exported {exported} to {file}",
        )


def _amount(entries: int, accounts: int) -> str:
    return f"{counted(entries, 'entry', 'entries')} of {counted(accounts, 'account', 'accounts')}"


def _advice(refused: int, *, whole: bool, strict: bool, dry_run: bool) -> str:
    """Describe what the bad rows mean for the rest of the file."""
    was = "would be" if dry_run else "was"
    if strict:
        return f"nothing {was} imported, as --strict asks: correct these rows, then import the file again"
    if whole:
        return f"nothing {was} imported: a row without a readable account may belong to any of the lists to be replaced"
    if not refused:
        return f"every other row {was} imported: correct these rows, then import only them"
    accounts = counted(refused, "account", "accounts")
    were_not = "would not be" if dry_run else "was not" if refused == 1 else "were not"
    return f"{accounts} {were_not} imported: correct these rows, then import those accounts again"
