"""The frozen values that all layers share: accounts, entries, decisions and changes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from types import EllipsisType, NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar, cast, get_args, get_type_hints

from cidrgate.errors import EntryNotFoundError, InvalidExpiryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Account",
    "AccountDeletion",
    "Action",
    "Address",
    "Change",
    "Decision",
    "Duration",
    "Entry",
    "EntryDetails",
    "EntryEdit",
    "EntryRef",
    "FoundEntry",
    "ListChange",
    "ListState",
    "Mode",
    "NewEntry",
    "Observation",
    "Origin",
    "OriginKind",
    "Prefix",
    "Reason",
    "seconds",
]

_T = TypeVar("_T")

Address: TypeAlias = str | bytes | IPv4Address | IPv6Address
"""An address: text, packed bytes (4 or 16), or an `ipaddress` object."""

Prefix: TypeAlias = str | IPv4Network | IPv6Network
"""A network: text such as `8.8.8.0/24`, or an `ipaddress` object."""

Duration: TypeAlias = float | timedelta
"""A duration: a number of seconds, or a `timedelta`. `seconds` checks it."""

Reason: TypeAlias = Literal["matched", "not_listed", "not_enforced", "invalid_address"]
"""Why an address is allowed or denied. Later versions may add values."""

Mode: TypeAlias = Literal["enforce", "report_only", "off"]
"""How a list decides. Later versions may add values.

`enforce` denies what is not listed, `report_only` allows and reports it, and `off` allows it.
"""

MODES: tuple[Mode, ...] = get_args(Mode)

Action: TypeAlias = Literal[
    "create_account",
    "add",
    "edit",
    "remove",
    "replace",
    "restore",
    "undo",
    "expire",
    "set_mode",
    "rename_account",
    "move_account",
    "edit_account",
    "delete_account",
    "set_policy",
    "create_token",
    "revoke_token",
    "create_link",
    "sign_in",
    "sign_in_failed",
    "end_session",
    "end_all_sessions",
    "prune",
    "erase",
]
"""What a change did. Later versions may add values."""

OriginKind: TypeAlias = Literal["token", "session", "link", "cli", "library"]
"""How the actor of a change is known. Later versions may add values."""


def seconds(value: Duration, name: str, *, above_zero: bool = False) -> float:
    """Return a duration in seconds. Every setting and argument that is a duration is checked here.

    Args:
        value: A number of seconds, or a `timedelta`.
        name: The name of the setting or argument, for the message.
        above_zero: Whether zero is refused too.

    Raises:
        TypeError: If the value is neither a number nor a `timedelta`. Text, True and False are not numbers.
        ValueError: If it is negative, infinite or not a number, or is zero with `above_zero`.

    Example:
        >>> seconds(timedelta(minutes=5), "log_every"), seconds(0.5, "log_every")
        (300.0, 0.5)
        >>> seconds("5m", "log_every")
        Traceback (most recent call last):
        ...
        TypeError: log_every must be a number of seconds or a timedelta, not '5m'
        >>> seconds(-1, "log_every")
        Traceback (most recent call last):
        ...
        ValueError: log_every must be a number of seconds from 0 on, not -1
    """
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = _float(value)
    else:
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {value!r}")
    if not (0 < found < math.inf or (found == 0 and not above_zero)):
        wanted = "above 0" if above_zero else "from 0 on"
        raise ValueError(f"{name} must be a number of seconds {wanted}, not {value}")
    return found


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def truth(value: bool, name: str) -> bool:
    """Return True or False. Every argument that is a switch is checked here: text such as "no" would be true.

    Args:
        value: True or False.
        name: The name of the argument, for the message.

    Raises:
        TypeError: If it is something else.

    Example:
        >>> truth("no", "allow_empty")
        Traceback (most recent call last):
        ...
        TypeError: allow_empty must be True or False, not 'no'
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def text_of(value: object) -> str:
    """Return a text as exactly a `str`, or another object, such as one of `ipaddress`, as it prints.

    A member of an enumeration of texts, or another object of a subclass of `str`, is its text, whatever it prints.

    Example:
        >>> from enum import Enum
        >>> class Account(str, Enum):
        ...     ACME = "acct-1"
        >>> str(Account.ACME), text_of(Account.ACME), text_of(IPv4Address("8.8.8.8"))
        ('Account.ACME', 'acct-1', '8.8.8.8')
    """
    # Not isinstance: it is true for a proxy too, which has no text but what it prints.
    return str.__str__(cast("str", value)) if issubclass(type(value), str) else str(value)


def account_text(account: str) -> str:
    """Return the name of an account as exactly a `str`. Every method that takes an account checks it here.

    Raises:
        TypeError: If it is no `str`: not None, and no `Account`, whose `name` is meant.

    Example:
        >>> account_text(b"acct-1")
        Traceback (most recent call last):
        ...
        TypeError: an account must be a str, not bytes
    """
    if not isinstance(account, str):
        raise TypeError(f"an account must be a str, not {type(account).__name__}")
    return text_of(account)


def account_texts(accounts: Iterable[str], name: str) -> list[str]:
    """Return the names of several accounts, each as exactly a `str`.

    Args:
        accounts: The names.
        name: The name of the argument, for the message.

    Raises:
        TypeError: If it is one text, of which each character would be an account, or a name is no `str`.
    """
    return [account_text(account) for account in several_texts(accounts, name, "accounts")]


MOST_REQUESTS = 2**63 - 1
"""How many requests an observation can have: what the store sums up has 64 bits."""


_MAPPED_BITS = 96
"""The bits before the IPv4 address in an IPv4-mapped IPv6 address."""

_PREFIX = re.compile(r"[0-9A-Fa-f:.]+/(?:0|[1-9][0-9]{0,2})")
"""An address, without a scope, and its prefix length."""


def canonical_network(text: str) -> str | None:
    """Return a network as cidrgate writes it, or None if the text is none: the rule of the engine's `canonical_prefix`.

    Example:
        >>> canonical_network("::ffff:8.8.8.0/120"), canonical_network("2606:4700:0:0::/32")
        ('8.8.8.0/24', '2606:4700::/32')
        >>> canonical_network("8.8.8.8"), canonical_network("fe80::%1/64")
        (None, None)
    """
    if not _PREFIX.fullmatch(text):
        return None
    try:
        network = ip_network(text)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return str(network)
    return f"{mapped}/{network.prefixlen - _MAPPED_BITS}"


def check_switches(**switches: bool) -> None:
    """Refuse arguments or settings that are neither True nor False; see `truth`."""
    for name, value in switches.items():
        truth(value, name)


def check_type(value: object, kind: type, name: str, *, or_none: bool = False) -> None:
    """Refuse an object of another type, when it is handed over instead of at its first use.

    Args:
        value: The object. The message does not quote it: it may contain a password.
        kind: The type that is expected, or a base class of it.
        name: The name of the argument, for the message.
        or_none: Whether None is accepted too.

    Raises:
        TypeError: If it is of another type.

    Example:
        >>> check_type("sqlite:///rules.db", int, "port")
        Traceback (most recent call last):
        ...
        TypeError: port must be an object of the class int, not str
    """
    if not isinstance(value, kind) and not (or_none and value is None):
        raise TypeError(f"{name} must be an object of the class {kind.__name__}, not {type(value).__name__}")


def check_callable(value: object, name: str) -> None:
    """Refuse what cannot be called, when it is handed over instead of at its first call.

    Raises:
        TypeError: If it is no function, class or other object that can be called.
    """
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def several_networks(networks: Iterable[_T], name: str) -> Iterable[_T]:
    """Return an argument that is several networks.

    Raises:
        TypeError: If it is one text, of which each character would count, or a mapping, whose values would be lost.
    """
    if isinstance(networks, Mapping):
        raise TypeError(f"{name} is an iterable of networks, not a mapping: they have no details")
    return several_texts(networks, name)


def several_texts(texts: Iterable[_T], name: str, of: str = "networks") -> Iterable[_T]:
    """Return an argument that is several texts.

    Args:
        texts: The argument.
        name: Its name, for the message.
        of: What each text is, in the plural.

    Raises:
        TypeError: If it is one text, of which each character would count, or one network, of which each address would.
    """
    if isinstance(texts, str | bytes | IPv4Network | IPv6Network):
        one = "text" if isinstance(texts, str | bytes) else "network"
        raise TypeError(f"{name} is an iterable of {of}, not one {one}: write [{of.removesuffix('s')}]")
    return texts


def whole_number(value: int, name: str, *, least: int | None = None) -> int:
    """Return a whole number. Every argument that is one is checked here.

    Args:
        value: The number.
        name: The name of the argument, for the message.
        least: The smallest number that is accepted; None for any.

    Raises:
        TypeError: If it is no whole number. Text, 2.0, True and False are none.
        ValueError: If it is too small.

    Example:
        >>> whole_number(-1, "limit", least=0)
        Traceback (most recent call last):
        ...
        ValueError: limit must be a whole number from 0 on, not -1
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be a whole number from {least} on, not {value}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account, its parent if it is a subaccount, its name for people, and how its list decides.

    Attributes:
        name: The name, which requests and changes use.
        parent: The account whose list it inherits, or None.
        created_at: When it was created; a time in UTC with a time zone.
        version: The number of changes of its list, its mode, its name, its parent and its policy.
        display_name: Its name for people, or None.
        mode: The mode that somebody set. It stays `off` or `report_only` after `mode_until`, when the list is enforced
            again: `mode_at()` is the mode that counts now. A subaccount follows its parent.
        mode_until: When the mode expires, so that the list is enforced again; None for never.
        mode_reason: Why the mode was set, or None.
        closed: Whether the list is enforced even while it is empty.
    """

    name: str
    parent: str | None
    created_at: datetime
    version: int = 0
    display_name: str | None = None
    mode: Mode = "enforce"
    mode_until: datetime | None = None
    mode_reason: str | None = None
    closed: bool = False

    def mode_at(self, at: datetime | None = None) -> Mode:
        """Return the mode that counts at a time; now if None.

        Example:
            >>> at = datetime(2025, 1, 2, tzinfo=UTC)
            >>> account = Account(
            ...     name="acct-1", parent=None, created_at=at, mode="off", mode_until=at + timedelta(hours=1)
            ... )
            >>> account.mode_at(at), account.mode_at(at + timedelta(hours=1))
            ('off', 'enforce')
        """
        return mode_at(self.mode, self.mode_until, datetime.now(UTC) if at is None else at)


def mode_at(mode: Mode, until: datetime | None, at: datetime) -> Mode:
    """Return the mode that counts at a time, of a mode that expires at `until`.

    A mode that only a newer version knows counts as `enforce`: it allows nothing that is not listed.

    Example:
        >>> mode_at("open", None, datetime.now(UTC))
        'enforce'
    """
    return "enforce" if mode not in MODES or (until is not None and until <= at) else mode


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeletion:
    """What the deletion of an account deleted; `RuleManager.delete_account` returns it.

    Attributes:
        account: The account as it was.
        entries: The entries of its own list, in address order.
        subaccounts: The names of the subaccounts that were deleted with it, sorted.
    """

    account: Account
    entries: tuple[Entry, ...]
    subaccounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListState:
    """The summary of an account's effective list: its own list, or its parent's for a subaccount.

    Attributes:
        entries: How many entries the list contains, without expired entries.
        enforced: Whether addresses that are not on the list are denied. This is the case while the list has any entry,
            expired or not, and the mode is `enforce`: a list with only expired entries denies every address. A closed
            list is enforced without entries too.
        mode: The mode that counts now.
        mode_until: When that mode expires; None for never.
        mode_reason: Why that mode was set, or None.
        closed: Whether the list is enforced even while it is empty.
    """

    entries: int
    enforced: bool
    mode: Mode = "enforce"
    mode_until: datetime | None = None
    mode_reason: str | None = None
    closed: bool = False


def list_state_of(entries: int, listed: bool, account: Account | Any, at: datetime) -> ListState:
    """Return the summary of a list.

    Args:
        entries: How many entries count.
        listed: Whether the list is enforced in the mode `enforce`: it has entries, or is closed.
        account: What has the mode of the list: `mode`, `mode_until`, `mode_reason` and `closed`.
        at: The time, with a time zone.
    """
    mode = mode_at(account.mode, account.mode_until, at)
    since = account if mode == account.mode else None
    return ListState(
        entries=entries,
        enforced=bool(listed) and mode == "enforce",
        mode=mode,
        mode_until=None if since is None else since.mode_until,
        mode_reason=None if since is None else since.mode_reason,
        closed=bool(account.closed),
    )


class EntryDetails(TypedDict, total=False):
    """The optional details of an entry besides its network; a detail that is left out is not set.

    Attributes:
        label: The label, or None for no label.
        expires_at: When the entry expires, with a time zone; None for never.
        enabled: Whether the entry matches addresses. A disabled entry stays in the list and allows nothing.
    """

    label: str | None
    expires_at: datetime | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A submitted entry: its network as it was written, and optional details, such as a label and an expiry.

    A detail that is `...` is absent: a new entry gets its default, and `replace` keeps the value of an entry that is
    listed already. None clears it. An empty label is no label, and times are changed to UTC.

    Args:
        cidr: The network: text, or an `ipaddress` object. An address object is its /32 or /128.
        label: The label, or None for no label.
        expires_at: When the entry expires, with a time zone; None for never.
        enabled: Whether the entry matches addresses; True by default.

    Raises:
        TypeError: If `cidr` is neither text nor an `ipaddress` object, or a detail has another type.
        InvalidExpiryError: If `expires_at` is out of range in UTC.

    Example:
        >>> entry = NewEntry("8.8.8.0/24", label="")
        >>> entry.label is None, entry.expires_at
        (True, Ellipsis)
    """

    cidr: str
    label: str | EllipsisType | None = field(default=..., kw_only=True)
    expires_at: datetime | EllipsisType | None = field(default=..., kw_only=True)
    enabled: bool | EllipsisType = field(default=..., kw_only=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            cidr: Prefix | IPv4Address | IPv6Address,
            *,
            label: str | EllipsisType | None = ...,
            expires_at: datetime | EllipsisType | None = ...,
            enabled: bool | EllipsisType = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Bring the fields into the form that is stored."""
        _normalise(self)

    @classmethod
    def of(cls, entry: Entry) -> NewEntry:
        """Return the submission that asks for an entry as it is.

        Example:
            >>> at = datetime(2025, 1, 2, tzinfo=UTC)
            >>> entry = Entry(
            ...     id=7, account="acct-1", cidr="8.8.8.0/24", label="dns", created_at=at, created_by="me"
            ... )
            >>> NewEntry.of(entry).label, NewEntry.of(entry).expires_at
            ('dns', None)
        """
        return cls(**{one.name: getattr(entry, one.name) for one in fields(cls)})

    def details(self) -> EntryDetails:
        """Return every detail of a new entry: the default for each that is absent."""
        return cast("EntryDetails", {one.name: one.default for one in DETAILS} | cast("dict[str, Any]", self.said()))

    def said(self) -> EntryDetails:
        """Return the details that are not absent."""
        found = {one.name: getattr(self, one.name) for one in DETAILS}
        return cast("EntryDetails", {name: value for name, value in found.items() if value is not ...})


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEdit:
    """An edit of an entry. A field that is `...` does not change.

    An empty label is no label, and times are changed to UTC.

    Args:
        cidr: The new network: text, or an `ipaddress` object. An address object is its /32 or /128.
        label: The new label, or None for no label.
        expires_at: The new expiry, or None for never.
        enabled: Whether the entry matches addresses from now on.

    Raises:
        TypeError: If a field has another type.
        InvalidExpiryError: If `expires_at` is out of range in UTC.
    """

    cidr: str | EllipsisType = ...
    label: str | EllipsisType | None = ...
    expires_at: datetime | EllipsisType | None = ...
    enabled: bool | EllipsisType = ...

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            cidr: Prefix | IPv4Address | IPv6Address | EllipsisType = ...,
            label: str | EllipsisType | None = ...,
            expires_at: datetime | EllipsisType | None = ...,
            enabled: bool | EllipsisType = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Bring the fields into the form that is stored."""
        _normalise(self)

    def changes(self) -> dict[str, Any]:
        """Return the new values, by field name, without the fields that do not change."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if not isinstance(value, EllipsisType)}

    def applied(self, entry: Entry) -> Entry:
        """Return the entry after the edit.

        Example:
            >>> at = datetime(2025, 1, 2, tzinfo=UTC)
            >>> entry = Entry(
            ...     id=7, account="acct-1", cidr="8.8.8.0/24", label="dns", created_at=at, created_by="me"
            ... )
            >>> EntryEdit(label=None).applied(entry).label, EntryEdit(label=None).applied(entry).cidr
            (None, '8.8.8.0/24')
        """
        return replace(entry, **self.changes())


def _normalise(piece: NewEntry | EntryEdit) -> None:
    """Change the fields of a submission to the form that is stored: networks to text, times to UTC, "" to None."""
    if type(piece.cidr) is not str and piece.cidr is not ...:
        object.__setattr__(piece, "cidr", prefix_text(piece.cidr))
    for name, nullable, in_form in _CHECKED:
        value = getattr(piece, name)
        if value is ... or (value is None and nullable):
            continue
        formed = in_form(value, name)
        if formed is not value and (nullable or formed is not None):
            object.__setattr__(piece, name, formed)


def _text_or_none(text: str, name: str) -> str | None:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be text or None, not {text!r}")
    return text or None


def prefix_text(prefix: Prefix | IPv4Address | IPv6Address) -> str:
    """Return a network as text. Text is returned as it is; the rules check it.

    Args:
        prefix: Text, or an `ipaddress` network. An address object is its /32 or /128: only text must have a length.

    Raises:
        TypeError: If it is something else.

    Example:
        >>> prefix_text(IPv4Network("8.8.8.0/24")), prefix_text(IPv6Address("2606:4700::1")), prefix_text("8.8.8.8")
        ('8.8.8.0/24', '2606:4700::1/128', '8.8.8.8')
    """
    if isinstance(prefix, str):
        return text_of(prefix)
    if isinstance(prefix, IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        text = str(prefix)
        return text if "/" in text else f"{text}/{prefix.max_prefixlen}"
    raise TypeError(f"a network must be text or an ipaddress object, not {type(prefix).__name__}")


def in_utc(time: datetime, name: str) -> datetime:
    """Return a time in UTC, as stores have it; a time without a time zone stays as it is: `check_expiry` refuses it.

    Args:
        time: The time. One of a subclass, such as a `pandas.Timestamp`, becomes a `datetime`, in whole microseconds.
        name: The name of the field or argument, for the message.

    Raises:
        TypeError: If it is no `datetime`, or is `pandas.NaT`.
        InvalidExpiryError: If it is too far from the present to have a form in UTC.
    """
    if not _is_time(time):
        raise TypeError(f"{name} must be a datetime or None, not {time!r}")
    if time.utcoffset() is None:
        return time
    try:
        return _as_utc(time)
    except OverflowError:
        raise InvalidExpiryError(f"{name} {time.isoformat()} is out of range in UTC", expires_at=time) from None


def zoned_time(time: datetime, name: str) -> datetime:
    """Return a time in UTC. Every time of an observation and of an evaluation is checked here.

    Args:
        time: The time.
        name: The name of the field or argument, for the message.

    Raises:
        TypeError: If it is no `datetime`, or is `pandas.NaT`.
        ValueError: If it has no time zone, or no form in UTC.
    """
    if not _is_time(time):
        raise TypeError(f"{name} must be a datetime, not {time!r}")
    if time.utcoffset() is None:
        raise ValueError(f"{name} needs a time zone, such as datetime.now(UTC)")
    try:
        return _as_utc(time)
    except OverflowError:
        raise ValueError(f"{name} {time.isoformat()} is out of range in UTC") from None


def _is_time(time: object) -> bool:
    """Return whether an object is a time; `pandas.NaT` is a `datetime` that differs from itself and is none."""
    return type(time) is datetime or (isinstance(time, datetime) and bool(time == time))


def _as_utc(time: datetime) -> datetime:
    """Return a time with a time zone as an exact `datetime` in UTC.

    Raises:
        OverflowError: If it has no form in UTC.
    """
    if type(time) is not datetime:
        time = datetime.combine(time.date(), time.timetz())
    return time if time.tzinfo is UTC else time.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an account's list.

    Attributes:
        id: Stable id of the entry in its store; an edit keeps it.
        account: The account whose list contains the entry.
        cidr: Canonical text, such as `8.8.8.0/24` or `2606:4700::/32`.
        label: The label that a person gave it, or None.
        created_at: When the entry was added; a time in UTC with a time zone.
        created_by: The actor who added it, or None if no actor was named.
        expires_at: When the entry expires, or None if it does not.
        enabled: Whether the entry matches addresses. A disabled entry allows nothing, but it still counts: toward the
            limit, for overlaps, and for whether the account is enforced.
    """

    id: int = field(metadata={"meaning": "The id; an edit does not change it."})
    account: str = field(metadata={"meaning": "The account whose list contains the entry."})
    cidr: str = field(metadata={"meaning": "Canonical text."})
    label: str | None = field(
        default=None, metadata={"title": "Label", "meaning": "A name for people, or null for none."}
    )
    created_at: datetime = field(metadata={"meaning": "When it was added."})
    created_by: str | None = field(metadata={"meaning": "Who added it."})
    expires_at: datetime | None = field(
        default=None, metadata={"title": "Expiry", "meaning": "When the entry expires, or null for never."}
    )
    enabled: bool = field(
        default=True,
        metadata={"title": "Enabled", "meaning": "Whether the entry matches; a disabled entry allows nothing."},
    )

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The network as an `ipaddress` object."""
        return ip_network(self.cidr)

    def is_expired(self, at: datetime | None = None) -> bool:
        """Return whether the entry has expired at a time; now if None.

        Use it to show and to sweep entries; `counts` and `matches` say what that means for the list.
        """
        return self.expires_at is not None and self.expires_at <= (datetime.now(UTC) if at is None else at)

    def counts(self, at: datetime) -> bool:
        """Return whether, at a time, the entry counts toward its list's limit and conflicts with new entries."""
        return not self.is_expired(at)

    def matches(self, at: datetime) -> bool:
        """Return whether the entry allows the addresses of its network at a time."""
        return self.enabled and not self.is_expired(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """An entry that a search across all accounts found.

    Attributes:
        entry: The entry.
        allows: Whether it allows the addresses of its network now, for its account and the subaccounts of that. An
            entry that is disabled or has expired does not.
        subaccounts: The number of subaccounts of its account, which inherit the list.
    """

    entry: Entry
    allows: bool
    subaccounts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A detail of an entry: something that a person may say of it besides its network.

    It is declared once, as a field of `Entry` whose metadata have a `title` and a `meaning`. The column of the store,
    the change log, the JSON objects, the files of lists, the options of the command line and the fields of the console
    are made of this.

    Attributes:
        name: The name of the field.
        kind: The type of its values.
        nullable: Whether it can be None.
        default: Its value in an entry for which nobody said it.
        title: What people call it.
        meaning: What it means, in one sentence.
    """

    name: str
    kind: type
    nullable: bool
    default: Any
    title: str
    meaning: str


def _details() -> Iterator[Detail]:
    types = get_type_hints(Entry)
    for one in fields(Entry):
        if "title" in one.metadata:
            kinds = get_args(types[one.name]) or (types[one.name],)
            [kind] = [kind for kind in kinds if kind is not NoneType]
            default = None if one.default is MISSING else one.default
            yield Detail(
                name=one.name,
                kind=kind,
                nullable=NoneType in kinds,
                default=default,
                title=one.metadata["title"],
                meaning=one.metadata["meaning"],
            )


DETAILS = tuple(_details())
"""Every detail of an entry, in the order of the fields."""

_FORMS: dict[type, Callable[[Any, str], Any]] = {str: _text_or_none, bool: truth, int: whole_number, datetime: in_utc}
_CHECKED = tuple((detail.name, detail.nullable, _FORMS[detail.kind]) for detail in DETAILS)
"""The details, with the function that returns a value in the form that is stored."""


EntryRef: TypeAlias = int | Prefix | Entry
"""What names an entry of a list: its id, its network, or the entry itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChange:
    """What a change did to a list. The methods of `RuleManager` that change one list return it.

    With a manager that makes dry runs, it is what the change would do; a new entry then has a negative id.

    Attributes:
        account: The account whose list changed.
        version: The version of the list after the change. Pass it as `expect_version` to the next change. A change
            without an effect, such as an edit to what an entry is already, leaves the version as it was.
        enforced: Whether addresses that are not on the list are denied now.
        before: The entries that the change removed or edited, as they were; in the order in which they were named, or
            in address order. Empty if nothing was removed or edited.
        after: The entries that the change added or edited, as they are now; in the order of the submission. Empty if
            nothing was added or edited.
        entries: The whole list after the change, in address order.
        mode: The mode of the list that counts after the change.
        existing: With `if_missing`, the entries that cover submitted networks already, each once.

    Example:
        >>> from cidrgate import RuleManager
        >>> with RuleManager.open("memory://") as manager:
        ...     account = manager.create_account("acct-1")
        ...     change = manager.add("acct-1", "8.8.8.0/24")
        ...     edited = manager.edit("acct-1", "8.8.8.0/24", label="dns", expect_version=change.version)
        >>> edited.version, edited.before[0].label, edited.after[0].label, len(edited.entries)
        (2, None, 'dns', 1)
    """

    account: str
    version: int
    enforced: bool
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    mode: Mode = "enforce"
    existing: tuple[Entry, ...] = ()

    def entry(self, which: EntryRef) -> Entry:
        """Return an entry of the list after the change, named as it is now or as it was before the change.

        So `manager.edit(account, which, …).entry(which)` is the entry after the edit, whether the edit changed it or
        not.

        Args:
            which: The id, the network or the entry.

        Raises:
            EntryNotFoundError: If the list does not contain it after the change.

        Example:
            >>> from cidrgate import RuleManager
            >>> with RuleManager.open("memory://") as manager:
            ...     account = manager.create_account("acct-1")
            ...     change = manager.add("acct-1", "1.1.1.1/32")
            ...     manager.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24").entry("1.1.1.1/32").cidr
            '1.1.1.0/24'
        """
        key = reference_key(which)
        now = {found.id: found for found in self.entries}
        for entry in (*self.entries, *self.before):
            if key in (entry.id, reference_key(entry.cidr)) and entry.id in now:
                return now[entry.id]
        named = which if isinstance(which, int) else getattr(which, "cidr", text_of(which))
        raise EntryNotFoundError(
            f"after the change, account {self.account!r} does not list {named!r}",
            account=self.account,
            entries=[named],
        )


def reference_key(which: EntryRef | IPv4Address | IPv6Address) -> int | str:
    """Return what is equal for all that name the same entry: the id, or the canonical text of the network.

    Raises:
        TypeError: If it is neither an id, nor a network, nor an entry.

    Example:
        >>> reference_key("::ffff:8.8.8.0/120"), reference_key(IPv4Network("8.8.8.0/24")), reference_key(7)
        ('8.8.8.0/24', '8.8.8.0/24', 7)
    """
    if isinstance(which, Entry):
        return which.id
    if isinstance(which, int):
        return which
    text = prefix_text(which)
    return canonical_network(text.strip()) or text


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether an address may act for an account, and why. It is true if the address is allowed.

    Attributes:
        allowed: Whether the address is allowed; equal to the result of `Matcher.allows`.
        reason: `matched`, `not_listed`, `not_enforced` or `invalid_address`. What is not an address is denied for
            every account; `Matcher.allows` raises `InvalidAddressError`, and a gate denies it if the account is
            enforced.
        account: The account whose list decided: the parent for a subaccount.
        entry: The longest matching entry if `reason` is `matched`.
        nearest: The listed entry with the longest common prefix if `reason` is `not_listed`.
        mode: The mode of the list. With `report_only`, an address that is not listed is allowed, and the reason is
            `not_listed`. With `off`, an address that is not listed is allowed, and the reason is `not_enforced`.
    """

    allowed: bool
    reason: Reason
    account: str
    entry: Entry | None = None
    nearest: Entry | None = None
    mode: Mode = "enforce"

    def __bool__(self) -> bool:
        """Return `allowed`."""
        return self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen of one address, or of one network, that acted for an account in the past. It is true if allowed.

    Attributes:
        account: The account for which it acted.
        network: The address as a canonical CIDR (`/32` or `/128`), or a wider network if addresses were truncated.
        allowed: Whether the requests were allowed. What was allowed and what was denied are two observations.
        requests: How many requests there were; at least 1, and at most 2^63 - 1.
        first_seen: The time of the first request, with a time zone; it is changed to UTC.
        last_seen: The time of the last request, with a time zone; it is changed to UTC.

    Raises:
        TypeError: If a value has another type.
        ValueError: If the network is no canonical CIDR, the number is out of range, a time has no time zone or no form
            in UTC, or the first request is after the last.
    """

    account: str
    network: str
    allowed: bool
    requests: int
    first_seen: datetime
    last_seen: datetime

    def __post_init__(self) -> None:
        """Check the values."""
        truth(self.allowed, "allowed")
        for name, kind in (("account", str), ("network", str), ("first_seen", datetime), ("last_seen", datetime)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, not {getattr(self, name)!r}")
        object.__setattr__(self, "account", text_of(self.account))
        object.__setattr__(self, "network", text_of(self.network))
        if not 1 <= whole_number(self.requests, "requests") <= MOST_REQUESTS:
            raise ValueError(f"an observation has from 1 to 2^63 - 1 requests, not {self.requests}")
        for name in ("first_seen", "last_seen"):
            time = getattr(self, name)
            in_form = zoned_time(time, name)
            if in_form is not time:
                object.__setattr__(self, name, in_form)
        if self.first_seen > self.last_seen:
            raise ValueError(f"first_seen {self.first_seen} is after last_seen {self.last_seen}")
        if canonical_network(self.network) != self.network:
            raise ValueError(
                f"the network {self.network[:100]!r} is not written as a canonical CIDR, such as 8.8.8.8/32"
            )

    def __bool__(self) -> bool:
        """Return `allowed`."""
        return self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How the actor of a change is known, and from where the change came. It never contains a secret.

    Attributes:
        kind: `token` for a program that sent a token to the API, `session` for a person in the console, `link` for a
            person who signs in with a one-time link, `cli` for the command line, `library` for a program that uses the
            library, also for what a server does by itself, such as a sweep.
        id: The id of the token, of the session or of the link, or the user of the operating system who ran the command;
            None if there is none, as for an unknown token.
        via: The credential with which a session began: `token:3`, or `link:` and the id of the link; None otherwise.
        on_behalf_of: The person for whom a program makes the change, as the program says; None if it says nothing.
        address: The client address; None if it is unknown.
        request_id: The id of the request, as in the log and in the response; None without a request.

    Example:
        >>> Origin(kind="token", id="3", address="198.51.100.7").on_behalf_of is None
        True
    """

    kind: OriginKind
    id: str | None = None
    via: str | None = None
    on_behalf_of: str | None = None
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of the append-only change log.

    Attributes:
        sequence: Position in the log; grows with every change of an account.
        at: When the change was committed; a time in UTC with a time zone.
        actor: The actor who made the change, or None if no actor was named.
        account: The account that changed; None for an event of the store as a whole, such as a sign-in.
        action: What happened. `create_account`, `add`, `edit`, `remove`, `replace`, `restore`, `undo`, or `expire`
            if the change removed expired entries from the list or ended a mode that had expired. Of an account:
            `rename_account`, which has a row with the old name, one with the new name, and one for each subaccount;
            `move_account` to another parent; `edit_account` of its display name; `set_mode`; `set_policy`; and
            `delete_account`. Events of the whole store are `create_token`, `revoke_token`, `create_link`, `sign_in`,
            `sign_in_failed`, `end_session`, `end_all_sessions`, `prune`, `erase` and `set_policy`.
        before: The entries that the change removed or edited, as they were before.
        after: The entries that the change added or edited, as they are after.
        details: What changed besides entries, as JSON: `before` and `after`; None if that is nothing. It is not hashed.
        origin: How the actor is known, and from where the change came; None in rows of versions before 0.1.0.
    """

    sequence: int
    at: datetime
    actor: str | None
    account: str | None
    action: Action
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
    details: dict[str, Any] | None = field(default=None, hash=False)
    origin: Origin | None = None
