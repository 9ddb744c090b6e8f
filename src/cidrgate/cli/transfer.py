"""`import` and `export`: the lists of many accounts in one file."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cidrgate.cli.arguments import Confirmed, DryRun, Empty
from cidrgate.cli.errors import BadRowsError, CommandError, PartialImportError
from cidrgate.cli.exports import (
    CSV_LACKS,
    Exported,
    exported_lines,
    import_exported,
    is_csv,
    only_for_exports,
    only_for_lists,
)
from cidrgate.cli.files import STANDARD_STREAM, opened, write_text
from cidrgate.cli.import_answers import import_lines, import_record
from cidrgate.cli.import_options import (
    Closed,
    Collapse,
    Columns,
    CommentsAsLabels,
    From,
    ImportFormat,
    Normalize,
    OneAccount,
    Regions,
    Services,
    SkipExisting,
    check_together,
    source_of,
)
from cidrgate.cli.import_plan import plan_import
from cidrgate.cli.list_files import ListFormat, written
from cidrgate.cli.list_sources import read_file
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import counted
from cidrgate.cli.past_requests import Days, PastRequests
from cidrgate.cli.program_lists import ProgramFormat, ProgramLists, Unenforced
from cidrgate.cli.suggestions import suggested
from cidrgate.errors import AccountNotFoundError
from cidrgate.manager import ImportReport, RuleManager
from cidrgate.manager.evaluations import collector

if TYPE_CHECKING:
    from cidrgate.foresight.evaluation import ChangedList

__all__ = ["app"]

app = typer.Typer()


@command(app, "import")
def _import(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An export, or rows of account, cidr and details; - for stdin.")
    ],
    *,
    form: ImportFormat = None,
    publisher: From = None,
    service: Services = None,
    region: Regions = None,
    account: OneAccount = None,
    columns: Columns = None,
    comments_as_labels: CommentsAsLabels = False,
    normalize: Normalize = False,
    collapse: Collapse = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the lists instead of adding to them.")] = False,
    skip_existing: SkipExisting = False,
    closed: Closed = False,
    strict: Annotated[bool, typer.Option("--strict", help="Import nothing if any row is bad.")] = False,
    create: Annotated[bool, typer.Option("--create/--no-create", help="Create accounts that do not exist.")] = True,
    empty: Empty = False,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    days: Days = None,
) -> None:
    """Import the lists of many accounts. An account with a bad row is not imported; the exit status is then 7.

    An export of cidrgate is imported exactly and as a whole: if one of its accounts has a problem, nothing is stored.
    """
    past = PastRequests(days)
    past.check(dry_run=dry_run)
    source = source_of(file, form, publisher, service, region, account, columns, comments_as_labels=comments_as_labels)
    check_together(replace=replace, skip_existing=skip_existing, closed=closed, strict=strict)
    with opened(file) as found:
        lines, stream = exported_lines(found)
        if lines is not None:
            only_for_lists(
                {
                    "--format": form,
                    "--from": publisher,
                    "--account": account,
                    "--columns": columns,
                    "--comments-as-labels": comments_as_labels,
                    "--normalize": normalize,
                    "--collapse": collapse,
                    "--closed": closed,
                }
            )
            import_exported(
                session,
                lines,
                replace_existing=replace,
                skip_existing=skip_existing,
                create=create,
                empty=empty,
                confirmed=confirm or (),
                dry_run=dry_run,
                past=past,
            )
            return
        only_for_exports({"--empty": empty})
        with _without_collector(), session.output.progress(f"reading {file.name}"):
            reading = read_file(stream, source)
            plan = plan_import(reading.rows)
        if not plan.lists and not plan.stray:
            reading.notes.append("the file has no rows")
    # Without its stray rows, a replaced list would lose networks that the file names.
    whole = strict or (replace and bool(plan.stray))
    stopped = whole and bool(plan.stray)
    importing = session.output.progress("importing accounts", len(plan.lists))
    changes: list[ChangedList] = []
    with _without_collector(), session.open(create=create, dry_run=dry_run) as manager, importing as advance:
        if dry_run:
            manager = manager.with_hooks(before_store=collector(changes))
        report = manager.import_accounts(
            plan.rewritten(normalize=normalize, collapse=collapse),
            replace=replace,
            skip_existing=skip_existing,
            create=create,
            close=closed,
            strict=whole,
            dry_run=dry_run or stopped,
            confirmed=confirm or (),
            actor=session.actor,
            progress=advance,
        )
        foresight = past.foresight_of_lists(session, manager, [] if stopped else changes) if dry_run else None
    if stopped:
        report = ImportReport(problems=report.problems, open=report.open)
    session.output.answer(
        import_record(report, plan, reading.notes, foresight),
        *import_lines(report, plan, reading.notes, foresight, unit=reading.unit),
    )
    problems = plan.problems(report.problems, reading.unit)
    if problems:
        # A closed account is a change too.
        kind = PartialImportError if report.accounts or report.closed else BadRowsError
        some = bool(report.accounts)
        raise kind(_advice(len(report.problems), some=some, whole=whole, strict=strict, dry_run=dry_run), problems)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Look for no cycles of objects: rows have none, and to look among them takes a quarter of an import's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@command(app, "export")
def _export(
    session: Session,
    accounts: Annotated[list[str] | None, typer.Argument(metavar="[ACCOUNT...]", help="By default, all.")] = None,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write a table for people, which is no whole copy.")] = False,
    form: Annotated[
        ProgramFormat | None, typer.Option("--format", help="Write the lists as configuration of another program.")
    ] = None,
    unenforced: Annotated[
        Unenforced | None,
        typer.Option(
            "--unenforced",
            help="With --format: whether an account for which no address is denied now is written so, or with its "
            "list enforced. By default, the command refuses it.",
        ),
    ] = None,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - for stdout.")] = (
        STANDARD_STREAM
    ),
) -> None:
    """Export accounts with everything that decides for them; `import` restores them exactly, in any store.

    A name that ends with .gz is compressed. With --csv, or a name that ends with .csv, the file is a table for people.
    With --format, another program can enforce the lists as they are now; stderr says what the file lacks.
    """
    wanted = list(dict.fromkeys(accounts or []))
    if form is not None:
        if as_csv:
            raise CommandError("--csv and --format are two formats: leave one of them out")
        _export_for_program(session, wanted, form, unenforced, file)
        return
    if unenforced is not None:
        raise CommandError("--unenforced is for --format: add it, or leave --unenforced out")
    exported = Exported()
    with session.open() as manager, session.output.progress("exporting accounts") as advance:
        _refuse_files(manager, wanted)
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


def _refuse_files(manager: RuleManager, accounts: list[str]) -> None:
    """Refuse names of files in the place of accounts, and say how to name the file to write."""
    for name in accounts:
        if "." in name or "/" in name:
            try:
                manager.account(name)
            except AccountNotFoundError:
                raise AccountNotFoundError(
                    f"there is no account {name!r}: if it is the file to write, name it with -o: "
                    f"`{suggested('export', options=['-o', name])}`"
                ) from None


def _export_for_program(
    session: Session, accounts: list[str], form: ProgramFormat, unenforced: Unenforced | None, file: Path
) -> None:
    with session.open() as manager, session.output.progress("exporting accounts") as advance:
        _refuse_files(manager, accounts)
        lists = ProgramLists(manager, form, unenforced)
        with lists.written(accounts, advance) as pieces:
            for note in lists.notes():
                session.output.note(note)
            write_text(file, pieces)
    if file != STANDARD_STREAM:
        session.output.answer(
            {**lists.record(), "format": form.value, "file": str(file)}, f"exported {lists} to {file}"
        )


def _advice(refused: int, *, some: bool, whole: bool, strict: bool, dry_run: bool) -> str:
    """Describe what the bad rows mean for the rest of the file."""
    was = "would be" if dry_run else "was"
    if strict:
        return f"nothing {was} imported, as --strict asks: correct these rows, then import the file again"
    if whole:
        return f"nothing {was} imported: a row without a readable account may belong to any of the lists to be replaced"
    if not refused and not some:
        return f"nothing {was} imported: correct these rows, then import the file again"
    if not refused:
        return f"every other row {was} imported: correct these rows, then import only them"
    accounts = counted(refused, "account", "accounts")
    were_not = "would not be" if dry_run else "was not" if refused == 1 else "were not"
    return f"{accounts} {were_not} imported: correct these rows, then import those accounts again"
