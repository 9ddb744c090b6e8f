"""What `import` answers: what was stored, what was done to the networks, and what an account that failed is now."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from cidrgate.cli.evaluations import evaluation_lines
from cidrgate.cli.output import DRY, Line, Table, counted
from cidrgate.lists.normalizing import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cidrgate.cli.import_plan import ImportPlan
    from cidrgate.manager import ImportReport
    from cidrgate.manager.evaluations import Foresight

__all__ = ["import_lines", "import_record"]

_MOST_LINES = 100
"""How many differences, and how many names of accounts, an answer has for people; a program gets all."""

_MOST_NOTES = 20


def import_record(
    report: ImportReport, plan: ImportPlan, notes: Sequence[str], foresight: Foresight | None
) -> dict[str, Any]:
    """Return the result of an import as a JSON object.

    Args:
        report: The result.
        plan: What the file says.
        notes: What was noticed in the file.
        foresight: What a dry run would do to the requests of the past; None if it was none.
    """
    record: dict[str, Any] = {
        "account_count": report.accounts,
        "entry_count": report.entries,
        "created_count": report.created,
        "skipped_count": report.skipped,
        "normalized_counts": _counts(plan),
        "refused": sorted(report.problems),
        "open": sorted(report.open),
        "closed": sorted(report.closed),
        "notes": list(notes),
    }
    if foresight is not None:
        record |= {
            "dry_run": True,
            **foresight.record(),
            "differences": [
                {"account": name, "added": list(one.added), "removed": list(one.removed)}
                for name, one in report.differences.items()
            ],
        }
    return record


def _counts(plan: ImportPlan) -> dict[str, int]:
    counts: Counter[Kind] = Counter()
    for _, notes, _ in plan.notes:
        for note in notes:
            counts[note.kind] += len(note.before)
    return {kind.value: counts[kind] for kind in Kind if kind in counts}


def import_lines(
    report: ImportReport, plan: ImportPlan, notes: Sequence[str], foresight: Foresight | None, *, unit: str
) -> Iterator[str | Line | Table]:
    """Yield the lines for people: the notes first, and what nobody must overlook last.

    Args:
        report: The result.
        plan: What the file says.
        notes: What was noticed in the file.
        foresight: What a dry run would do to the requests of the past; None if it was none.
        unit: What the numbers of the lines count.
    """
    dry_run = foresight is not None
    yield from (Line(f"note: {note}", "yellow") for note in notes)
    yield from _normalized_lines(plan, unit)
    if dry_run:
        yield from _limited(
            [
                f"{name}: would {verb} {', '.join(networks)}"
                for name, one in report.differences.items()
                for verb, networks in (("add", one.added), ("remove", one.removed))
                if networks
            ]
        )
    amount = f"{counted(report.entries, 'entry', 'entries')} of {counted(report.accounts, 'account', 'accounts')}"
    if dry_run:
        yield f"would import {amount}, {report.created:,} of them to be created"
    else:
        yield f"imported {amount}, {report.created:,} of them created"
    if report.skipped:
        verb = "would skip" if dry_run else "skipped"
        yield f"{verb} {counted(report.skipped, 'entry', 'entries')} whose addresses the lists allow already"
    yield from _failed_lines(report, dry_run=dry_run)
    if foresight is not None:
        yield from evaluation_lines(foresight)
        yield DRY


def _normalized_lines(plan: ImportPlan, unit: str) -> Iterator[str]:
    counts: Mapping[str, int] = _counts(plan)
    written = [f"{number:,} {Kind(kind).told}" for kind, number in counts.items() if Kind(kind) in _NOTATIONS]
    if written:
        yield f"wrote as CIDRs: {', '.join(written)}"
    collapsed = [f"{number:,} {Kind(kind).told}" for kind, number in counts.items() if Kind(kind) not in _NOTATIONS]
    if collapsed:
        yield f"collapsed: {', '.join(collapsed)}"
    if sum(len(notes) for _, notes, _ in plan.notes) <= _MOST_NOTES:
        for account, notes, lines in plan.notes:
            for note in notes:
                several = "s" if len(note.positions) > 1 else ""
                where = ", ".join(str(lines[position]) for position in note.positions)
                yield f"{unit}{several} {where}: {account}: {note}"


_NOTATIONS = frozenset({Kind.SPELLING, Kind.ADDRESS, Kind.HOST_BITS, Kind.NETMASK, Kind.WILDCARD, Kind.RANGE})


def _failed_lines(report: ImportReport, *, dry_run: bool) -> Iterator[Line]:
    """Yield what the accounts are whose lists were refused: nobody is to believe that they are protected."""
    for names, what in (
        (report.open, "have no list and stay open: no address is denied for them, unless --unlisted says otherwise"),
        (report.closed, "would be closed" if dry_run else "are closed: every address is denied until a list is added"),
    ):
        if names:
            shown = ", ".join(sorted(names)[:_MOST_LINES])
            more = f" and {len(names) - _MOST_LINES:,} more" if len(names) > _MOST_LINES else ""
            yield Line(f"{shown}{more} {what if len(names) > 1 else _of_one(what)}", "red")


def _of_one(text: str) -> str:
    """Return a sentence about several accounts as one about a single account."""
    return (
        text.replace("have ", "has ")
        .replace(" stay ", " stays ")
        .replace("are closed", "is closed")
        .replace("for them", "for it")
    )


def _limited(lines: list[str]) -> list[str]:
    left = len(lines) - _MOST_LINES
    return lines if left <= 0 else [*lines[:_MOST_LINES], f"and {left:,} more"]
