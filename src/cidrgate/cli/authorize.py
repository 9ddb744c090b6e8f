"""`cidrgate authorize`: the endpoint that nginx, Envoy, Traefik, Caddy and HAProxy ask about each request."""

from typing import Annotated

import typer

from cidrgate.authorize import AUTHORIZE_PATH
from cidrgate.authorize.client_headers import CREDENTIAL_HEADERS
from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import counted
from cidrgate.cli.server_options import ServerOptions, takes_server_options
from cidrgate.errors import needs_extra

__all__ = ["app"]

app = typer.Typer()

_THIS_HOST = ("127.0.0.1/32", "::1/128", "unix:")
"""The proxies that are trusted by default: those on this host, by the addresses from which they reach it."""


@command(app, "authorize", variables=True)
@takes_server_options(port=8081)
def _authorize(
    session: Session,
    *,
    server: ServerOptions,
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
    workers: Annotated[
        int,
        typer.Option(
            "--workers", metavar="N", min=1, help="The number of processes. `serve` is always one: ask this instead."
        ),
    ] = 1,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics",
            help="Serve metrics for Prometheus at /metrics, without a token; each decision then takes longer. `serve` "
            "always does, for tokens.",
        ),
    ] = False,
) -> None:
    """Answer requests of proxies: 200 if the client may act for the account, 403 if not."""
    with needs_extra("authorize", "authorize"):
        from cidrgate.authorize.server import AuthorizeSettings, serve
    server.resolver(_THIS_HOST)
    try:
        settings = AuthorizeSettings(
            database=session.database,
            unlisted=server.unlisted,
            trusted_proxies=tuple(server.trusted_proxy or _THIS_HOST),
            trusted_hops=server.trusted_hops,
            trust_everybody=server.trust_everybody,
            client_header=server.client_header or "X-Forwarded-For",
            account_header=account_header,
            account_parameter=account_parameter,
            credential_headers=tuple(credential_header or CREDENTIAL_HEADERS),
            allow_header_aliases=allow_header_aliases,
            require_account=server.require_account,
            report_only=server.report_only,
            log=server.log,
            log_every=server.log_every,
            max_staleness=server.max_staleness,
            on_stale=server.on_stale,
            ready_within=server.ready_within,
            snapshot=server.snapshot,
            note_matches=server.note_matches,
            traffic=server.traffic,
            traffic_days=server.traffic_days,
            metrics=metrics,
        )
        settings.check()
    except ValueError as error:
        raise CommandError(f"{error}") from error
    session.open().close()  # report a missing store now, once, and not in every worker
    if server.unlisted is None:
        raise CommandError(
            "choose the answer for an account without a list: --unlisted allow if an account is created when its "
            "customer makes the first entry. If every account is created, --unlisted deny_unknown denies unknown "
            "names; if every account must have a list, --unlisted deny denies both"
        )

    def announce(where: str, accounts: int) -> None:
        session.output.answer(
            {"url": f"{where}{AUTHORIZE_PATH}", "account_count": accounts, "workers": workers},
            f"answering at {where}{AUTHORIZE_PATH}, {counted(accounts, 'account', 'accounts')}",
        )

    try:
        serve(settings, host=server.host, port=server.port, uds=server.uds, workers=workers, on_loaded=announce)
    except BrokenPipeError:
        raise  # nobody reads the answer
    except OSError as error:
        where = server.uds or f"{server.host}, port {server.port}"
        raise CommandError(f"cannot listen on {where}: {error.strerror or error}") from error
