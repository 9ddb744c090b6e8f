"""`cidrgate authorize`: the endpoint that nginx, Envoy, Traefik, Caddy and HAProxy ask about each request."""

from typing import Annotated, Literal

import typer

from cidrgate.authorize import AUTHORIZE_PATH
from cidrgate.authorize.client_headers import CREDENTIAL_HEADERS
from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import LogEvery, Session, TrustEverybody, command
from cidrgate.cli.output import counted
from cidrgate.errors import needs_extra
from cidrgate.gate.decision_log import LOG_EVERY

__all__ = ["app"]

app = typer.Typer()

_THIS_HOST = ("127.0.0.1/32", "::1/128", "unix:")
"""The proxies that are trusted by default: those on this host, by the addresses from which they reach it."""


@command(app, "authorize", variables=True)
def _authorize(
    session: Session,
    *,
    unlisted: Annotated[
        Literal["allow", "deny_unknown", "deny"] | None,
        typer.Option(
            "--unlisted",
            help="Required: the answer for an account without a list. allow: for platforms that create an account when "
            "its customer makes the first entry. deny_unknown: for platforms that create every account; unknown names "
            "are denied. deny: every account must have a list.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="IP", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", metavar="N", min=1, max=65535, help="The port.")] = 8081,
    uds: Annotated[
        str | None, typer.Option("--uds", metavar="PATH", help="A Unix socket to listen on instead of a port.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="The number of processes.")] = 1,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="CIDR",
            help="A network of the proxies that ask, or unix: for a Unix socket; may be repeated. The default, without "
            "--trusted-hops, is this host.",
        ),
    ] = None,
    trusted_hops: Annotated[
        int | None,
        typer.Option("--trusted-hops", metavar="N", min=1, help="The number of proxies, instead of their networks."),
    ] = None,
    trust_everybody: TrustEverybody = False,
    client_header: Annotated[
        str, typer.Option("--client-header", metavar="NAME", help="The header with the client's address.")
    ] = "X-Forwarded-For",
    account_header: Annotated[
        str, typer.Option("--account-header", metavar="NAME", help="The header with the account.")
    ] = "X-Account",
    account_parameter: Annotated[
        str | None,
        typer.Option(
            "--account-parameter",
            metavar="NAME",
            help="The query parameter with the account, instead of the header.",
        ),
    ] = None,
    credential_header: Annotated[
        list[str] | None,
        typer.Option(
            "--credential-header",
            metavar="NAME",
            help="A header that a client may send at most once and without a comma, because the proxy passes it on; "
            "may be repeated. The default is Authorization and X-Api-Key.",
        ),
    ] = None,
    allow_header_aliases: Annotated[
        bool,
        typer.Option(
            "--allow-header-aliases",
            help="Allow requests with a header such as X_Account, which some servers confuse with X-Account, if the "
            "proxy passes it on.",
        ),
    ] = False,
    require_account: Annotated[
        bool,
        typer.Option("--require-account/--no-require-account", help="Deny requests that name no account."),
    ] = True,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Log the requests that would be denied, and deny none.")
    ] = False,
    log: Annotated[
        Literal["denials", "all", "none"],
        typer.Option("--log", help="Which decisions to log on stderr, as one line of JSON each."),
    ] = "denials",
    log_every: LogEvery = LOG_EVERY,
    max_staleness: Annotated[
        float | None,
        typer.Option(
            "--max-staleness",
            metavar="SECONDS",
            help="The age of the lists after which the log reports it and --on-stale counts; by default there is none.",
        ),
    ] = None,
    on_stale: Annotated[
        Literal["serve", "deny"],
        typer.Option(
            "--on-stale",
            help="The answer for enforced and unknown accounts while the lists are older than --max-staleness. serve: "
            "the last known lists count. deny: they are denied.",
        ),
    ] = "serve",
    ready_within: Annotated[
        float | None,
        typer.Option(
            "--ready-within",
            metavar="SECONDS",
            help="The age of the lists after which /readyz reports the endpoint as not ready; by default that of "
            "--max-staleness.",
        ),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="FILE", help="Start from this file, and keep it up to date; see `compile`."),
    ] = None,
    note_matches: Annotated[
        bool,
        typer.Option("--note-matches", help="Record when each entry last allowed a request."),
    ] = False,
    metrics: Annotated[
        bool,
        typer.Option("--metrics", help="Serve metrics for Prometheus at /metrics; each decision then takes longer."),
    ] = False,
) -> None:
    """Answer requests of proxies: 200 if the client may act for the account, 403 if not."""
    with needs_extra("authorize", "authorize"):
        from cidrgate.authorize.server import AuthorizeSettings, serve
    if trusted_proxy and trusted_hops is not None:
        raise CommandError("name --trusted-proxy or --trusted-hops, not both")
    try:
        settings = AuthorizeSettings(
            database=session.database,
            unlisted=unlisted,
            trusted_proxies=tuple(trusted_proxy or _THIS_HOST),
            trusted_hops=trusted_hops,
            trust_everybody=trust_everybody,
            client_header=client_header,
            account_header=account_header,
            account_parameter=account_parameter,
            credential_headers=tuple(credential_header or CREDENTIAL_HEADERS),
            allow_header_aliases=allow_header_aliases,
            require_account=require_account,
            report_only=report_only,
            log=log,
            log_every=log_every,
            max_staleness=max_staleness,
            on_stale=on_stale,
            ready_within=ready_within,
            snapshot=snapshot,
            note_matches=note_matches,
            metrics=metrics,
        )
        settings.check()
    except ValueError as error:
        raise CommandError(f"{error}") from error
    session.open().close()  # report a missing store now, once, and not in every worker
    if unlisted is None:
        raise CommandError(
            "choose the answer for an account without a list: --unlisted allow if an account is created when its "
            "customer makes the first entry. If every account is created, --unlisted deny_unknown denies unknown "
            "names; if every account must have a list, --unlisted deny denies both"
        )
    where = uds or f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def announce(accounts: int) -> None:
        session.output.answer(
            {"url": f"{where}{AUTHORIZE_PATH}", "accounts": accounts, "workers": workers},
            f"answering at {where}{AUTHORIZE_PATH}, {counted(accounts, 'account', 'accounts')}",
        )

    serve(settings, host=host, port=port, uds=uds, workers=workers, on_loaded=announce)
