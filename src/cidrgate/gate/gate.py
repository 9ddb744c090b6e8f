"""`Gate`: the decision that every edge shares, from an account and a client to a `Verdict`.

It joins the lists, the client's address, what is logged and what is counted. How a framework says "403" is in
`cidrgate.middleware`, what a denial looks like in `cidrgate.gate.denial`.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from inspect import iscoroutinefunction
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeGuard, cast, get_args

from cidrgate.errors import InvalidAccountError, MissingAccountError, UnclearAccountError
from cidrgate.gate.account_sources import EXEMPT, Exempt
from cidrgate.gate.client_ip import ClientAddress, ClientIPResolver
from cidrgate.gate.decision_log import LOG_EVERY, DecisionLog, advise_about_rewritten_peers
from cidrgate.gate.header_names import check_token
from cidrgate.gate.verdict import Result, Verdict, VerdictReason
from cidrgate.rules.account_names import can_name_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cidrgate._engine import Matcher
    from cidrgate.manager import RuleManager
    from cidrgate.manager.last_matches import LastMatches
    from cidrgate.rules.decisions import Address

__all__ = ["REQUEST_ID", "Gate", "Unlisted", "check_gate", "check_unlisted"]

Unlisted: TypeAlias = Literal["allow", "deny_unknown", "deny"]

_SAY_UNLISTED = (
    "say what happens to an account that has no list: unlisted='allow' where an account is created when its customer "
    "makes the first entry. Where every account is created here, unlisted='deny_unknown' denies names that are "
    "unknown; where every account must have a list, unlisted='deny' denies both."
)

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
"""What a request's id that came with it must be, to be shown and logged."""


class _Admits(Protocol):
    def __call__(
        self, account: str, peer: str | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None, /
    ) -> bool: ...


class Gate:
    """Decides whether requests may act for accounts; to be shared between threads, and by every edge of a process.

    It decides for the account that the application names: it protects nothing where a client chooses that name freely
    and nobody checks it against the credentials.

    Whatever breaks denies an enforced account: an address that cannot be read, lists that cannot be asked, an account
    that cannot be told. A hook that breaks is logged and changes nothing.

    Args:
        lists: A `RuleManager`, or a `Matcher` that is kept up to date by other means.
        unlisted: What happens to an account that has no list; there is no default.

            - `allow`: it is allowed, known or not: accounts are created when a customer makes the first entry
            - `deny_unknown`: a known account is allowed, an unknown one is denied: every account is created
            - `deny`: both are denied: every account must have a list
        resolver: How the client's address is found; by default it is the socket's peer, and no header counts.
        report_only: Whether to log and count what would be denied, and deny nothing.
        require_account: Whether a request that acts for no account is denied.
        log: Which decisions go to the logger `cidrgate.decisions`: `denials`, `all` or `none`.
        log_every: Seconds between two lines of the log about denials of one account and address: the first is written
            at once, the others are counted, and one line says how many there were. 0 writes every denial.
        hooks: Called with the `Verdict` of every decision, as `GateMetrics` is. Where a hook has a method
            `count_allowed(account, reason, seconds)`, that may be called instead for requests that are allowed: then
            no verdict is made. A method `count_suppressed()` is called for each denial that the log only counted.
        note_matches: Whether the entries that let requests in are noted in the manager's store, for people to see which
            are in use; see `RuleManager.store_matches`.
        request_id_header: The header that brings the id of a request, such as `x-request-id`, where something in front
            sets one; a new one is made where it is missing or unfit.

    Raises:
        TypeError: If `unlisted` is missing, or an argument has another type.
        ValueError: If an argument is none of its values.
        CidrgateError: If the manager's matcher was not loaded.

    Example:
        >>> from cidrgate import Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> gate = Gate(matcher, unlisted="deny_unknown", log="none")
        >>> verdict = gate.decide("acct-1", "203.0.113.9")
        >>> verdict.result, verdict.reason, verdict.entry
        ('allowed', 'matched', '203.0.113.0/24')
        >>> gate.decide("acct-1", "8.8.8.8").result
        'denied'
        >>> gate.decide("acct-2", "8.8.8.8").reason
        'unknown_account'
    """

    def __init__(
        self,
        lists: RuleManager | Matcher,
        *,
        unlisted: Unlisted = None,  # type: ignore[assignment]  # refused with words of its own
        resolver: ClientIPResolver | None = None,
        report_only: bool = False,
        require_account: bool = False,
        log: Literal["denials", "all", "none"] = "denials",
        log_every: float = LOG_EVERY,
        hooks: Iterable[Callable[[Verdict], object]] = (),
        note_matches: bool = False,
        request_id_header: str | None = None,
    ) -> None:
        self.unlisted = check_unlisted(unlisted)
        if log not in ("denials", "all", "none"):
            raise ValueError(f"log is 'denials', 'all' or 'none', not {log!r}")
        for setting, value in (
            ("report_only", report_only),
            ("require_account", require_account),
            ("note_matches", note_matches),
        ):
            # A text such as "false" would count as True, and report_only would then deny nobody.
            if not isinstance(value, bool):
                raise TypeError(f"{setting} is True or False, not {value!r}")
        if resolver is not None and not isinstance(resolver, ClientIPResolver):
            raise TypeError(f"resolver is a ClientIPResolver, not {resolver!r}")
        if request_id_header is not None:
            request_id_header = check_token(request_id_header, "the header with the request's id").lower()
        hooks = tuple(hooks)
        for hook in hooks:
            if not callable(hook):
                raise TypeError(f"a hook is called with a Verdict: {hook!r} cannot be called")
            if iscoroutinefunction(hook):
                raise TypeError(f"a hook is called and not awaited: {hook!r} is a coroutine function")
        self.resolver = ClientIPResolver() if resolver is None else resolver
        self._report_only = report_only
        self.require_account = require_account
        self.request_id_header = request_id_header
        # A manager that nobody holds any more ends, and its matcher would stay as it is for ever.
        self._lists = lists
        self._manager: RuleManager | None = None
        if _is_manager(lists):
            self._manager, self.matcher = lists, lists.matcher
        else:
            self.matcher = cast("Matcher", lists)
        if not hasattr(self.matcher, "allows"):
            raise TypeError(f"lists is a RuleManager or a Matcher, not {lists!r}")
        # Only what is sure is allowed by the short way; for an unknown account its name has to be looked at.
        sure = "allows_enforced" if unlisted == "deny" else "allows_known"
        self._sure: Callable[[str, Address], bool] = getattr(self.matcher, sure, self._never)
        if unlisted == "allow":
            self._sure = self._allows_known_or_new
        if self._manager is not None and self._manager.denies_when_stale:
            self._sure = self._sure_and_fresh(self._manager, self._sure)
        self._noted: LastMatches | None = None
        self._lets_in = self._sure
        if note_matches:
            if self._manager is None:
                raise ValueError("matches are noted in a store: give the gate a RuleManager")
            self._noted = self._manager.matches
            self._lets_in = self._allows_noted
        suppressed = [hook.count_suppressed for hook in hooks if hasattr(hook, "count_suppressed")]
        self._log = DecisionLog(allowed=log == "all", every=log_every, suppressed=suppressed)
        own = () if log == "none" else (self._log,)
        self._hooks = (*own, *hooks)
        self._counts = [hook.count_allowed for hook in hooks if hasattr(hook, "count_allowed")]
        if log == "all" or len(own) + len(self._counts) < len(self._hooks):
            self.admits = self._admits_watched
        elif self._counts:
            self.admits = self._admits_counted
        else:
            self.admits = self._admits_client
        shortest = self.admits == self._admits_client and self.resolver.header is None
        self.allows_peer = self._lets_in if shortest else None

    matcher: Matcher
    """The matcher that is asked."""

    @property
    def report_only(self) -> bool:
        """Whether nothing is denied."""
        return self._report_only

    @property
    def denials_suppressed(self) -> int:
        """How many denials this process has counted in the log in place of a line for each."""
        return self._log.suppressed

    def flush_log(self) -> None:
        """Write the number of denials that were counted and not written yet; the end of the process does it too."""
        self._log.flush()

    # `allows_peer` and `admits` are the short way for requests that are allowed, which are nearly all: they make no
    # verdict, and only their True counts. Anything else, an exception too, has to be decided by `decide`.

    allows_peer: Callable[[str, Address], bool] | None
    """Whether a peer may act for an account, where no header counts and nobody watches; else None.

    Only for a peer that nothing has rewritten: its port is not 0, and no header of `CLIENT_HEADERS` came with it.
    """

    admits: _Admits
    """Whether the client of a request may act for an account, where nobody watches; else never."""

    @staticmethod
    def _sure_and_fresh(manager: RuleManager, sure: Callable[[str, Address], bool]) -> Callable[[str, Address], bool]:
        """The same question, answered by no while the lists are too old to be trusted."""
        return lambda account, address: sure(account, address) and not manager.stale

    @staticmethod
    def _never(account: str, address: Address) -> bool:
        """The answer where the lists have no short one."""
        return False

    def _admits_watched(
        self, account: str, peer: str | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> bool:
        """Never: more is asked about every request than the short way tells."""
        return False

    def _admits_client(
        self, account: str, peer: str | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> bool:
        """Whether the client may act for the account."""
        address = self.resolver.address(peer, headers, port)
        return address is not None and self._lets_in(account, address)

    def _admits_counted(
        self, account: str, peer: str | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> bool:
        """Whether the client may act for the account; counted."""
        started = perf_counter()
        address = self.resolver.address(peer, headers, port)
        if address is None or not self._sure(account, address):
            return False
        entry = self.matcher.match(account, address)
        if entry is not None and self._noted is not None:
            self._noted.note(account, entry)
        seconds = perf_counter() - started
        for count_allowed in self._counts:
            try:
                count_allowed(account, "not_enforced" if entry is None else "matched", seconds)
            except Exception as error:  # noqa: BLE001 - the decision is made
                self._failed(f"the hook {_name_of(count_allowed)} failed", error, account, None)
        return True

    def _allows_known_or_new(self, account: str, address: Address) -> bool:
        """Whether an address may act for an account that is known, or that may be created yet."""
        matcher = self.matcher
        return matcher.allows_known(account, address) or (account not in matcher and can_name_account(account))

    def _allows_noted(self, account: str, address: Address) -> bool:
        """Whether an address may act for an account; the entry that lets it in is noted."""
        if not self._sure(account, address):
            return False
        entry = self.matcher.match(account, address)
        if entry is not None and self._noted is not None:
            self._noted.note(account, entry)
        return True

    def decide(
        self,
        account: str | Exempt | None,
        peer: str | None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        port: int | None = None,
        rewritten: bool = False,
        failure: Exception | None = None,
    ) -> Verdict:
        """Decide about one request, and tell the log and the hooks.

        Args:
            account: The account it acts for; None for none, `EXEMPT` for none by nature.
            peer: The address of the socket's other end, as the server says it.
            headers: Every header line as it came, in order.
            port: The port of the socket's other end, as the server says it; None where it does not.
            rewritten: Whether something in the server put another address in the peer's place, by rules of its own.
            failure: What broke before the account was known; the request is denied.
        """
        started = perf_counter()
        client = ClientAddress(None, "peer", problem="no_address")
        request_id: str | None = None
        entry: str | None = None
        reason: VerdictReason
        exempt = account is EXEMPT
        if exempt or isinstance(account, Exempt):
            account = None
        if account is not None and not isinstance(account, str):
            failure = TypeError(f"an account is str, or None for none, not {type(account).__name__}")
            account = None
        try:
            headers = tuple(headers)
            request_id = self._request_id(headers)
            if rewritten:
                client = ClientAddress(None, "peer", problem="rewritten_peer")
            else:
                client = self.resolver.resolve(peer, headers, port=port)
            if client.problem == "rewritten_peer":
                advise_about_rewritten_peers()
            if failure is not None:
                raise failure
            if exempt:
                allowed, reason = True, "no_account"
            else:
                allowed, reason, entry = self._judge(account, client.address)
        # Anybody can send these: a traceback for each would only fill the log.
        except MissingAccountError:
            allowed, reason = False, "no_account"
        except UnclearAccountError:
            allowed, reason = False, "unclear_account"
        except Exception as error:  # noqa: BLE001 - whatever broke, the answer is no
            allowed, reason = False, "error"
            request_id = request_id or secrets.token_hex(12)
            self._failed("a request could not be checked, and is denied", error, account, request_id)
        result: Result = "allowed" if allowed else "would_deny" if self._report_only else "denied"
        request_id = request_id or secrets.token_hex(12)
        verdict = Verdict(result, reason, account, entry, client, request_id, perf_counter() - started)
        self._tell(verdict)
        return verdict

    def _judge(self, account: str | None, address: str | None) -> tuple[bool, VerdictReason, str | None]:
        """Whether, why, and by which entry.

        Raises:
            UnclearAccountError: If no account can have the name.
        """
        if account is None:
            return not self.require_account, "no_account", None
        stale = self._manager is not None and self._manager.stale
        if not self._knows(account):
            if stale:
                return False, "stale_lists", None
            if self.unlisted == "allow":
                return True, "not_enforced", None
            return False, "unknown_account", None
        if address is None:
            if self.matcher.enforced(account):
                return False, "invalid_address", None
            return self.unlisted != "deny", "not_enforced", None
        allowed = self.matcher.allows_known(account, address)
        entry = self.matcher.match(account, address)
        if not allowed:
            return False, "not_listed", None
        if entry is None:
            return self.unlisted != "deny", "not_enforced", None
        if stale:
            return False, "stale_lists", None
        if self._noted is not None:
            self._noted.note(account, entry)
        return True, "matched", entry

    def _knows(self, account: str) -> bool:
        """Whether there is an account.

        Raises:
            UnclearAccountError: If no account can have the name.
        """
        try:
            if account in self.matcher:
                return True
        except InvalidAccountError as error:
            raise UnclearAccountError(str(error)) from error
        if not can_name_account(account):
            raise UnclearAccountError("no account can have the name")
        return False

    def _request_id(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The id that something in front gave the request, if it is fit to be shown."""
        if self.request_id_header is not None:
            field = self.request_id_header.encode("latin-1")
            for name, value in headers:
                if name.lower() == field:
                    text = value.decode("latin-1")
                    if REQUEST_ID.fullmatch(text):
                        return text
        return None

    def _tell(self, verdict: Verdict) -> None:
        """Log the verdict and call the hooks; what they do wrong changes nothing."""
        for hook in self._hooks:
            try:
                hook(verdict)
            except Exception as error:  # noqa: BLE001 - the decision is made
                self._failed(f"the hook {_name_of(hook)} failed", error, verdict.account, verdict.request_id)

    def _failed(self, message: str, error: Exception, account: str | None, request_id: str | None) -> None:
        """Log what broke; a log that breaks itself changes nothing."""
        with suppress(Exception):
            self._log.failed(message, error, account=account, request_id=request_id)


def _is_manager(lists: RuleManager | Matcher) -> TypeGuard[RuleManager]:
    """Whether lists are a manager's; told without its class, which a gate over a matcher does not load."""
    return hasattr(type(lists), "denies_when_stale")


def check_gate(gate: object) -> None:
    """Refuse what is no gate when an edge is made, not when its first request comes.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(gate, Gate):
        raise TypeError(f"gate is a cidrgate.Gate, not {gate!r}")


def _name_of(hook: object) -> str:
    """What a hook is called in the log; its own `repr` may fail as it did."""
    return getattr(hook, "__qualname__", type(hook).__qualname__)


def check_unlisted(unlisted: object) -> Unlisted:
    """What happens to accounts without a list, if it is one of the three.

    Raises:
        TypeError: If it is None: it has to be said.
        ValueError: If it is anything else.
    """
    if unlisted is None:
        raise TypeError(_SAY_UNLISTED)
    for known in get_args(Unlisted):
        if unlisted == known:
            one: Unlisted = known
            return one
    raise ValueError(f"unlisted is 'allow', 'deny_unknown' or 'deny', not {unlisted!r}; {_SAY_UNLISTED}")
