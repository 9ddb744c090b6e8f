"""`Verdict`: what a gate decided about one request, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from cidrgate.gate.client_ip import ClientAddress

__all__ = ["Result", "Verdict", "VerdictReason"]

Result: TypeAlias = Literal["allowed", "denied", "would_deny"]
VerdictReason: TypeAlias = Literal[
    "matched",
    "not_listed",
    "not_enforced",
    "unknown_account",
    "invalid_address",
    "stale_lists",
    "no_account",
    "unclear_account",
    "error",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one request.

    Attributes:
        result: `allowed`, `denied`, or `would_deny` where the gate only reports.
        reason: Why:

            - `matched`, `not_listed`: as the account's list says
            - `not_enforced`: the account has no list; allowed, or denied by `unlisted="deny"`
            - `unknown_account`: there is no such account, and `unlisted` does not allow that
            - `invalid_address`: the account is enforced, and where the request comes from cannot be told; `client`
              says why
            - `stale_lists`: the lists are older than `max_staleness`, the manager denies then, and the account is
              enforced or may have been created meanwhile
            - `no_account`: the request acts for no account; allowed where it is exempt or need not name one
            - `unclear_account`: the request names its account more than once, in a way that could be read as another,
              or by a name that no account can have
            - `error`: something broke; the log has the traceback
        account: The account the request acts for, or None.
        entry: The longest matching prefix of the list where the reason is `matched`.
        client: Where the request comes from, and who says so.
        request_id: Names the request in the log and to the client.
        seconds: How long the decision took.
    """

    result: Result
    reason: VerdictReason
    account: str | None
    entry: str | None
    client: ClientAddress
    request_id: str
    seconds: float

    @property
    def admitted(self) -> bool:
        """Whether the request goes on."""
        return self.result != "denied"

    def record(self) -> dict[str, str | int | float | None]:
        """The verdict as a flat record of a log."""
        return {
            "result": self.result,
            "reason": self.reason,
            "account": self.account,
            "entry": self.entry,
            "address": self.client.address,
            "source": self.client.source,
            "hop": self.client.hop,
            "problem": self.client.problem,
            "request_id": self.request_id,
            "microseconds": round(self.seconds * 1e6, 1),
        }
