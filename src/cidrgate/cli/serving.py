"""`cidrgate serve`: the management API and the console on a port of this machine."""

from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import Session, command
from cidrgate.cli.server_options import ServerOptions, takes_server_options
from cidrgate.errors import needs_extra
from cidrgate.manager import RuleManager
from cidrgate.traffic import Traffic

__all__ = ["app"]

app = typer.Typer()

_READY_WITHIN = 15.0
"""Seconds up to which the lists may be stale for `/readyz`, if no option says otherwise."""

_REFRESH = 300.0
"""Seconds after which the snapshot is written again."""


@command(app, "serve", variables=True)
@takes_server_options(port=8080)
def _serve(
    session: Session,
    *,
    server: ServerOptions,
    link: Annotated[bool, typer.Option("--link", help="Print a one-time link to the console, as an admin.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="CIDR", help="Answer only these networks; may be repeated."),
    ] = None,
    allow_account: Annotated[
        str | None,
        typer.Option("--allow-account", metavar="ACCOUNT", help="Answer only the addresses in this account's list."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="Serve HTTPS with this certificate.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.")] = None,
    authorize: Annotated[
        bool,
        typer.Option("--authorize", help="Also answer proxies at /v1/authorize, without a token; needs --unlisted."),
    ] = False,
    create: Annotated[
        bool,
        typer.Option("--create", help="Create a missing database; without --authorize it is always created."),
    ] = False,
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url",
            metavar="URL",
            help="The public address, such as https://lists.example.com; requests for other hosts are rejected.",
        ),
    ] = None,
) -> None:
    """Serve the management API and the console until interrupted. Prints a one-time link if there are no tokens yet."""
    with needs_extra("server", "serve"):
        from cidrgate.service.app import create_app
        from cidrgate.service.server import Port, new_link, serve
        from cidrgate.service.settings import Settings
        from cidrgate.service.tls import tls_context
    if authorize and server.unlisted is None:
        if not create:
            session.open().close()  # a missing store is the first error to report
        raise CommandError(
            "--authorize needs --unlisted allow, deny_unknown or deny: the answer for an account without a list"
        )
    if server.uds is not None and not (server.trusted_proxy or server.trusted_hops):
        raise CommandError(
            "a Unix socket shows no address of a client: name the proxy that asks on it with --trusted-proxy unix:"
        )
    if server.traffic != "off" and not authorize:
        raise CommandError("--traffic records decisions of /v1/authorize: add --authorize")
    if key is not None and certificate is None:
        raise CommandError("--tls-key needs --tls-certificate: the file of the certificate that the key belongs to")
    resolver = server.resolver()
    ready_within = server.ready_within or server.max_staleness or _READY_WITHIN
    try:
        settings = Settings(
            ready_within=ready_within,
            allow=None if allow is None else tuple(allow),
            allow_account=allow_account,
            authorize=authorize,
            unlisted=server.unlisted,
            require_account=server.require_account,
            report_only=server.report_only,
            note_matches=server.note_matches,
            log=server.log,
            log_every=server.log_every,
            public_url=public_url,
        )
        tls = None if certificate is None else tls_context(certificate, key)
    except ValueError as error:
        raise CommandError(str(error)) from error
    place = Port(server.host, server.port, tls, server.uds)
    try:
        binding = place.bind()
    except OSError as error:
        where = server.uds or f"{server.host}, port {server.port}"
        raise CommandError(f"cannot listen on {where}: {error.strerror}") from error
    create = create or not authorize
    with binding as bound, _opened(session, server, create=create, ready_within=ready_within) as manager:
        url = place.url(bound)
        if allow_account is not None:
            manager.account(allow_account)  # an unknown account would deny everyone
        service = create_app(manager, settings, resolver=resolver)
        wanted = link or not _has_token(manager)
        shown = str(settings._public or url)
        console = new_link(manager, shown, origin=session.origin, actor=session.actor) if wanted else None

        def tell() -> None:
            lines = [f"serving on {url}" if settings._public is None else f"serving on {url}, as {settings._public}"]
            if console is not None:
                lines.append(f"open the console with this link, once: {console}")
            if place.exposed and (settings._public is None or not settings._public.secure):
                lines.append("connections are not encrypted: use --tls-certificate and --tls-key, or a proxy with TLS")
            lines.append("stop with ctrl-C")
            session.output.answer({"url": url, "console": console}, *lines)

        serve(service, place, bound, on_start=tell)


def _opened(session: Session, server: ServerOptions, *, create: bool, ready_within: float) -> RuleManager:
    if create:
        session.check_new_database()
    with session.output.progress("reading the lists", None) as progress:
        return session.open_manager(
            policy=session.policy,
            create=create,
            progress=progress,
            # Without a limit of its own, the log reports what /readyz does.
            max_staleness=server.max_staleness or ready_within,
            on_stale=server.on_stale,
            snapshot=server.snapshot,
            refresh_snapshot=None if server.snapshot is None else _REFRESH,
            traffic=Traffic.named(server.traffic, days=server.traffic_days),
        )


def _has_token(manager: RuleManager) -> bool:
    from cidrgate.service.auth.credentials import Credentials

    return Credentials(manager._store).any_usable()
