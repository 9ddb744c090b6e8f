"""`cidrgate serve`: the management API and the console on a port of this machine."""

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import LogEvery, Session, TrustEverybody, command
from cidrgate.errors import needs_extra
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.decision_log import LOG_EVERY
from cidrgate.manager import RuleManager

__all__ = ["app"]

app = typer.Typer()


@command(app, "serve", variables=True)
def _serve(
    session: Session,
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 for a free one.")] = 8080,
    link: Annotated[bool, typer.Option("--link", help="Print a one-time link to the console, as an admin.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="CIDR", help="Answer only these networks; may be repeated."),
    ] = None,
    allow_account: Annotated[
        str | None,
        typer.Option("--allow-account", metavar="ACCOUNT", help="Answer only the addresses in this account's list."),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option("--trusted-proxy", metavar="CIDR", help="The network of a proxy; may be repeated."),
    ] = None,
    trusted_hops: Annotated[
        int | None,
        typer.Option("--trusted-hops", metavar="N", help="The number of proxies, instead of their networks."),
    ] = None,
    trust_everybody: TrustEverybody = False,
    client_header: Annotated[
        str | None,
        typer.Option("--client-header", metavar="NAME", help="The header they write; X-Forwarded-For if not given."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="Serve HTTPS with this certificate.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.")] = None,
    authorize: Annotated[
        bool,
        typer.Option("--authorize", help="Also answer proxies at /v1/authorize, without a token."),
    ] = False,
    unlisted: Annotated[
        Literal["allow", "deny_unknown", "deny"] | None,
        typer.Option(
            "--unlisted",
            help="Required with --authorize: the answer for an account without a list. allow: for platforms that "
            "create an account when its customer makes the first entry. deny_unknown: for platforms that create every "
            "account. deny: every account must have a list.",
        ),
    ] = None,
    note_matches: Annotated[
        bool,
        typer.Option("--note-matches", help="With --authorize: record when each entry last allowed a request."),
    ] = False,
    log_every: LogEvery = LOG_EVERY,
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
    max_staleness: Annotated[
        float,
        typer.Option(
            "--max-staleness", metavar="SECONDS", help="The age of the lists after which /readyz and the log report it."
        ),
    ] = 15.0,
) -> None:
    """Serve the management API and the console until interrupted. Prints a one-time link if there are no tokens yet."""
    with needs_extra("server", "serve"):
        from cidrgate.service.server import Port, new_link, serve
        from cidrgate.service.settings import Settings
    if authorize and unlisted is None:
        if not create:
            session.open().close()  # a missing store is the first error to report
        raise CommandError(
            "--authorize needs --unlisted allow, deny_unknown or deny: the answer for an account without a list"
        )
    try:
        resolver = ClientIPResolver(
            trusted_proxies=trusted_proxy or None,
            trusted_hops=trusted_hops,
            client_header=client_header,
            trust_everybody=trust_everybody,
        )
        settings = Settings(
            ready_within=max_staleness,
            allow=None if allow is None else tuple(allow),
            allow_account=allow_account,
            authorize=authorize,
            unlisted=unlisted,
            note_matches=note_matches,
            log_every=log_every,
            public_url=public_url,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise CommandError(f"{file} does not exist: name the files of the certificate and of its key")
    place = Port(host, port, certificate, key)
    try:
        bound = place.bind()
    except OSError as error:
        raise CommandError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    with bound, _opened(session, create=create or not authorize, max_staleness=max_staleness) as manager:
        url = place.url(bound)
        if allow_account is not None:
            manager.account(allow_account)  # an unknown account would deny everyone
        wanted = link or not _has_token(manager)
        console = new_link(manager, str(settings._public or url)) if wanted else None

        def tell() -> None:
            lines = [f"serving on {url}" if settings._public is None else f"serving on {url}, as {settings._public}"]
            if console is not None:
                lines.append(f"open the console with this link, once: {console}")
            if place.exposed and (settings._public is None or not settings._public.secure):
                lines.append("connections are not encrypted: use --tls-certificate and --tls-key, or a proxy with TLS")
            lines.append("stop with ctrl-C")
            session.output.answer({"url": url, "console": console}, *lines)

        serve(manager, settings, resolver, place, bound, on_start=tell)


def _opened(session: Session, *, create: bool, max_staleness: float) -> RuleManager:
    if create:
        session.check_new_database()
    with session.output.progress("reading the lists", None) as progress:
        return RuleManager.open(
            session.database,
            policy=session.policy,
            create=create,
            progress=progress,
            lock_timeout=session.lock_timeout,
            max_staleness=max_staleness if 0 < max_staleness < math.inf else None,
        )


def _has_token(manager: RuleManager) -> bool:
    from cidrgate.service.auth.credentials import Credentials

    return Credentials(manager._store).any_usable()
