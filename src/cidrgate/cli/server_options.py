"""The options that `serve` and `authorize` have in common: each is defined once, and means the same on both.

What only one of them has, and why: `serve` always reports metrics, to tokens, and it is one process, because it counts
wrong credentials and limits connections by itself; so `--metrics` and `--workers` are options of `authorize`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

import typer

from cidrgate.cli.durations import seconds
from cidrgate.cli.errors import CommandError
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.decision_log import LOG_EVERY

__all__ = ["ServerOptions", "takes_server_options"]

_LISTENING = "Where it listens"
_CLIENT = "The address of the client"
_DECISIONS = "Decisions about the requests of proxies; on `serve` with --authorize"
_LISTS = "The lists in memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The values of the options that both servers have; the fields are in the order of the help."""

    host: Annotated[
        str, typer.Option("--host", metavar="IP", help="The address to listen on.", rich_help_panel=_LISTENING)
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(
            "--port",
            "-p",
            metavar="N",
            min=0,
            max=65535,
            help="The port; 0 for a free one, which the first line names.",
            rich_help_panel=_LISTENING,
        ),
    ]
    uds: Annotated[
        str | None,
        typer.Option(
            "--uds", metavar="PATH", help="A Unix socket to listen on instead of a port.", rich_help_panel=_LISTENING
        ),
    ] = None
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="CIDR",
            help="A network of the proxies in front, or unix: for a Unix socket; may be repeated. The default, without "
            "--trusted-hops, is this host for `authorize`, and none for `serve`.",
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
            help="Allow --trusted-proxy to cover the whole public address space, if only the proxies can reach this "
            "port.",
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
    unlisted: Annotated[
        Literal["allow", "deny_unknown", "deny"] | None,
        typer.Option(
            "--unlisted",
            help="Required for decisions: the answer for an account without a list. allow: for platforms that create "
            "an account when its customer makes the first entry. deny_unknown: for platforms that create every "
            "account; unknown names are denied. deny: every account must have a list.",
            rich_help_panel=_DECISIONS,
        ),
    ] = None
    require_account: Annotated[
        bool,
        typer.Option(
            "--require-account/--no-require-account",
            help="Whether to deny requests that name no account.",
            rich_help_panel=_DECISIONS,
        ),
    ] = True
    report_only: Annotated[
        bool,
        typer.Option(
            "--report-only",
            help="Log the requests that would be denied, and deny none.",
            rich_help_panel=_DECISIONS,
        ),
    ] = False
    note_matches: Annotated[
        bool,
        typer.Option(
            "--note-matches", help="Record when each entry last allowed a request.", rich_help_panel=_DECISIONS
        ),
    ] = False
    traffic: Annotated[
        Literal["off", "networks", "addresses"],
        typer.Option(
            "--traffic",
            help="Whether to record which addresses act for which account. networks: only their /24 (IPv4) and /48 "
            "(IPv6) networks. addresses: whole addresses, which may be personal data.",
            rich_help_panel=_DECISIONS,
        ),
    ] = "off"
    traffic_days: Annotated[
        int,
        typer.Option(
            "--traffic-days",
            metavar="N",
            min=1,
            help="The number of days that the record of --traffic is kept.",
            rich_help_panel=_DECISIONS,
        ),
    ] = 30
    log: Annotated[
        Literal["denials", "all", "none"],
        typer.Option(
            "--log", help="Which decisions to log on stderr, as one line of JSON each.", rich_help_panel=_DECISIONS
        ),
    ] = "denials"
    log_every: Annotated[
        float,
        typer.Option(
            "--log-every",
            metavar="DURATION",
            parser=seconds(),
            help="Log repeated denials of one account and address as one line with their number, at this interval; "
            "0 for a line for each.",
            rich_help_panel=_DECISIONS,
        ),
    ] = LOG_EVERY
    max_staleness: Annotated[
        float | None,
        typer.Option(
            "--max-staleness",
            metavar="DURATION",
            parser=seconds(above_zero=True),
            help="The age of the lists after which the log reports that they are stale, and --on-stale counts.",
            rich_help_panel=_LISTS,
        ),
    ] = None
    on_stale: Annotated[
        Literal["serve", "deny"],
        typer.Option(
            "--on-stale",
            help="The answer for accounts that are enforced or unknown while the lists are stale. serve: the last "
            "known lists count. deny: they are denied.",
            rich_help_panel=_LISTS,
        ),
    ] = "serve"
    ready_within: Annotated[
        float | None,
        typer.Option(
            "--ready-within",
            metavar="DURATION",
            parser=seconds(above_zero=True),
            help="The age of the lists up to which /readyz reports the server as ready; that of --max-staleness if not "
            "given. Without both it is 15 seconds for `serve`, and there is no limit for `authorize`.",
            rich_help_panel=_LISTS,
        ),
    ] = None
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot",
            metavar="FILE",
            help="Start from this file, and keep it up to date; see `compile`.",
            rich_help_panel=_LISTS,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            CommandError: If they do.
        """
        if self.trusted_proxy and self.trusted_hops is not None:
            raise CommandError("name --trusted-proxy or --trusted-hops, not both")
        if self.on_stale == "deny" and self.max_staleness is None:
            raise CommandError("--on-stale deny needs --max-staleness: the age after which lists are stale")
        if self.snapshot == "-":
            raise CommandError("--snapshot names a file, which is mapped: - is none")

    def resolver(self, default: tuple[str, ...] = ()) -> ClientIPResolver:
        """Return the resolver of the client's address.

        Args:
            default: The trusted proxies if the options name none.

        Raises:
            CommandError: If an option is not valid.
        """
        proxies = self.trusted_proxy or default or None
        try:
            return ClientIPResolver(
                trusted_proxies=None if self.trusted_hops is not None else proxies,
                trusted_hops=self.trusted_hops,
                client_header=self.client_header,
                trust_everybody=self.trust_everybody,
            )
        except ValueError as error:
            raise CommandError(f"{error}") from error


def takes_server_options(*, port: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of both servers; its function receives them as `server`.

    Args:
        port: The port on which it listens by default.

    Returns:
        A decorator for the function; place it below that of `command`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **arguments: Any) -> None:
            common = {one.name: arguments.pop(one.name) for one in fields(ServerOptions)}
            function(*args, server=ServerOptions(**common), **arguments)

        signature = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += _parameters(port) if parameter.name == "server" else [parameter]
        run.__dict__["__signature__"] = signature.replace(parameters=parameters)
        return run

    return decorate


def _parameters(port: int) -> list[inspect.Parameter]:
    kinds = get_type_hints(ServerOptions, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=port if one.name == "port" else one.default,
            annotation=kinds[one.name],
        )
        for one in fields(ServerOptions)
    ]
