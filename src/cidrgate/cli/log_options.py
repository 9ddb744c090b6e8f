"""The options that say how logs are read: of `replay`, of `recommend`, and of every dry run that evaluates a log."""

import functools
import glob
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import check_readable
from cidrgate.cli.output import counted
from cidrgate.errors import needs_extra
from cidrgate.gate.account_sources import FromPath
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.replay.formats import FORMATS, ROLES, LogFormat, TemplateError, format_of_name, format_of_template
from cidrgate.replay.sources import LogSource
from cidrgate.values import Observation

if TYPE_CHECKING:
    from cidrgate._engine import Matcher
    from cidrgate.cli.options import Session
    from cidrgate.foresight.evaluation import UnaddressedRequests

__all__ = ["PAST", "FromLog", "LogOptions", "files_of", "log_options", "log_parameters", "takes_log"]

_LogFormat = StrEnum("_LogFormat", {name.replace("-", "_").upper(): name for name in FORMATS})  # type: ignore[misc]

PAST = "The requests of the past"
_LOG = "How the log is read"
_CLIENT = "The address of the client"

_EVERY_ACCOUNT = "every account"
"""The account of each request where accounts make no difference."""

FromLog = Annotated[
    list[str] | None,
    typer.Option(
        "--from-log",
        metavar="LOG",
        help="Read the requests of this log, not the stored traffic: a file, a pattern such as 'logs/*.gz', or a URL; "
        "- for stdin. May be repeated.",
        rich_help_panel=PAST,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How a log is read. Each field is an option of the commands that `takes_log` decorates."""

    form: Annotated[
        _LogFormat | None,
        typer.Option(
            "--format", help="The format; by default, the ending of the first file's name.", rich_help_panel=_LOG
        ),
    ] = None
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format",
            metavar="TEMPLATE",
            help="The format as the configuration of nginx, Apache or Envoy has it, such as '$remote_addr "
            '[$time_local] "$request"\'.',
            rich_help_panel=_LOG,
        ),
    ] = None
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="FIELD=COLUMN,...",
            help=f"The names of columns, such as account=customer_id,address=ip; FIELD is one of {', '.join(ROLES)}.",
            rich_help_panel=_LOG,
        ),
    ] = None
    log_account: Annotated[
        str | None,
        typer.Option("--log-account", metavar="NAME", help="The account of every request.", rich_help_panel=_LOG),
    ] = None
    account_path: Annotated[
        str | None,
        typer.Option(
            "--account-path",
            metavar="PATTERN",
            help="A pattern that finds the account in the path, as FromPath does: '/v1/accounts/(?P<account>[^/]+)'.",
            rich_help_panel=_LOG,
        ),
    ] = None
    max_bad: Annotated[
        int | None,
        typer.Option("--max-bad", metavar="N", min=0, help="Stop if more than N lines are bad.", rich_help_panel=_LOG),
    ] = None
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="CIDR",
            help="A network of the proxies in front of what wrote the log; may be repeated. Without it, the address "
            "in the log is the client's.",
            rich_help_panel=_CLIENT,
        ),
    ] = None
    trusted_hops: Annotated[
        int | None,
        typer.Option(
            "--trusted-hops",
            metavar="N",
            min=1,
            help="The number of proxies, instead of their networks.",
            rich_help_panel=_CLIENT,
        ),
    ] = None
    trust_everybody: Annotated[
        bool,
        typer.Option(
            "--trust-everybody",
            help="Allow --trusted-proxy to cover the whole public address space.",
            rich_help_panel=_CLIENT,
        ),
    ] = False
    client_header: Annotated[
        str | None,
        typer.Option(
            "--client-header",
            metavar="NAME",
            help="The header in which the proxies name the client; X-Forwarded-For if not given.",
            rich_help_panel=_CLIENT,
        ),
    ] = None

    @property
    def given(self) -> list[str]:
        """The options that were typed."""
        return [
            f"--{'format' if one.name == 'form' else one.name.replace('_', '-')}"
            for one in fields(self)
            if getattr(self, one.name) not in (one.default, [])
        ]

    @property
    def names_account(self) -> bool:
        """Whether an option says which account a request is of."""
        chosen = self.log_account, self.account_path
        return any(one is not None for one in chosen) or "account" in _columns(self.columns or [])

    def source(self, logs: list[str], *, every_account: bool = False) -> LogSource:
        """Return the log that the options describe.

        Args:
            logs: The files.
            every_account: Whether the accounts of requests make no difference; each request then has the same.

        Raises:
            CommandError: If an option is not valid, the format is unknown, or stdin is named and closed.
            LogError: If something is missing.
        """
        for name in logs:
            check_readable(Path(name))
        try:
            pattern = None if self.account_path is None else FromPath(self.account_path)
        except ValueError as error:
            raise CommandError(f"--account-path: {error}") from None
        return LogSource(
            files=logs,
            form=_format(logs[0], self.form, self.log_format),
            columns=_columns(self.columns or []),
            account=_EVERY_ACCOUNT if every_account else self.log_account if self.log_account is not None else pattern,
        )

    def resolver(self) -> ClientIPResolver | None:
        """Return what finds the client's address; None if the log has it.

        Raises:
            CommandError: If an option is not valid.
        """
        proxies, hops, header = self.trusted_proxy, self.trusted_hops, self.client_header
        if not proxies and hops is None and header is None and not self.trust_everybody:
            return None
        try:
            return ClientIPResolver(
                trusted_proxies=proxies or None,
                trusted_hops=hops,
                client_header=header,
                trust_everybody=self.trust_everybody,
            )
        except ValueError as error:
            raise CommandError(f"{error}") from error

    def observations(
        self, session: "Session", logs: list[str], matcher: "Matcher", accounts: Collection[str] | None
    ) -> "Iterator[Observation]":
        """Yield what logs say about accounts and addresses, and say how many lines are bad.

        Args:
            session: As in `past_requests`.
            logs: As in `past_requests`.
            matcher: As in `past_requests`.
            accounts: As in `past_requests`.

        Raises:
            CommandError: If an option is not valid.
            LogError: If the log cannot be read.
            MissingExtraError: If DuckDB is not installed.
        """
        for one in self.past_requests(session, logs, matcher, accounts):
            if isinstance(one, Observation):
                yield one

    def past_requests(
        self, session: "Session", logs: list[str], matcher: "Matcher", accounts: Collection[str] | None
    ) -> "Iterator[Observation | UnaddressedRequests]":
        """Yield the same, and the requests without a readable address of the client.

        Args:
            session: The context of the command.
            logs: The files.
            matcher: The lists that say what is allowed.
            accounts: Only the requests of these; None for all requests, whatever their account.

        Raises:
            CommandError: If an option is not valid.
            LogError: If the log cannot be read.
            MissingExtraError: If DuckDB is not installed.
        """
        with needs_extra("replay", "a log"):
            from cidrgate.replay.replaying import past_requests

        with session.output.rate("reading the log", "lines") as advance:
            yield from past_requests(
                self.source(logs, every_account=accounts is None),
                matcher,
                accounts=accounts,
                resolver=self.resolver(),
                max_bad=self.max_bad,
                on_bad=lambda bad, found: session.output.note(
                    f"{counted(bad, 'bad line counts', 'bad lines count')} nowhere"
                    + (f": {found[0].file}:{found[0].line}: {found[0].reason}: {found[0].text}" if found else "")
                ),
                on_note=session.output.note,
                progress=advance,
            )


def takes_log(*, account: str = "--log-account") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `LogOptions`; its function receives them as `log`.

    Args:
        account: What the command calls `--log-account`, too.

    Returns:
        A decorator for the function; place it below that of `command`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **arguments: Any) -> None:
            function(*args, log=log_options(arguments, account), **arguments)

        signature = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += log_parameters(account) if parameter.name == "log" else [parameter]
        run.__dict__["__signature__"] = signature.replace(parameters=parameters)
        return run

    return decorate


def log_options(arguments: dict[str, Any], account: str = "--log-account") -> LogOptions:
    """Take the options of `LogOptions` out of the arguments of a command.

    Raises:
        CommandError: If they contradict each other.
    """
    log = LogOptions(**{one.name: arguments.pop(one.name) for one in fields(LogOptions)})
    sources = [account] if log.log_account is not None else []
    sources += ["--account-path"] if log.account_path is not None else []
    if len(sources) > 1:
        raise CommandError(f"name {' or '.join(sources)}, not both")
    if log.log_account == "":
        raise CommandError(f"{account} is empty: name the account of every request")
    if sources and "account" in _columns(log.columns or []):
        raise CommandError(f"--columns account=… says where the account is: leave out {sources[0]}")
    return log


def log_parameters(account: str = "--log-account") -> list[inspect.Parameter]:
    """Return the options of `LogOptions` as parameters that typer reads."""
    found = []
    for parameter in inspect.signature(LogOptions, eval_str=True).parameters.values():
        if parameter.name == "log_account" and account != "--log-account":
            option = typer.Option(
                account, "--log-account", metavar="NAME", help="The account of every request.", rich_help_panel=_LOG
            )
            found.append(parameter.replace(annotation=Annotated[str | None, option]))
        else:
            found.append(parameter)
    return found


def files_of(logs: Iterable[str]) -> Iterator[Path]:
    """Yield the files that the names of logs mean, patterns included."""
    for name in logs:
        yield Path(name)
        yield from map(Path, glob.iglob(name, recursive=True))  # noqa: PTH207 - absolute patterns too


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
