"""`plan` and `apply`: the lists of many accounts as a file declares them, for scripts and for Git."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.arguments import Confirmed, DryRun, Empty, Yes
from cidrgate.cli.confirming import confirm
from cidrgate.cli.declared_files import read_declared
from cidrgate.cli.errors import BadRowsError, PartialImportError, RowProblem, shell_message
from cidrgate.cli.evaluations import evaluation_lines
from cidrgate.cli.exit_statuses import DRIFT, PLAN_FAILED
from cidrgate.cli.files import read_text
from cidrgate.cli.list_attempts import named
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY, Line, Table, counted
from cidrgate.cli.past_requests import PastRequests, takes_past_requests
from cidrgate.cli.plan_files import versions_of_plan
from cidrgate.errors import RuleError
from cidrgate.manager import ApplyReport, DeclaredAccount, DeclaredChange, RuleManager
from cidrgate.manager.confirmations import refuse_unconfirmed
from cidrgate.manager.evaluations import Foresight, changed_lists
from cidrgate.manager.outcomes import Guard, ListOutcome

__all__ = ["app"]

app = typer.Typer()

_MOST_LINES = 200
"""How many differences an answer has for people; a program gets all."""

_File = Annotated[Path, typer.Argument(metavar="FILE", help="Lists in TOML (.toml) or JSON; - for JSON on stdin.")]
_Prune = Annotated[bool, typer.Option("--prune", help="Remove entries of these accounts that the file does not have.")]
_Create = Annotated[bool, typer.Option("--create/--no-create", help="Create accounts that do not exist.")]


@command(app, "plan", failure=PLAN_FAILED)
@takes_past_requests
def _plan(session: Session, file: _File, *, prune: _Prune = False, create: _Create = True, past: PastRequests) -> None:
    """Show what `apply` would change. The exit status is 0 if nothing would, 2 if something would, and 1 for an error.

    An account that cannot be what the file declares is an error too.
    """
    declared = read_declared(read_text(file), file.name)
    tried: list[ListOutcome] = []
    with session.open() as manager:
        report = manager.with_hooks(before_store=tried.append).plan(declared, prune=prune, create=create)
        foresight = past.foresight(session, manager, tried)
    lines = _lines(report, prune=prune, dry_run=True, foresight=foresight)
    session.output.answer({**report.record(), **foresight.record()}, *lines)
    _raise_problems(report, dry_run=True, whole=False)
    if report.drift:
        raise typer.Exit(DRIFT)


@command(app, "apply")
@takes_past_requests
def _apply(
    session: Session,
    file: _File,
    *,
    prune: _Prune = False,
    create: _Create = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Change everything in one transaction, or nothing if an account fails.")
    ] = False,
    planned: Annotated[
        Path | None,
        typer.Option("--planned", metavar="FILE", help="The output of `plan --json`: only what it says may be done."),
    ] = None,
    empty: Empty = False,
    confirmed: Confirmed = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Make the lists what a file declares. Accounts that it does not name do not change.

    With --prune, entries that the file does not have are removed. They are shown first, and the command asks; where
    nobody can be asked it needs --yes.
    """
    declared = read_declared(read_text(file), file.name)
    with session.open(create=create, dry_run=dry_run) as manager:
        planned_changes: list[ListOutcome] = []
        trial = manager.with_hooks(before_store=planned_changes.append)
        plan = trial.plan(declared, prune=prune, create=create)
        versions = plan.versions if planned is None else versions_of_plan(read_text(planned), planned.name, plan)
        removed = sum(_removed(change) for change in plan.changes)
        if prune and removed and not dry_run:
            gone = counted(removed, "entry", "entries")
            if not yes:
                for line in _lines(plan, prune=prune, dry_run=True, empty=empty, ending=None):
                    session.output.note(line.text if isinstance(line, Line) else str(line))
                for sentence in manager._foresight(changed_lists(planned_changes)).sentences():
                    session.output.note(sentence.text)
            confirm(session.output, lambda: f"Remove {gone}?", f"{gone} would be removed", yes=yes)
        if dry_run:
            report, made = _tried(
                manager,
                declared,
                {*(confirmed or ()), *([Guard.DISABLE_ENFORCEMENT] if empty else [])},
                prune=prune,
                create=create,
                strict=strict,
                expect_versions=versions,
                actor=session.actor,
            )
            foresight = past.foresight(session, manager, made)
        else:
            foresight = Foresight()
            with session.output.progress("applying", len(declared)) as advance:
                report = manager.apply(
                    declared,
                    prune=prune,
                    create=create,
                    strict=strict,
                    expect_versions=versions,
                    allow_empty=empty,
                    actor=session.actor,
                    confirmed=confirmed or (),
                    progress=advance,
                )
    stopped = strict and bool(report.problems)
    record = {**report.record(), "dry_run": True, **foresight.record()} if dry_run else report.record()
    lines = _lines(
        report,
        prune=prune,
        dry_run=dry_run or not report.applied,
        stopped=stopped,
        empty=empty,
        foresight=foresight,
        ending=DRY if dry_run else Line("nothing was changed", "yellow"),
    )
    session.output.answer(record, *lines)
    _raise_problems(report, whole=stopped, dry_run=dry_run)


def _tried(
    manager: RuleManager,
    declared: Mapping[str, DeclaredAccount],
    confirmed: Collection[Guard],
    *,
    prune: bool,
    create: bool,
    strict: bool,
    expect_versions: Mapping[str, int],
    actor: str | None,
) -> tuple[ApplyReport, list[ListOutcome]]:
    """Return what `apply` would report, and the changes that it would make.

    A change that is not confirmed is refused, as it would be then. All problems are found, also if one is enough.
    """
    outcomes: list[ListOutcome] = []

    def tried(outcome: ListOutcome) -> None:
        refuse_unconfirmed(outcome, None, confirmed)
        outcomes.append(outcome)

    trial = manager.with_hooks(before_store=tried, dry_run=True)
    report = trial.apply(declared, prune=prune, create=create, expect_versions=expect_versions, actor=actor)
    return report, [] if strict and report.problems else outcomes


def _removed(change: DeclaredChange) -> int:
    after = {entry.id for entry in change.after}
    return sum(entry.id not in after for entry in change.before)


def _lines(
    report: ApplyReport,
    *,
    prune: bool,
    dry_run: bool,
    stopped: bool = False,
    empty: bool = False,
    foresight: Foresight | None = None,
    ending: Line | None = DRY,
) -> Iterator[str | Line | Table]:
    """Yield the difference, one line for each entry, with + for added, - for removed and ~ for edited.

    Args:
        report: What changed or would change.
        prune: Whether entries that the file does not have are removed.
        dry_run: Whether nothing was changed.
        stopped: Whether nothing is changed because of a problem.
        empty: Whether lists may become empty.
        foresight: What would happen to the requests of the past; None to leave it out.
        ending: What says that nothing was changed, if nothing was; None to leave it out.
    """
    lines = [line for change in report.changes for line in _differences(change)]
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES:,} more"
    if report.kept and not prune:
        kept = counted(
            report.kept, "entry that the file does not have stays", "entries that the file does not have stay"
        )
        yield Line(f"{kept}: --prune removes them", "yellow")
    for change in report.changes:
        if Guard.DISABLE_ENFORCEMENT in change.confirm:
            own = change.parent is None
            if dry_run:
                does = "would have no entries and allow" if own else "would not be enforced and allow"
            else:
                does = "has no entries and allows" if own else "is not enforced and allows"
            way_out = ": say --empty to apply" if dry_run and not empty else ""
            yield Line(f"{change.account} {does} every address{way_out}", "yellow")
    verb = "would change" if dry_run else "changed"
    changed = counted(len(report.changes), "account", "accounts")
    summary = f"{verb} {changed}"
    if stopped:
        summary = f"0 accounts change because of a problem, as --strict asks; without it, {changed} would"
    yield f"{summary}; {counted(report.unchanged, 'account is', 'accounts are')} as declared"
    if foresight is not None and report.changes:
        yield from evaluation_lines(foresight)
    if dry_run and ending is not None:
        yield ending


def _differences(change: DeclaredChange) -> Iterator[str]:
    if change.created:
        parent = "" if change.parent is None else f", which inherits the list of {change.parent}"
        yield f"+ account {change.account}{parent}"
    before = {entry.id: entry for entry in change.before}
    after = {entry.id for entry in change.after}
    for entry in change.before:
        if entry.id not in after:
            yield f"- {change.account}: {named(entry)}"
    for entry in change.after:
        old = before.get(entry.id)
        if old is None:
            yield f"+ {change.account}: {named(entry)}"
        else:
            yield f"~ {change.account}: {named(old)} -> {named(entry)}"


def _raise_problems(report: ApplyReport, *, whole: bool, dry_run: bool = False) -> None:
    if not report.problems:
        return
    problems = []
    for account, error in report.problems.items():
        if isinstance(error, RuleError):
            problems += [
                RowProblem((one.position + 1,), account, one.code, one.text, one.conflicts, str(one), unit="entry")
                for one in error.problems
            ]
        else:
            problems.append(RowProblem((), account, error.code, "", (), shell_message(error)))
    if whole:
        raise BadRowsError(f"nothing {'would be' if dry_run else 'was'} changed, as --strict asks", problems)
    accounts = counted(len(report.problems), "account", "accounts")
    consequence = "would not be" if dry_run else "was not" if len(report.problems) == 1 else "were not"
    kind = PartialImportError if (report.applied or dry_run) and report.changes else BadRowsError
    raise kind(f"{accounts} {consequence} changed", problems)
