"""`cidrgate replay`: what lists would have decided about the requests in logs."""

import glob
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import STANDARD_STREAM, check_written, write_text
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, Table, counted, value_text
from cidrgate.cli.rules_files import CURRENT, STORE, chosen_lists
from cidrgate.errors import needs_extra
from cidrgate.gate.account_sources import FromPath
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.replay.formats import FORMATS, ROLES, LogFormat, TemplateError, format_of_name, format_of_template
from cidrgate.replay.report import html_report
from cidrgate.replay.sources import LogSource

if TYPE_CHECKING:
    from cidrgate.replay import ReplayReport

__all__ = ["app"]

app = typer.Typer()

_LogFormat = StrEnum("_LogFormat", {name.replace("-", "_").upper(): name for name in FORMATS})  # type: ignore[misc]

_MOST_LINES = 20
"""How many networks an answer has for people; a program gets more."""

_LOG = "How the log is read"
_CLIENT = "The address of the client"
_LISTS = "The lists"
_ANSWER = "The answer"


@command(app, "replay")
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
    form: Annotated[
        _LogFormat | None,
        typer.Option(
            "--format", help="The format; by default, the ending of the first file's name.", rich_help_panel=_LOG
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format",
            metavar="TEMPLATE",
            help="The format as the configuration of nginx, Apache or Envoy has it, such as '$remote_addr "
            '[$time_local] "$request"\'.',
            rich_help_panel=_LOG,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="FIELD=COLUMN,...",
            help=f"The names of columns, such as account=customer_id,address=ip; FIELD is one of {', '.join(ROLES)}.",
            rich_help_panel=_LOG,
        ),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="NAME", help="The account of every request.", rich_help_panel=_LOG),
    ] = None,
    account_path: Annotated[
        str | None,
        typer.Option(
            "--account-path",
            metavar="PATTERN",
            help="A pattern that finds the account in the path, as FromPath does: '/v1/accounts/(?P<account>[^/]+)'.",
            rich_help_panel=_LOG,
        ),
    ] = None,
    max_bad: Annotated[
        int | None,
        typer.Option("--max-bad", metavar="N", min=0, help="Stop if more than N lines are bad.", rich_help_panel=_LOG),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="CIDR",
            help="A network of the proxies in front of what wrote the log; may be repeated. Without it, the address "
            "in the log is the client's.",
            rich_help_panel=_CLIENT,
        ),
    ] = None,
    trusted_hops: Annotated[
        int | None,
        typer.Option(
            "--trusted-hops",
            metavar="N",
            min=1,
            help="The number of proxies, instead of their networks.",
            rich_help_panel=_CLIENT,
        ),
    ] = None,
    trust_everybody: Annotated[
        bool,
        typer.Option(
            "--trust-everybody",
            help="Allow --trusted-proxy to cover the whole public address space.",
            rich_help_panel=_CLIENT,
        ),
    ] = False,
    client_header: Annotated[
        str | None,
        typer.Option(
            "--client-header",
            metavar="NAME",
            help="The header in which the proxies name the client; X-Forwarded-For if not given.",
            rich_help_panel=_CLIENT,
        ),
    ] = None,
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
    read = [*_files_of(logs), Path(rules), snapshot]
    check_written("--output", output, [*read, html])
    check_written("--html", html, [*read, output])
    source = _source(logs, form, log_format, columns or [], account, account_path)
    resolver = _resolver(trusted_proxy, trusted_hops, client_header, trust_everybody=trust_everybody)
    with (
        chosen_lists(session, rules, snapshot=snapshot, alone=alone) as (matcher, before),
        session.output.rate("replaying", "lines") as advance,
    ):
        report = replay(
            source,
            matcher,
            before=before,
            resolver=resolver,
            max_bad=max_bad,
            memory=memory * 2**20,
            threads=threads,
            rows=output,
            progress=advance,
        )
        lenient = matcher._count_mode("report_only") + matcher._count_mode("off")
    if html is not None:
        lists = "the store" if rules == STORE else f"{snapshot if rules == CURRENT else rules}"
        write_text(html, [html_report(report, f"{', '.join(logs)} with the lists of {lists}")])
    files = [one for one in (output, html) if one is not None]
    session.output.answer(report.record(), *_lines(report, files), *_not_enforced(lenient))


def _files_of(logs: list[str]) -> Iterator[Path]:
    """Yield the files that the names of logs mean, patterns included."""
    for name in logs:
        yield Path(name)
        yield from map(Path, glob.iglob(name, recursive=True))  # noqa: PTH207 - absolute patterns too


def _source(
    logs: list[str],
    form: _LogFormat | None,
    log_format: str | None,
    columns: list[str],
    account: str | None,
    account_path: str | None,
) -> LogSource:
    """Return the log that the options describe.

    Raises:
        CommandError: If they contradict each other, or the format is unknown.
        LogError: If something is missing.
    """
    if account is not None and account_path is not None:
        raise CommandError("name --account or --account-path, not both")
    by_column = _columns(columns)
    if "account" in by_column and (account is not None or account_path is not None):
        raise CommandError("--columns account=… says where the account is: leave out --account and --account-path")
    try:
        pattern = None if account_path is None else FromPath(account_path)
    except ValueError as error:
        raise CommandError(f"--account-path: {error}") from None
    return LogSource(
        files=logs,
        form=_format(logs[0], form, log_format),
        columns=by_column,
        account=account if account is not None else pattern,
    )


def _format(first: str, form: _LogFormat | None, log_format: str | None) -> LogFormat:
    if form is not None and log_format is not None:
        raise CommandError("name --format or --log-format, not both")
    if log_format is not None:
        try:
            return format_of_template(log_format)
        except TemplateError as error:
            raise CommandError(f"--log-format cannot be read back: {error}") from None
    found = FORMATS[form.value] if form is not None else format_of_name(first)
    if found is None:
        raise CommandError(
            f"the name {first!r} does not say its format: add --format ({', '.join(FORMATS)}) or --log-format"
        )
    return found


def _columns(texts: list[str]) -> dict[str, str]:
    """Return the columns that `--columns` names.

    Raises:
        CommandError: If a text is not `field=name`, or a field is unknown or repeated.

    Example:
        >>> _columns(["account=customer_id,address=ip"])
        {'account': 'customer_id', 'address': 'ip'}
    """
    found: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, column = (one.strip() for one in part.partition("="))
            if not equals or not column or name not in ROLES:
                raise CommandError(f"--columns {part!r} is not FIELD=COLUMN, where FIELD is one of {', '.join(ROLES)}")
            if name in found:
                raise CommandError(f"--columns names the column of {name} twice")
            found[name] = column
    return found


def _resolver(
    proxies: list[str] | None, hops: int | None, header: str | None, *, trust_everybody: bool
) -> ClientIPResolver | None:
    """Return what finds the client's address; None if the log has it.

    Raises:
        CommandError: If an option is not valid.
    """
    if not proxies and hops is None and header is None and not trust_everybody:
        return None
    try:
        return ClientIPResolver(
            trusted_proxies=proxies or None, trusted_hops=hops, client_header=header, trust_everybody=trust_everybody
        )
    except ValueError as error:
        raise CommandError(f"{error}") from error


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
                        one.network,
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
    elif report.compared:
        lines.append(Line("the lists decide about every request as before", "green"))
    if report.bad:
        lines.append(Line(f"{counted(report.bad, 'bad line', 'bad lines')}, which count nowhere:", "yellow"))
        lines += [Line(f"{one.file}:{one.line}: {one.reason}: {one.text}", "yellow") for one in report.bad_lines]
    return lines + [f"written: {file}" for file in files]


def _not_enforced(lenient: int) -> Iterator[Line]:
    """Yield why nothing is denied for accounts whose mode allows every address."""
    if lenient:
        yield Line(
            f"{counted(lenient, 'list has', 'lists have')} the mode report_only or off, which denies nothing: to see "
            "what it would deny, replay with a copy without modes (cidrgate export -o lists.csv, --rules lists.csv)",
            "yellow",
        )


_LEVELS = "▁▂▃▄▅▆▇█"


def _over_time(report: "ReplayReport") -> Line:
    """Return what is denied over time, as a line of bars."""
    name = "newly_denied" if report.compared else "denied"
    step = report.step
    first = report.periods[0].start
    counts = {one.start: one.verdicts[name] for one in report.periods}
    most = max(counts.values())
    if step is None or not most:
        return Line(f"{_SAID[name][0]} over time: none")
    places = round((report.periods[-1].start - first) / step) + 1
    joined = -(-places // 80)
    sums = [
        sum(counts.get(first + step * place, 0) for place in range(start, start + joined))
        for start in range(0, places, joined)
    ]
    bars = "".join(_LEVELS[min(7, count * 8 // (max(sums) + 1))] if count else " " for count in sums)
    return Line(f"{_SAID[name][0]} from {value_text(first)}, each bar {step * joined}: [{bars}] at most {max(sums):,}")
