"""`import` and `export`: the lists of many accounts in one file."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.arguments import DryRun
from cidrgate.cli.errors import BadRowsError, PartialImportError
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
from cidrgate.cli.list_files import ListFormat, format_of, written
from cidrgate.cli.list_sources import read_file
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import counted
from cidrgate.errors import SubaccountError
from cidrgate.manager import ImportReport, RuleManager
from cidrgate.values import Account, Entry

__all__ = ["app"]

app = typer.Typer()

_Format = Annotated[
    ListFormat | None, typer.Option("--format", help="The format; by default, the ending of the file's name.")
]


@command(app, "import")
def _import(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Rows of account, cidr and details, such as a label; - for stdin.")
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
    dry_run: DryRun = False,
) -> None:
    """Import the lists of many accounts. An account with a bad row is not imported; the exit status is then 7."""
    source = source_of(file, form, publisher, service, region, account, columns, comments_as_labels=comments_as_labels)
    check_together(replace=replace, skip_existing=skip_existing, closed=closed, strict=strict)
    with session.output.progress(f"reading {file.name}"), opened(file) as stream:
        reading = read_file(stream, source)
        plan = plan_import(reading.rows)
        plan.rewrite(normalize=normalize, collapse=collapse)
    # Without its stray rows, a replaced list would lose networks that the file names.
    whole = strict or (replace and bool(plan.stray))
    stopped = whole and bool(plan.stray)
    importing = session.output.progress("importing accounts", len(plan.lists))
    with session.open(create=create, dry_run=dry_run) as manager, importing as advance:
        report = manager.import_accounts(
            plan.lists,
            replace=replace,
            skip_existing=skip_existing,
            create=create,
            close=closed,
            strict=whole,
            dry_run=dry_run or stopped,
            actor=session.actor,
            progress=advance,
        )
    if stopped:
        report = ImportReport(problems=report.problems, open=report.open)
    session.output.answer(
        import_record(report, plan, reading.notes, dry_run=dry_run),
        *import_lines(report, plan, reading.notes, unit=reading.unit, dry_run=dry_run),
    )
    problems = plan.problems(report.problems, reading.unit)
    if problems:
        kind = PartialImportError if report.accounts else BadRowsError
        raise kind(_advice(len(report.problems), whole=whole, strict=strict, dry_run=dry_run), problems)


@command(app, "export")
def _export(
    session: Session,
    accounts: Annotated[list[str] | None, typer.Argument(metavar="[ACCOUNT...]", help="By default, all.")] = None,
    *,
    form: _Format = None,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - for stdout.")] = (
        STANDARD_STREAM
    ),
) -> None:
    """Export lists with account, cidr and details in every row; `import` reads such a file."""
    to_stdout = file == STANDARD_STREAM
    if form is None:
        form = (ListFormat.JSONL if session.output.json else ListFormat.CSV) if to_stdout else format_of(file.name)
    with session.open() as manager:
        names = _exported(manager, accounts or [])
        exported = 0

        def lists() -> Iterator[Sequence[Entry]]:
            nonlocal exported
            with session.output.progress("exporting accounts", len(names)) as advance:
                for name in names:
                    listed, now = manager.entries(name), datetime.now(UTC)
                    # Expired entries are left out, as a sweep would remove them. If all have expired, all are exported:
                    # without them, a copy would not be enforced. `import` rejects such a list.
                    entries = [entry for entry in listed if entry.counts(now)] or listed
                    exported += len(entries)
                    yield entries
                    advance(1)

        write_text(file, written(lists(), form))
    if not to_stdout:
        session.output.answer(
            {"account_count": len(names), "entry_count": exported, "file": str(file)},
            f"exported {_amount(exported, len(names))} to {file}",
        )


def _exported(manager: RuleManager, wanted: Sequence[str]) -> list[str]:
    """Return the accounts to export, each once: the requested ones, or all with entries, expired entries included."""
    if not wanted:
        states = manager.list_states()
        return [one.name for one in manager.accounts() if one.parent is None and states[one.name].enforced]
    names = list(dict.fromkeys(wanted))
    for name in names:
        _refuse_inherited(manager.account(name))
    return names


def _refuse_inherited(account: Account) -> None:
    if account.parent is not None:
        raise SubaccountError(
            f"account {account.name!r} is a subaccount: its list is that of {account.parent!r}; "
            f"name {account.parent!r} instead"
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
