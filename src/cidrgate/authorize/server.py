"""Runs the authorize endpoint as a server: its settings, and uvicorn, the server that needs the least CPU time.

Each worker is a separate process with a separate matcher. All workers map the same snapshot file and share its pages.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cidrgate.authorize.app import AuthorizeApp
from cidrgate.authorize.client_headers import CREDENTIAL_HEADERS, ClientHeaders
from cidrgate.authorize.connections import END_SECONDS, GuardedConnection, connection_backlog, quiet
from cidrgate.authorize.listening import bound_port, check_socket_path, url_of
from cidrgate.errors import CidrgateError, SnapshotError, needs_extra
from cidrgate.event_log import log_event, log_to_stderr
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.gate.decision_log import LOG_EVERY, check_log_every
from cidrgate.gate.gate import Gate, Unlisted, check_unlisted
from cidrgate.gate.header_names import check_token
from cidrgate.manager import RuleManager
from cidrgate.process.temporary_folders import hold_folder, temporary_folder
from cidrgate.traffic import Traffic
from cidrgate.values import Duration, check_switches, seconds

with needs_extra("authorize", "cidrgate.authorize.server"):
    import uvicorn

    from cidrgate.authorize.metrics import MULTIPROCESS, ServerMetrics
    from cidrgate.authorize.operation import Operation
    from cidrgate.authorize.process import GRACE, end_with_supervisor, ends_cleanly, run, supervise

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AuthorizeSettings", "serve"]

_REFRESH = 300.0
"""Seconds after which the workers' snapshot is written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeSettings:
    """The settings of an authorize server.

    Attributes:
        database: URL of the store.
        unlisted: What happens to an account without a list: `allow`, `deny_unknown` or `deny`. None is an error.
        trusted_proxies: Networks of the proxies that call the endpoint; `unix:` for proxies on a Unix socket.
        trusted_hops: The number of proxies, instead of their networks; None to use `trusted_proxies`.
        trust_everybody: Whether the networks of the proxies may cover the whole public address space. Anyone who can
            reach the server can then claim any client address.
        client_header: The header with the client address.
        account_header: The header with the account.
        account_parameter: The query parameter with the account, instead of the header; None for the header.
        credential_headers: Headers that a client must not repeat, and that must not contain a comma.
        allow_header_aliases: Whether header names may contain other characters than letters, digits and dashes.
        require_account: Whether a request without an account is denied.
        report_only: Whether to log the requests that would be denied, without denying any.
        log: Which decisions are logged: `denials`, `all` or `none`.
        log_every: Seconds between two lines about denials of the same account and address; 0 writes every denial.
        max_staleness: The staleness of the lists, in seconds, after which the log reports it and `on_stale` counts;
            None for no limit.
        on_stale: What happens to enforced and unknown accounts while the lists are older than `max_staleness`: `serve`
            answers from the last known lists, `deny` denies them.
        ready_within: The staleness of the lists, in seconds, after which `/readyz` reports the endpoint as not ready;
            None for `max_staleness`.
        snapshot: A snapshot file to start from, which the workers share; None for no file.
        note_matches: Whether to record when each entry last matched a request.
        traffic: Whether to record which addresses act for which account: `off`, `networks` for their /24 and /48
            networks, or `addresses`.
        traffic_days: How many days the record is kept.
        metrics: Whether `/metrics` reports decisions and lists. Counting slows down each decision.
    """

    database: str = field(repr=False)  # it may contain a password
    unlisted: Unlisted | None
    trusted_proxies: tuple[str, ...] = ()
    trusted_hops: int | None = None
    trust_everybody: bool = False
    client_header: str = "x-forwarded-for"
    account_header: str = "x-account"
    account_parameter: str | None = None
    credential_headers: tuple[str, ...] = CREDENTIAL_HEADERS
    allow_header_aliases: bool = False
    require_account: bool = True
    report_only: bool = False
    log: Literal["denials", "all", "none"] = "denials"
    log_every: Duration = LOG_EVERY
    max_staleness: Duration | None = None
    on_stale: Literal["serve", "deny"] = "serve"
    ready_within: Duration | None = None
    snapshot: str | None = None
    note_matches: bool = False
    traffic: Literal["off", "networks", "addresses"] = "off"
    traffic_days: int = 30
    metrics: bool = False

    def __post_init__(self) -> None:
        """Turn durations into seconds, which the workers get as JSON.

        Raises:
            TypeError: If a duration is neither a number nor a `timedelta`, or a switch neither True nor False.
            ValueError: If a duration is negative, or is 0 where it must not be.
        """
        check_switches(
            trust_everybody=self.trust_everybody,
            allow_header_aliases=self.allow_header_aliases,
            require_account=self.require_account,
            report_only=self.report_only,
            note_matches=self.note_matches,
            metrics=self.metrics,
        )
        object.__setattr__(self, "log_every", check_log_every(self.log_every))
        for name in ("max_staleness", "ready_within"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, seconds(given, name, above_zero=True))

    def resolver(self) -> ClientIPResolver:
        """Return the resolver of the client address.

        Raises:
            ValueError: If the settings contradict each other.
        """
        return ClientIPResolver(
            trusted_proxies=None if self.trusted_hops is not None else self.trusted_proxies,
            trusted_hops=self.trusted_hops,
            client_header=self.client_header,
            trust_everybody=self.trust_everybody,
        )

    def client_headers(self) -> ClientHeaders:
        """Return the check of the client's headers.

        Raises:
            ValueError: If a name is not a valid header name.
        """
        return ClientHeaders(
            self.credential_headers,
            expected=(self.account_header, self.client_header),
            allow_aliases=self.allow_header_aliases,
        )

    def check(self) -> None:
        """Check the settings, before the server opens a store or a port.

        Raises:
            ValueError: If a setting is not valid, or if settings contradict each other.
        """
        self.resolver()
        check_token(self.account_header, "the header with the account")
        if self.on_stale not in ("serve", "deny"):
            raise ValueError(f"on_stale must be 'serve' or 'deny', not {self.on_stale!r}")
        if self.on_stale == "deny" and self.max_staleness is None:
            raise ValueError("on_stale='deny' needs max_staleness: the seconds after which lists are stale")
        self.client_headers()
        Traffic.named(self.traffic, days=self.traffic_days)
        if self.account_parameter is not None and not self.account_parameter:
            raise ValueError("the parameter with the account must have a name")

    def open(self) -> RuleManager:
        """Open the store and return a manager whose lists are loaded and follow the store.

        Raises:
            StoreError: If the store cannot be opened or read.
        """
        return RuleManager.open(
            self.database,
            max_staleness=self.max_staleness,
            on_stale=self.on_stale,
            snapshot=self.snapshot,
            refresh_snapshot=None if self.snapshot is None else _REFRESH,
            traffic=Traffic.named(self.traffic, days=self.traffic_days),
        )

    def app(self, lists: RuleManager, *, workers: int = 1) -> AuthorizeApp:
        """Return the endpoint for these lists, of one of so many workers."""
        metrics = ServerMetrics(lists, workers=_counts_of_workers(), processes=workers) if self.metrics else None
        gate = Gate(
            lists,
            unlisted=check_unlisted(self.unlisted),
            resolver=self.resolver(),
            report_only=self.report_only,
            require_account=self.require_account,
            log=self.log,
            log_every=self.log_every,
            hooks=() if metrics is None else (metrics.hook,),
            note_matches=self.note_matches,
            request_id_header="x-request-id",
        )
        return AuthorizeApp(
            gate,
            account_header=self.account_header,
            account_parameter=self.account_parameter,
            client_headers=self.client_headers(),
            elsewhere=Operation(
                lists._replica, ready_within=_in_seconds(self.ready_within or self.max_staleness), metrics=metrics
            ),
        )


def _in_seconds(duration: Duration | None) -> float | None:
    return None if duration is None else seconds(duration, "a duration")


def _counts_of_workers() -> Path | None:
    """Return the folder with the counts of all workers, or None if there is only this process."""
    folder = os.environ.get(MULTIPROCESS)
    return None if folder is None else Path(folder)


def serve(
    settings: AuthorizeSettings,
    *,
    host: str,
    port: int,
    uds: str | None,
    workers: int,
    on_loaded: Callable[[str, int], object],
) -> None:
    """Run the server until SIGINT, SIGTERM or SIGHUP. It finishes current requests before it ends.

    Args:
        settings: The settings of the endpoint.
        host: The address to listen on.
        port: The port to listen on; 0 for any free port.
        uds: The path of a Unix socket to listen on, instead of a port; None for the port.
        workers: The number of worker processes.
        on_loaded: A function to call with the address of the server and the number of accounts, before the first
            response.

    Raises:
        StoreError: If the store cannot be opened or read.
        OSError: If the server cannot listen on the port.
        SystemExit: If the server cannot listen on the Unix socket.
    """
    _log_to_stderr()
    if uds is not None:
        check_socket_path(uds)
    with ends_cleanly(), nullcontext() if uds is not None else bound_port(host, port) as bound:
        where = url_of(bound) if bound is not None else str(uds)
        if workers == 1:
            with settings.open() as lists:
                if bound is not None:
                    bound.listen(connection_backlog())
                on_loaded(where, len(lists.matcher))
                config = uvicorn.Config(settings.app(lists), uds=uds, **_SERVER, backlog=connection_backlog())
                run(uvicorn.Server(config), None if bound is None else [bound])
            return
        with temporary_folder("authorize") as folder:
            shared = settings.snapshot or str(folder / "lists.snapshot")
            with settings.open() as lists:
                try:
                    lists.save_snapshot(shared)
                except (SnapshotError, OSError) as error:  # the workers read the store instead
                    log_event(logging.WARNING, "snapshot_failed", f"the workers share no snapshot: {error}")
                on_loaded(where, len(lists.matcher))
            counts = folder / "metrics"
            counts.mkdir(mode=0o700)
            os.environ[MULTIPROCESS] = str(counts)
            # The workers get the settings by the pipe that starts them: no other process can read the password in them.
            config = uvicorn.Config(
                partial(_app_of_worker, replace(settings, snapshot=shared), folder, workers),
                factory=True,
                workers=workers,
                uds=uds,
                **_SERVER,
                backlog=connection_backlog(),
            )
            supervise(config, config.bind_socket() if bound is None else bound)


def _app_of_worker(settings: AuthorizeSettings, folder: Path, workers: int) -> AuthorizeApp:
    """Return the endpoint of one of so many workers."""
    _log_to_stderr()
    end_with_supervisor()
    hold_folder(folder)
    try:
        lists = settings.open()
        app = settings.app(lists, workers=workers)
    except CidrgateError as error:
        log_event(logging.ERROR, "worker_failed", f"a worker cannot start and will be restarted: {error}")
        raise SystemExit(1) from error
    # The signal that ends a worker lets it run nothing afterwards, and last matches and traffic have to be stored.
    app._at_end = lists.close
    return app


_SERVER: dict[str, Any] = {
    # A server that read forwarded headers itself would report the wrong peer.
    "proxy_headers": False,
    "access_log": False,
    "log_level": "warning",
    "log_config": None,
    "ws": "none",
    "interface": "asgi3",
    "server_header": False,
    "date_header": False,
    "lifespan": "on",  # shutdown writes the rest of the log
    "http": GuardedConnection,
    "timeout_graceful_shutdown": GRACE + END_SECONDS,
}
"""The settings of uvicorn."""


def _log_to_stderr() -> None:
    log_to_stderr()
    quiet(("uvicorn.error", "asyncio"))
