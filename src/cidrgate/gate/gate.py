"""`Gate`: decides about an account and a client, and returns a `Verdict`. Every edge uses it.

The gate combines the lists, the client address, the decision log and the metrics. `cidrgate.middleware` sends the
response through a framework; `cidrgate.gate.denial` makes its content.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeGuard, TypeVar, cast, get_args

from cidrgate.errors import InvalidAccountError, MissingAccountError, UnclearAccountError
from cidrgate.gate.account_sources import EXEMPT, Exempt
from cidrgate.gate.client_ip import ClientAddress, ClientIPResolver, header_lines
from cidrgate.gate.decision_log import (
    LOG_EVERY,
    DecisionLog,
    advise_about_aliases,
    advise_about_missing_headers,
    advise_about_rewritten_peers,
    advise_about_trailers,
    check_log,
)
from cidrgate.gate.header_names import check_token
from cidrgate.gate.hooks import AllowedCounter, DecisionHook, SuppressedCounter, check_hook, name_of
from cidrgate.gate.verdict import Result, Verdict, VerdictReason
from cidrgate.rules.account_names import can_name_account, short_enough_to_log
from cidrgate.values import check_switches, check_type, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cidrgate._engine import Matcher
    from cidrgate.manager import RuleManager
    from cidrgate.manager.last_matches import LastMatches
    from cidrgate.values import Address, Duration, Mode

__all__ = ["REQUEST_ID", "Gate", "Unlisted", "check_gate", "check_unlisted"]

Unlisted: TypeAlias = Literal["allow", "deny_unknown", "deny"]

_SAY_UNLISTED = (
    "choose what happens to an account without a list. unlisted='allow' allows it: use this if an account is created "
    "when its customer makes the first entry. unlisted='deny_unknown' denies unknown accounts: use this if every "
    "account is created here. unlisted='deny' denies both: use this if every account must have a list."
)

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
"""The form that a received request id must have to be shown and logged."""


class _Allows(Protocol):
    def __call__(
        self, account: str, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None, /
    ) -> bool: ...


_WITHOUT_LIST: frozenset[VerdictReason] = frozenset({"no_account", "unclear_account", "unknown_account", "error"})
"""The reasons of verdicts that no list decided."""

_Init = TypeVar("_Init", bound="Callable[..., None]")


def _asks_for_unlisted(init: _Init) -> _Init:
    """Let a constructor without `unlisted` raise an error with advice. For type checkers the argument is required."""

    @wraps(init)
    def checked(*arguments: Any, **settings: Any) -> None:
        check_unlisted(settings.get("unlisted"))
        init(*arguments, **settings)

    return cast("_Init", checked)


class Gate:
    """Decides whether requests may act for accounts. Do not let a client choose the account freely.

    The gate trusts the account that the application names. If a client can choose this name and the application does
    not check it against the request's credentials, the gate protects nothing.

    If something fails, an enforced account is denied: for example if the client address is unknown, if the lists cannot
    be read, or if the account is unclear. A hook that fails is logged and does not change the decision.

    A gate can be shared between threads and by all edges of a process.

    Args:
        lists: A `RuleManager`, or a `Matcher` that the application keeps up to date.
        unlisted: What happens to an account without a list; there is no default.

            - `allow`: the account is allowed, known or not. Use it if an account is created with its first entry.
            - `deny_unknown`: a known account is allowed, an unknown account is denied. Use it if all accounts are
              created.
            - `deny`: both are denied. Use it if every account must have a list.
        resolver: Finds the client address; by default the socket's peer is the client, and no header counts.
        report_only: Whether to log and count the requests that would be denied, without denying any.
        require_account: Whether to deny a request that acts for no account.
        log: Which decisions go to the logger `cidrgate.decisions`: `denials`, `all` or `none`.
        log_every: Seconds or a `timedelta` between two log lines about denials of the same account and address. The
            first denial is written at once, the others are counted, and one line gives their number. 0 writes every
            denial.
        hooks: Functions to call with the `Verdict` of every decision, such as `GateMetrics`. A hook that is an
            `AllowedCounter` is called without a verdict for allowed requests, and one that is a `SuppressedCounter`
            for each denial that the log only counted.
        note_matches: Whether to record in the manager's store which entries matched requests, so people can see which
            entries are in use; see `RuleManager.store_matches`.
        request_id_header: The header with the id of a request, such as `x-request-id`, if a proxy sets one. The gate
            makes a new id if the header is missing or not valid.

    Raises:
        TypeError: If `unlisted` is missing, or an argument has the wrong type.
        ValueError: If an argument has an unknown value.
        CidrgateError: If the manager's matcher is not loaded.

    Example:
        >>> from cidrgate import Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> gate = Gate(matcher, unlisted="deny_unknown", log="none")
        >>> verdict = gate.decide("acct-1", "203.0.113.9")
        >>> verdict.result, verdict.reason, verdict.matched_cidr
        ('allowed', 'matched', '203.0.113.0/24')
        >>> gate.decide("acct-1", "8.8.8.8").result
        'denied'
        >>> gate.decide("acct-2", "8.8.8.8").reason
        'unknown_account'
    """

    @_asks_for_unlisted
    def __init__(
        self,
        lists: RuleManager | Matcher,
        *,
        unlisted: Unlisted,
        resolver: ClientIPResolver | None = None,
        report_only: bool = False,
        require_account: bool = False,
        log: Literal["denials", "all", "none"] = "denials",
        log_every: Duration = LOG_EVERY,
        hooks: Iterable[DecisionHook] = (),
        note_matches: bool = False,
        request_id_header: str | None = None,
    ) -> None:
        self.unlisted = check_unlisted(unlisted)
        check_log(log)
        check_switches(report_only=report_only, require_account=require_account, note_matches=note_matches)
        check_type(resolver, ClientIPResolver, "resolver", or_none=True)
        if request_id_header is not None:
            request_id_header = check_token(request_id_header, "the header with the request's id").lower()
        if callable(hooks):
            raise TypeError("hooks must be an iterable of hooks, not one hook: write [hook]")
        hooks = tuple(check_hook(hook) for hook in hooks)
        self.resolver = ClientIPResolver() if resolver is None else resolver
        self._report_only = report_only
        self.require_account = require_account
        self.request_id_header = request_id_header
        # Hold a reference: without one the manager would be closed, and its matcher would never change again.
        self._lists = lists
        self._manager: RuleManager | None = None
        if _is_manager(lists):
            self._manager, self.matcher = lists, lists.matcher
        else:
            self.matcher = cast("Matcher", lists)
        if not hasattr(self.matcher, "allows"):
            raise TypeError(f"lists must be a RuleManager or a Matcher, not {type(lists).__name__}")
        # The fast path allows only certain cases; the name of an unknown account must be checked first.
        sure = "_sure_enforced" if unlisted == "deny" else "_sure_known"
        self._sure: Callable[[str, Address], bool] = getattr(self.matcher, sure, self._never)
        if unlisted == "allow":
            self._sure = self._allows_known_or_new
        if self._manager is not None and self._manager.denies_when_stale:
            self._sure = self._sure_and_fresh(self._manager, self._sure)
        # What `decide` decides is noted once as traffic, with the final answer.
        self._in_list: Callable[[str, Address], bool] = getattr(self.matcher, "_would_allow_known", self._allows_known)
        self._note_traffic: Callable[[str, Address, bool], None] = getattr(self.matcher, "_note", self._note_nothing)
        self._mode_of: Callable[[str], Mode] = getattr(self.matcher, "mode", self._enforce)
        self._noted: LastMatches | None = None
        self._lets_in = self._sure
        if note_matches:
            if self._manager is None:
                raise ValueError("note_matches needs a store: give the gate a RuleManager")
            self._noted = self._manager._matches
            self._lets_in = self._allows_noted
        suppressed = [hook.count_suppressed for hook in hooks if isinstance(hook, SuppressedCounter)]
        self._log = DecisionLog(allowed=log == "all", every=log_every, suppressed=suppressed)
        own = () if log == "none" else (self._log,)
        self._hooks = (*own, *hooks)
        self._counts = [hook.count_allowed for hook in hooks if isinstance(hook, AllowedCounter)]
        if log == "all" or len(own) + len(self._counts) < len(self._hooks):
            self.allows = self._allows_watched
        elif self._counts:
            self.allows = self._allows_counted
        else:
            self.allows = self._allows_client
        shortest = self.allows == self._allows_client and self.resolver.client_header is None
        self.allows_peer = self._lets_in if shortest else None

    matcher: Matcher
    """The matcher that the gate uses."""

    def __repr__(self) -> str:
        """Return the lists' type and the settings that differ from the defaults."""
        settings = {"unlisted": self.unlisted, "resolver": self.resolver}
        flags = {
            "report_only": self._report_only,
            "require_account": self.require_account,
            "note_matches": self._noted is not None,
        }
        shown = [f"{name}={value!r}" for name, value in [*settings.items(), *flags.items()] if value is not False]
        return f"<Gate over a {type(self._lists).__name__}: {', '.join(shown)}>"

    @property
    def report_only(self) -> bool:
        """Whether the gate only reports and denies nothing."""
        return self._report_only

    @property
    def denials_suppressed(self) -> int:
        """How many denials the log of this process has counted without a line."""
        return self._log.suppressed

    def flush_log(self) -> None:
        """Write the number of denials that were counted and not yet written.

        The end of the process does this too, unless a signal ends it by its default action.
        """
        self._log.flush()

    def _flush(self) -> None:
        """Write the counts of the log, and store what the manager has not stored yet: the process may end soon.

        It takes some seconds at most, may be called more than once, and closes nothing.
        """
        self._log.flush()
        if self._manager is not None:
            self._manager._store_pending()

    # `allows_peer` and `allows` are the fast path for allowed requests, which are nearly all requests. They make no
    # verdict, and only their True is final. After False or an exception, `decide` must decide.

    allows_peer: Callable[[str, Address], bool] | None
    """Returns whether a peer may act for an account. None if a header counts, or if a hook or the log needs verdicts.

    Call it only for a peer that was not rewritten: its port is not 0, and the request has none of `CLIENT_HEADERS`.
    """

    allows: _Allows
    """Returns whether the client of a request may act for an account. False if a hook or the log needs verdicts."""

    @staticmethod
    def _sure_and_fresh(manager: RuleManager, sure: Callable[[str, Address], bool]) -> Callable[[str, Address], bool]:
        """Wrap a fast check so that it returns False while the lists are stale."""
        return lambda account, address: not manager.stale and sure(account, address)

    @staticmethod
    def _never(account: str, address: Address) -> bool:
        """Return False: these lists have no fast check."""
        return False

    def _allows_known(self, account: str, address: Address) -> bool:
        """Ask lists that note no traffic."""
        return self.matcher.allows_known(account, address)

    @staticmethod
    def _note_nothing(account: str, address: Address, allowed: bool) -> None:
        """Do nothing: these lists record no traffic."""

    @staticmethod
    def _enforce(account: str) -> Mode:
        """Return the mode of every list: these lists have no other."""
        return "enforce"

    def _allows_watched(
        self, account: str, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> bool:
        """Return False: a hook or the log needs a verdict for every request, which the fast path does not make."""
        return False

    def _allows_client(
        self, account: str, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> bool:
        """Return whether the client may act for the account."""
        address = self.resolver.address(peer, headers, port)
        return address is not None and self._lets_in(account, address)

    def _allows_counted(
        self, account: str, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> bool:
        """Return whether the client may act for the account, and count the request."""
        started = perf_counter()
        address = self.resolver.address(peer, headers, port)
        if address is None or not self._sure(account, address):
            return False
        entry = self.matcher.match(account, address)
        if entry is None and (account not in self.matcher or self.matcher.enforced(account)):
            return False  # an unknown account, or a list that has changed: only a verdict tells hooks of these
        if entry is not None and self._noted is not None:
            self._noted.note(account, entry)
        seconds = perf_counter() - started
        for count_allowed in self._counts:
            try:
                count_allowed(account, "not_enforced" if entry is None else "matched", seconds)
            except Exception as error:  # noqa: BLE001 - the decision is made
                self._failed(f"the hook {name_of(count_allowed)} failed", error, account, None)
        return True

    def _allows_known_or_new(self, account: str, address: Address) -> bool:
        """Return whether an address may act for an account that is known or that could be created later."""
        matcher = self.matcher
        return matcher._sure_known(account, address) or (account not in matcher and can_name_account(account))

    def _allows_noted(self, account: str, address: Address) -> bool:
        """Return whether an address may act for an account, and record the matching entry."""
        if not self._sure(account, address):
            return False
        entry = self.matcher.match(account, address)
        if entry is not None and self._noted is not None:
            self._noted.note(account, entry)
        return True

    def decide(
        self,
        account: str | Exempt | None,
        peer: Address | None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        port: int | None = None,
        rewritten: bool = False,
        aliases: bool = False,
        failure: Exception | None = None,
    ) -> Verdict:
        """Decide about one request, write the log and call the hooks.

        Args:
            account: The account that the request acts for; None if it names no account, `EXEMPT` if it needs none. An
                instance of a subclass of `str`, such as a member of a `StrEnum`, names the account that its text names.
            peer: The address of the socket's other end, as the server reports it.
            headers: Every header line as it was received, in order: pairs of bytes.
            port: The port of the socket's other end, as the server reports it, or None if it does not.
            rewritten: Whether something in the server has replaced the peer by its own rules.
            aliases: Whether the server may have passed a header such as `X_Forwarded_For` as `X-Forwarded-For`.
            failure: An exception raised before the account was known; the request is denied.
        """
        started = perf_counter()
        client = ClientAddress(address=None, source="peer", problem="no_address")
        request_id: str | None = None
        entry: str | None = None
        reason: VerdictReason
        mode: Mode = "enforce"
        exempt = account is EXEMPT
        if exempt or isinstance(account, Exempt):
            account = None
        if type(account) is not str and isinstance(account, str):
            account = text_of(account)
        if account is not None and not isinstance(account, str):
            failure = TypeError(f"an account must be a str or None, not {type(account).__name__}")
            account = None
        try:
            headers = header_lines(headers)
            request_id = self._request_id(headers)
            if rewritten:
                client = ClientAddress(address=None, source="peer", problem="rewritten_peer")
            else:
                client = self.resolver.resolve(peer, headers, port=port)
            if aliases and client.problem is None and self._may_be_alias(client.source):
                client = ClientAddress(address=None, source=client.source, problem="possible_alias")
                advise_about_aliases()
            if client.problem == "rewritten_peer":
                advise_about_rewritten_peers()
            elif client.problem == "missing_header":
                advise_about_missing_headers()
            elif client.problem == "possible_trailer":
                advise_about_trailers()
            if failure is not None:
                raise failure
            if exempt:
                allowed, reason = True, "no_account"
            else:
                allowed, reason, entry, mode = self._decide(account, client.address)
        # Any client can cause these errors: a traceback for each would only fill the log.
        except MissingAccountError:
            allowed, reason, account = False, "no_account", short_enough_to_log(account)
        except UnclearAccountError:
            allowed, reason, account = False, "unclear_account", short_enough_to_log(account)
        except Exception as error:  # noqa: BLE001 - every failure denies the request
            allowed, reason, account = False, "error", short_enough_to_log(account)
            request_id = request_id or secrets.token_hex(12)
            self._failed("a request could not be checked and is denied", error, account, request_id)
        if self._report_only and mode == "enforce":
            mode = "report_only"
        result: Result = "allowed" if allowed else "would_deny" if mode == "report_only" else "denied"
        if account is not None and client.address is not None and reason not in _WITHOUT_LIST:
            self._note_traffic(account, client.address, result != "denied")
        request_id = request_id or secrets.token_hex(12)
        verdict = Verdict(
            result=result,
            reason=reason,
            account=account,
            list_account=self._list_account(account, reason),
            matched_cidr=entry,
            client=client,
            request_id=request_id,
            seconds=perf_counter() - started,
            mode=mode,
        )
        self._tell(verdict)
        return verdict

    def allowed_verdict(
        self, account: str, peer: Address | None, headers: Sequence[tuple[bytes, bytes]], port: int | None = None
    ) -> Verdict:
        """Return the verdict of a request that `allows` or `allows_peer` has allowed. Nothing is logged or counted.

        Args:
            account: The account of the request.
            peer: As in `decide`.
            headers: As in `decide`.
            port: As in `decide`.
        """
        started = perf_counter()
        if isinstance(account, str):
            account = text_of(account)
        client = self.resolver.resolve(peer, headers, port=port)
        entry = None if client.address is None else self.matcher.match(account, client.address)
        mode = self._mode_of(account)
        reason: VerdictReason = "matched"
        if entry is None:
            open_now = mode == "off" or (
                not self._has_list(account, mode)
                and (self.unlisted == "allow" or (self.unlisted == "deny_unknown" and account in self.matcher))
            )
            reason = "not_enforced" if open_now else "list_changed"
        return Verdict(
            result="allowed",
            reason=reason,
            account=account,
            list_account=self._list_account(account, reason),
            matched_cidr=entry,
            client=client,
            request_id=self._request_id(headers) or secrets.token_hex(12),
            seconds=perf_counter() - started,
            mode="report_only" if self._report_only and mode == "enforce" else mode,
        )

    def _may_be_alias(self, source: str) -> bool:
        """Return whether a client address came from a header whose aliases are refused."""
        return self.resolver.refuses_aliases and source in ("server", self.resolver.client_header)

    def _decide(self, account: str | None, address: str | None) -> tuple[bool, VerdictReason, str | None, Mode]:
        """Return whether the request is allowed, the reason, the matching entry and the mode of the list.

        Raises:
            UnclearAccountError: If no account can have this name.
        """
        if account is None:
            return not self.require_account, "no_account", None, "enforce"
        stale = self._manager is not None and self._manager.stale
        if not self._knows(account):
            if stale:
                return False, "stale_lists", None, "enforce"
            if self.unlisted == "allow":
                return True, "not_enforced", None, "enforce"
            return False, "unknown_account", None, "enforce"
        mode = self._mode_of(account)
        allowed, reason, entry = self._decide_by_list(account, address, mode, stale=stale)
        if mode == "off":  # whatever the list says
            allowed, reason = True, reason if entry is not None else "not_enforced"
        if allowed and entry is not None and self._noted is not None:
            self._noted.note(account, entry)
        return allowed, reason, entry, mode

    def _decide_by_list(
        self, account: str, address: str | None, mode: Mode, *, stale: bool
    ) -> tuple[bool, VerdictReason, str | None]:
        """Return whether a known account's list allows the address, the reason and the matching entry.

        For a list that is not enforced because of its mode, return what it would say if it were.
        """
        if address is None:
            if self._has_list(account, mode):
                return False, "invalid_address", None
            return self.unlisted != "deny", "not_enforced", None
        allowed = self._in_list(account, address)
        entry = self.matcher.match(account, address)
        if not allowed:
            return False, "not_listed", None
        if entry is None:
            if not self._has_list(account, mode):
                return self.unlisted != "deny", "not_enforced", None
            if mode != "enforce":
                return False, "not_listed", None
            if stale:
                return False, "stale_lists", None
            # The first question was answered by the list of before.
            return self.unlisted != "deny", "list_changed", None
        if stale and mode != "off":
            return False, "stale_lists", None
        return True, "matched", entry

    def _has_list(self, account: str, mode: Mode) -> bool:
        """Return whether the account's list would deny what it does not contain, if its mode were `enforce`."""
        if mode == "enforce":
            return self.matcher.enforced(account)
        return self.matcher._when_empty(account) == "deny"

    def _knows(self, account: str) -> bool:
        """Return whether the account exists.

        Raises:
            UnclearAccountError: If no account can have this name.
        """
        try:
            if account in self.matcher:
                return True
        except InvalidAccountError as error:
            raise UnclearAccountError(str(error)) from error
        if not can_name_account(account):
            raise UnclearAccountError("no account can have this name")
        return False

    def _list_account(self, account: str | None, reason: VerdictReason) -> str | None:
        """Return the account whose list decided, or None if no list did."""
        if account is None or reason in _WITHOUT_LIST or account not in self.matcher:
            return None
        return self.matcher._parent_of(account) or account

    def _request_id(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the id that a proxy gave the request, if it has the form `REQUEST_ID`."""
        if self.request_id_header is not None:
            field = self.request_id_header.encode("latin-1")
            for name, value in headers:
                if name.lower() == field:
                    text = value.decode("latin-1")
                    if REQUEST_ID.fullmatch(text):
                        return text
        return None

    def _tell(self, verdict: Verdict) -> None:
        """Log the verdict and call the hooks; an error in a hook does not change the decision."""
        for hook in self._hooks:
            try:
                hook(verdict)
            except Exception as error:  # noqa: BLE001 - the decision is made
                self._failed(f"the hook {name_of(hook)} failed", error, verdict.account, verdict.request_id)

    def _failed(self, message: str, error: Exception, account: str | None, request_id: str | None) -> None:
        """Log an error; an error in the log itself is ignored."""
        with suppress(Exception):
            self._log.failed(message, error, account=account, request_id=request_id)


def _is_manager(lists: RuleManager | Matcher) -> TypeGuard[RuleManager]:
    """Return whether `lists` is a manager, without importing its class: a gate over a matcher does not need it."""
    return hasattr(type(lists), "denies_when_stale")


def check_gate(gate: object) -> None:
    """Check the type of a gate when an edge is made, before the first request.

    Raises:
        TypeError: If it is not a `Gate`.
    """
    check_type(gate, Gate, "gate")


def check_unlisted(unlisted: object) -> Unlisted:
    """Check the setting `unlisted` and return it.

    Raises:
        TypeError: If it is None: the setting has no default.
        ValueError: If it is not one of the three values.
    """
    if unlisted is None:
        raise TypeError(_SAY_UNLISTED)
    for known in get_args(Unlisted):
        if unlisted == known:
            one: Unlisted = known
            return one
    raise ValueError(f"unlisted must be 'allow', 'deny_unknown' or 'deny', not {unlisted!r}; {_SAY_UNLISTED}")
