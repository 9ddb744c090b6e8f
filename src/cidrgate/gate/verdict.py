"""`Verdict`: the decision of a gate about one request, and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from cidrgate.gate.client_ip import ClientAddress
    from cidrgate.values import Mode

__all__ = ["MODE_HEADER", "Result", "Verdict", "VerdictReason", "mode_headers"]

MODE_HEADER = "x-cidrgate-mode"
"""The header of a response to a request that only the mode of the gate or of the list allows."""

Result: TypeAlias = Literal["allowed", "denied", "would_deny"]
"""The results of a `Verdict`. Later versions may add values."""

VerdictReason: TypeAlias = Literal[
    "matched",
    "not_listed",
    "not_enforced",
    "unknown_account",
    "invalid_address",
    "stale_lists",
    "list_changed",
    "no_account",
    "unclear_account",
    "error",
]
"""The reasons of a `Verdict`. Later versions may add values."""


class _Late:
    """Room for what `LateVerdict` needs, so that it can become a `Verdict`."""

    __slots__ = ("_late",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(_Late):
    """The decision about one request. It is true if the application may handle the request.

    Attributes:
        result: `allowed`, `denied`, or `would_deny` if the mode is `report_only`. Later versions may add values.
        reason: Why the gate decided so; later versions may add values:

            - `matched`: an entry of the account's list matches the client address
            - `not_listed`: no entry of the account's list matches the client address
            - `not_enforced`: the account has no list, and the request is allowed, or denied if `unlisted="deny"`; or
              the list is paused, and the request is allowed
            - `unknown_account`: the account does not exist, and `unlisted` denies unknown accounts
            - `invalid_address`: the account is enforced, and the client address is unknown; `client.problem` says why
            - `stale_lists`: the lists are older than `max_staleness`, the manager is set to deny in this case, and the
              account is enforced or may have been created in the meantime
            - `list_changed`: the list has changed while the gate read it, so the matching entry is unknown; or the
              request was allowed, and the list has changed before the application read this verdict
            - `no_account`: the request acts for no account; it is allowed if it is exempt or need not name one
            - `unclear_account`: the request names its account more than once, in an ambiguous way, or by a name that no
              account can have
            - `error`: the check failed; the log has the traceback
        account: The account that the request acts for, as the request names it. None if it names none, or if the reason
            is `unclear_account` or `error` and the name is longer than the name of any account.
        list_account: The account whose list decided: the parent for a subaccount. None if no list did.
        matched_cidr: The longest matching prefix of the list if the reason is `matched`.
        client: The client address and its source.
        request_id: The id of the request in the log and in the response.
        seconds: How long the decision took.
        mode: How the request was decided: `enforce`, `report_only` if the gate or the mode of the account's list only
            reports, or `off` if the list is paused.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> gate = Gate(Matcher(), unlisted="deny", log="none")
        >>> if not gate.decide("acct-1", "203.0.113.9"):
        ...     print("denied")
        denied
    """

    result: Result
    reason: VerdictReason
    account: str | None
    list_account: str | None
    matched_cidr: str | None
    client: ClientAddress
    request_id: str
    seconds: float
    mode: Mode = "enforce"

    @property
    def allowed(self) -> bool:
        """Whether the application may handle the request."""
        return self.result != "denied"

    def __bool__(self) -> bool:
        """Return `allowed`."""
        return self.allowed

    def record(self) -> dict[str, str | int | float | None]:
        """Return the verdict as a flat record for a log."""
        return {
            "result": self.result,
            "reason": self.reason,
            "account": self.account,
            "list_account": self.list_account,
            "matched_cidr": self.matched_cidr,
            "address": self.client.address,
            "source": self.client.source,
            "hop": self.client.hop,
            "problem": self.client.problem,
            "request_id": self.request_id,
            "duration_seconds": round(self.seconds, 7),
            "mode": self.mode,
        }


def mode_headers(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Return what an edge adds to the headers of a response: the mode, if only the mode allows the request."""
    paused = verdict.mode == "off" and verdict.allowed and verdict.matched_cidr is None
    return ((MODE_HEADER, verdict.mode),) if paused or verdict.result == "would_deny" else ()
