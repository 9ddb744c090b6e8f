"""What an operator may decide about the service, and what all its parts work with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cidrgate.gate.decision_log import LOG_EVERY, check_log_every
from cidrgate.gate.gate import check_unlisted
from cidrgate.service.http.limits import LARGEST_BODY
from cidrgate.service.http.public_url import PublicURL

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from cidrgate.gate.client_ip import ClientIPResolver
    from cidrgate.gate.gate import Unlisted
    from cidrgate.manager import RuleManager
    from cidrgate.service.auth.credentials import Credentials
    from cidrgate.service.auth.rate_limit import LoginRateLimit
    from cidrgate.service.http.idempotency import IdempotentResponses
    from cidrgate.service.http.metrics import Metrics
    from cidrgate.service.http.threads import StoreProbe, Threads

__all__ = ["Service", "Settings", "service_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service behaves.

    Attributes:
        session_lifetime: How long a person stays signed in to the console.
        max_staleness: Seconds without news from the store after which `/readyz` says so.
        login_failures: How many wrong credentials one client may send a minute; right ones are always taken.
        max_body: Bytes of the largest request.
        answer_lifetime: How long an `Idempotency-Key` is remembered.
        allow: Networks that may use the service at all; None for every address. `/healthz` and `/readyz` are open.
        allow_account: In the place of these, an account whose list says so; without entries nobody may.
        authorize: Whether `/v1/authorize` answers proxies, which send no token: only where nobody else gets at it.
        unlisted: What `/v1/authorize` answers for an account that has no list, as in `Gate`; needed with `authorize`.
        note_matches: Whether `/v1/authorize` notes which entries let requests in, for lists to say which are in use.
        log_every: Seconds between two lines of the log about denials of one account and address, as in `Gate`.
        public_url: Where people and programs reach the service, such as `https://lists.example.com`: requests for
            another host are refused, and cookies are those of TLS where it is `https`. None where nothing is known.
    """

    session_lifetime: timedelta = timedelta(hours=12)
    max_staleness: float = 15.0
    login_failures: int = 20
    max_body: int = LARGEST_BODY
    answer_lifetime: timedelta = timedelta(hours=24)
    allow: tuple[str, ...] | None = None
    allow_account: str | None = None
    authorize: bool = False
    unlisted: Unlisted | None = None
    note_matches: bool = False
    log_every: float = LOG_EVERY
    public_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings that do not fit together."""
        if self.allow is not None and self.allow_account is not None:
            raise ValueError("name the networks that may use the service, or an account, not both")
        if self.authorize:
            check_unlisted(self.unlisted)
        elif self.unlisted is not None:
            raise ValueError("unlisted is about /v1/authorize: turn it on too")
        if self.note_matches and not self.authorize:
            raise ValueError("only /v1/authorize sees requests whose matches could be noted: turn it on too")
        check_log_every(self.log_every)
        self.public  # noqa: B018 - refuses what is no URL

    @property
    def public(self) -> PublicURL | None:
        """`public_url`, read."""
        return None if self.public_url is None else PublicURL.parse(self.public_url)


@dataclass(frozen=True, slots=True)
class Service:
    """What the parts of one application share."""

    manager: RuleManager
    credentials: Credentials
    settings: Settings
    resolver: ClientIPResolver
    failures: LoginRateLimit
    answers: IdempotentResponses
    metrics: Metrics
    threads: Threads
    probe: StoreProbe


def service_of(connection: HTTPConnection) -> Service:
    """The service a request came to."""
    service: Service = connection.app.state.service
    return service
