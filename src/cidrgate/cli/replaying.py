"""`cidrgate replay`: what lists would have decided about the requests in logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import STANDARD_STREAM, check_written, write_text
from cidrgate.cli.log_options import LogOptions, files_of, takes_log
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, Table, counted, value_text
from cidrgate.cli.rules_files import CURRENT, STORE, chosen_lists
from cidrgate.errors import needs_extra
from cidrgate.replay.report import html_report

if TYPE_CHECKING:
    from cidrgate.replay import ReplayReport

__all__ = ["app"]

app = typer.Typer()

_MOST_LINES = 20
"""How many networks an answer has for people; a program gets more."""

_LISTS = "The lists"
_ANSWER = "The answer"


@command(app, "replay")
@takes_log(account="--account")
def _replay(
    session: Session,
    logs: Annotated[
        list[str],
        typer.Argument(metavar="LOG...", help="Files, patterns such as 'logs/*.gz', or URLs; - for stdin."),
    ],
    *,
    rules: Annotated[
        str,
        typer.Option(
            "--rules",
            metavar="store|current|FILE",
            help="The lists: store for those of the database, current for those of --snapshot, or a file that `import` "
            "or `apply` reads, which is compared with them. Accounts that the file does not name keep their lists.",
            rich_help_panel=_LISTS,
        ),
    ] = STORE,
    snapshot: Annotated[
        Path | None,
        typer.Option(
            "--snapshot",
            metavar="FILE",
            help="The current lists as `compile` wrote them, instead of the store's.",
            rich_help_panel=_LISTS,
        ),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option(
            "--alone",
            help="Compare the lists of the file with nothing: accounts that it does not name are unknown.",
            rich_help_panel=_LISTS,
        ),
    ] = False,
    log: LogOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A Parquet file for the requests, each with its verdict.",
            rich_help_panel=_ANSWER,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="A report with plots, for a browser.", rich_help_panel=_ANSWER),
    ] = None,
    memory: Annotated[
        int,
        typer.Option(
            "--memory",
            metavar="MIB",
            min=64,
            max=2**20,
            help="How much memory to use for reading and sorting before the disk is used.",
            rich_help_panel=_ANSWER,
        ),
    ] = 512,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            max=1024,
            help="How many threads read the log; one for each processor if not given.",
            rich_help_panel=_ANSWER,
        ),
    ] = None,
) -> None:
    """Decide about every request in logs as the lists would, and count who is denied. Nothing is changed."""
    with needs_extra("replay", "a replay"):
        import duckdb  # noqa: F401 - before the lists are read, which may take a while
    from cidrgate.replay.replaying import replay

    if output == STANDARD_STREAM:
        raise CommandError("--output names a Parquet file, which cannot be written to a pipe")
    read = [*files_of(logs), Path(rules), snapshot]
    check_written("--output", output, [*read, html])
    check_written("--html", html, [*read, output])
    source, resolver = log.source(logs), log.resolver()
    with (
        chosen_lists(session, rules, snapshot=snapshot, alone=alone) as (matcher, before, former_names),
        session.output.rate("replaying", "lines") as advance,
    ):
        report = replay(
            source,
            matcher,
            before=before,
            resolver=resolver,
            max_bad=log.max_bad,
            memory=memory * 2**20,
            threads=threads,
            rows=output,
            former_names=former_names,
            progress=advance,
        )
    if html is not None:
        lists = "the store" if rules == STORE else f"{snapshot if rules == CURRENT else rules}"
        write_text(html, [html_report(report, f"{', '.join(logs)} with the lists of {lists}")])
    files = [one for one in (output, html) if one is not None]
    session.output.answer(report.record(), *_lines(report, files), *_not_enforced(report))


_SAID = {
    "allowed": ("allowed", "green"),
    "denied": ("denied", "red"),
    "newly_denied": ("newly denied", "red"),
    "newly_allowed": ("newly allowed", "green"),
    "unknown_account": ("unknown account", "yellow"),
    "no_account": ("no account", "yellow"),
    "no_address": ("no client address", "yellow"),
}


def _lines(report: "ReplayReport", files: list[Path]) -> list[str | Line | Table]:
    rate = f", {report.lines / report.seconds:,.0f} lines a second" if report.seconds else ""
    lines: list[str | Line | Table] = [
        f"{counted(report.lines, 'line', 'lines')} with {counted(report.requests, 'request', 'requests')} in "
        f"{report.seconds:,.1f} s{rate}",
        Table(
            ("verdict", "requests", "share"),
            [
                (_SAID[name][0], f"{requests:,}", f"{requests / report.requests:.3%}")
                for name, requests in report.verdicts.items()
                if requests
            ],
            frozenset({"requests", "share"}),
        ),
    ]
    if report.periods:
        lines.append(_over_time(report))
    if report.changes:
        lines.append(
            Table(
                ("account", "network", "verdict", "addresses", "requests", "last seen"),
                [
                    (
                        one.account,
                        _SAID["no_address"][0] if one.network is None else one.network,
                        _SAID[one.verdict][0],
                        f"{one.addresses:,}",
                        f"{one.requests:,}",
                        value_text(one.last_seen),
                    )
                    for one in report.changes[:_MOST_LINES]
                ],
                frozenset({"addresses", "requests"}),
            )
        )
        left = len(report.changes) + report.more_changes - _MOST_LINES
        if left > 0:
            lines.append(f"and {left:,} more networks; {counted(report.accounts, 'account', 'accounts')} in all")
    elif not report.requests:
        lines.append(Line("there is no request to decide about", "yellow"))
    elif report.compared and not report.unknown:
        lines.append(Line("the lists decide about every request as before", "green"))
    lines += [Line(f"not known: {one.text}", "yellow") for one in report.unknown]
    lines += [Line(one, "yellow") for one in report.notes]
    if report.bad:
        shown = ":" if report.bad_lines else "; what is read only once, such as stdin and .bz2, shows none of them"
        lines.append(Line(f"{counted(report.bad, 'bad line counts', 'bad lines count')} nowhere{shown}", "yellow"))
        lines += [Line(f"{one.file}:{one.line}: {one.reason}: {one.text}", "yellow") for one in report.bad_lines]
    return lines + [f"written: {file}" for file in files]


def _not_enforced(report: "ReplayReport") -> Iterator[Line]:
    """Yield why nothing is denied for accounts whose mode allows every address."""
    empty = report.not_enforced_empty
    if accounts := report.not_enforced - empty:
        yield Line(
            f"{counted(accounts, 'account in the log has a list', 'accounts in the log have lists')} of the mode "
            "report_only or off, which denies nothing: to see what it would deny, replay with a copy without modes "
            "(cidrgate export -o lists.csv, --rules lists.csv)",
            "yellow",
        )
    if empty:
        yield Line(
            f"{counted(empty, 'account in the log has a list', 'accounts in the log have lists')} of such a mode in "
            "which no entry matches, so that every request would be denied: a copy in CSV lacks accounts without "
            "entries; cidrgate resume ACCOUNT --dry-run --from-log LOG evaluates one",
            "yellow",
        )


_LEVELS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 80


def _over_time(report: "ReplayReport") -> Line:
    """Return what is denied over time, as a line of bars."""
    name = "newly_denied" if report.compared else "denied"
    step = report.step
    first = report.periods[0].start
    if step is None or not any(one.verdicts[name] for one in report.periods):
        return Line(f"{_SAID[name][0]} over time: none")
    # The first period of all time begins later than a whole number of steps before the others.
    places = [-((first - one.start) // step) for one in report.periods]
    joined = -(-(places[-1] + 1) // _MOST_BARS)
    sums = [0] * (places[-1] // joined + 1)
    for place, one in zip(places, report.periods, strict=True):
        sums[place // joined] += one.verdicts[name]
    bars = "".join(_LEVELS[min(7, count * 8 // (max(sums) + 1))] if count else " " for count in sums)
    return Line(f"{_SAID[name][0]} from {value_text(first)}, each bar {step * joined}: [{bars}] at most {max(sums):,}")
