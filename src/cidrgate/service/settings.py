"""The operator's settings for the service, and the objects that all its parts use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from cidrgate.gate.decision_log import LOG_EVERY, check_log, check_log_every
from cidrgate.gate.gate import check_unlisted
from cidrgate.service.auth.credentials import lifetime_of
from cidrgate.service.http.limits import LARGEST_BODY
from cidrgate.service.http.public_url import PublicURL
from cidrgate.values import Duration, Prefix, check_switches, check_type, seconds, several_networks, whole_number

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from cidrgate.gate.client_ip import ClientIPResolver
    from cidrgate.gate.gate import Unlisted
    from cidrgate.manager import RuleManager
    from cidrgate.manager.change_feed import ChangeFeed
    from cidrgate.service.auth.credentials import Credentials
    from cidrgate.service.auth.failed_sign_ins import FailedSignInLog
    from cidrgate.service.auth.metrics_readers import MetricsReaders
    from cidrgate.service.auth.rate_limit import LoginRateLimit
    from cidrgate.service.auth.token_checks import TokenChecks
    from cidrgate.service.http.idempotency import IdempotentResponses
    from cidrgate.service.http.metrics import Metrics
    from cidrgate.service.http.threads import StoreProbe, Threads

__all__ = ["Service", "Settings", "service_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the service. Durations are a number of seconds or a `timedelta`.

    Attributes:
        session_lifetime: How long a person stays signed in to the console; at most a thousand years.
        ready_within: The staleness up to which `/readyz` reports the service as ready. What stale lists answer is a
            setting of the manager: `max_staleness` and `on_stale`.
        login_failures: How many wrong credentials one client may send per minute; right ones are always accepted.
        max_body: The largest size of a request in bytes.
        answer_lifetime: How long the service remembers an `Idempotency-Key`; at most a thousand years.
        allow: Networks that may use the service; None for every address. `/healthz` and `/readyz` are always open.
        allow_account: An account whose list decides who may use the service, instead of `allow`. An empty list denies
            every address.
        authorize: Whether `/v1/authorize` answers proxies. They send no token: use it only if no one else can reach it.
        unlisted: The answer of `/v1/authorize` for an account without a list, as in `Gate`; required with `authorize`.
        require_account: Whether `/v1/authorize` denies requests that name no account.
        report_only: Whether `/v1/authorize` logs the requests that it would deny, and denies none.
        note_matches: Whether `/v1/authorize` records which entries allow requests, so that lists show which are used.
        log: Which decisions are logged, as in `Gate`.
        log_every: The time between two log lines about denials of the same account and address, as in `Gate`.
        public_url: The public address of the service, such as `https://lists.example.com`. Requests for another host
            are rejected, and with `https` the cookies require TLS. None if unknown.
    """

    session_lifetime: Duration = timedelta(hours=12)
    ready_within: Duration = 15.0
    login_failures: int = 20
    max_body: int = LARGEST_BODY
    answer_lifetime: Duration = timedelta(hours=24)
    allow: tuple[Prefix, ...] | None = None
    allow_account: str | None = None
    authorize: bool = False
    unlisted: Unlisted | None = None
    require_account: bool = True
    report_only: bool = False
    note_matches: bool = False
    log: Literal["denials", "all", "none"] = "denials"
    log_every: Duration = LOG_EVERY
    public_url: str | None = None

    def __post_init__(self) -> None:
        """Reject settings of a wrong type, and settings that contradict each other."""
        check_switches(
            authorize=self.authorize,
            require_account=self.require_account,
            report_only=self.report_only,
            note_matches=self.note_matches,
        )
        check_type(self.allow_account, str, "allow_account", or_none=True)
        check_type(self.public_url, str, "public_url", or_none=True)
        if self.allow is not None:
            several_networks(self.allow, "allow")
        check_log(self.log)
        whole_number(self.login_failures, "login_failures", least=0)
        whole_number(self.max_body, "max_body", least=1)
        if self.allow is not None and self.allow_account is not None:
            raise ValueError("set allow or allow_account, not both")
        if self.authorize:
            check_unlisted(self.unlisted)
        elif self.unlisted is not None:
            raise ValueError("unlisted applies only to /v1/authorize: enable authorize too")
        if (self.note_matches or self.report_only or not self.require_account) and not self.authorize:
            raise ValueError(
                "note_matches, report_only and require_account apply only to /v1/authorize: enable authorize too"
            )
        lifetime_of(self.session_lifetime, "session_lifetime", above_zero=True)
        lifetime_of(self.answer_lifetime, "answer_lifetime", above_zero=True)
        seconds(self.ready_within, "ready_within")
        check_log_every(self.log_every)
        self._public  # noqa: B018 - raises an error for an invalid URL

    @property
    def _public(self) -> PublicURL | None:
        """`public_url`, read."""
        return None if self.public_url is None else PublicURL.parse(self.public_url)


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that the parts of one application share."""

    manager: RuleManager
    credentials: Credentials
    token_checks: TokenChecks
    metrics_readers: MetricsReaders
    settings: Settings
    resolver: ClientIPResolver
    failures: LoginRateLimit
    failed_sign_ins: FailedSignInLog
    answers: IdempotentResponses
    metrics: Metrics
    threads: Threads
    stream_threads: Threads
    feed_threads: Threads
    feed: ChangeFeed
    probe: StoreProbe

    def close(self) -> None:
        """End the streams of changes, and log the wrong credentials that were counted. A second call does nothing."""
        try:
            self.feed.close()
        finally:
            self.failed_sign_ins.close()


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that received a request."""
    service: Service = connection.app.state.service
    return service
