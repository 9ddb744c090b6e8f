"""What the client and its methods take, as the URLs, the headers and the bodies of requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from cidrgate.serialization import EntryInfo
from cidrgate.values import Entry, NewEntry, in_utc, prefix_text, text_of, truth

if TYPE_CHECKING:
    import httpx

    from cidrgate.errors import Confirmation
    from cidrgate.values import EntryDetails

__all__ = [
    "Cidrs",
    "Declaration",
    "address_text",
    "base_url",
    "changes",
    "check_headers",
    "check_settings",
    "confirmations",
    "declared_accounts",
    "idempotency_key_header",
    "json_value",
    "person_header",
    "submission",
    "token_header",
]

Listed: TypeAlias = (
    str | IPv4Network | IPv6Network | IPv4Address | IPv6Address | NewEntry | Entry | EntryInfo | Mapping[str, Any]
)
"""One entry to store: a CIDR, an `ipaddress` network or address, an entry, or its JSON object."""

Cidrs: TypeAlias = Listed | Iterable[Listed]
"""Entries to store: one text with CIDRs separated by commas or newlines, one entry, or several."""


@runtime_checkable
class Declaration(Protocol):
    """What an account has to be, such as a `cidrgate.manager.DeclaredAccount`.

    Attributes:
        entries: The whole list; None says nothing about it.
        parent: The account whose list it inherits; None for its own list.
    """

    @property
    def entries(self) -> Cidrs | None: ...  # noqa: D102
    @property
    def parent(self) -> str | None: ...  # noqa: D102


_WORD = re.compile(r"[!-~]+", re.ASCII)
"""Visible ASCII characters: what a token consists of."""

_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(rb"(?:[^\x00\s]++(?:[ \t]++[^\x00\s]++)*+)?+")
"""The names and values of headers that can be sent (RFC 9110, section 5.5)."""

_OWN_HEADERS = ("Idempotency-Key", "If-Match", "If-None-Match", "If-Unmodified-Since", "On-Behalf-Of")
"""Headers that say what one request means, so that no setting may add them to all."""

_LONGEST_KEY = 255
"""Bytes of an idempotency key that the service accepts."""

_ONE = (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address, NewEntry, Entry, Mapping)
_SETTABLE = tuple(one.name for one in fields(NewEntry) if one.name != "cidr")


def base_url(url: str) -> str:
    """Return the address of the service, without a slash at its end. No message shows the text of a wrong one.

    Raises:
        TypeError: If it is not text.
        ValueError: If it has a user name or a password, with which httpx would replace the token; or a query or a
            fragment, which the paths of requests would become a part of.

    Example:
        >>> base_url("http://127.0.0.1:8080/")
        'http://127.0.0.1:8080'
    """
    if not isinstance(url, str):
        raise TypeError(f"the URL of the service must be text, not {type(url).__name__}")
    if "@" in url:
        raise ValueError(
            "the URL of the service must have no user name and no password, because the token is what is sent: write "
            "http://host:port, and an @ of a path as %40"
        )
    if "?" in url or "#" in url:
        raise ValueError("the URL of the service must have no query and no fragment: write http://host:port")
    return url.rstrip("/")


def token_header(token: str) -> str:
    r"""Return the value of `Authorization` for a token. No message shows the token.

    Args:
        token: The token. Spaces and line breaks around it are dropped: a file that contains it may end with one.

    Raises:
        TypeError: If it is not text.
        ValueError: If it is not one word of visible ASCII characters.

    Example:
        >>> token_header("cidrgate_1_...\n")
        'Bearer cidrgate_1_...'
    """
    if not isinstance(token, str):
        raise TypeError(f"the token must be text, not {type(token).__name__}")
    word = token.strip(" \t\r\n")
    if not word:
        raise ValueError("the token is empty: pass what `cidrgate token create` printed")
    if not _WORD.fullmatch(word):
        raise ValueError(
            "the token must be one word of visible ASCII characters, and this one has a space, a second line or other "
            "characters: pass the token alone, as `cidrgate token create` printed it"
        )
    return f"Bearer {word}"


def person_header(name: str) -> str:
    """Return the value of `On-Behalf-Of` for the name of a person.

    Raises:
        TypeError: If it is not text.
        ValueError: If it is not one line of visible characters, or begins or ends with a space.
    """
    return _line(name, "the name of the person")


def idempotency_key_header(key: str) -> str:
    """Return the value of `Idempotency-Key` for a key.

    Raises:
        TypeError: If it is not text.
        ValueError: If it is not one line of visible characters, begins or ends with a space, or is longer than 255
            bytes as UTF-8.
    """
    if len(_line(key, "an idempotency key").encode()) > _LONGEST_KEY:
        raise ValueError(f"an idempotency key has at most {_LONGEST_KEY} bytes: choose a shorter one, such as a UUID")
    return key


def _line(text: str, what: str) -> str:
    """Check a text that becomes the value of a header."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be text, not {type(text).__name__}")
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError(
            f"{what} must be one line of visible characters, without a space at its begin or end: leave other "
            "characters out"
        )
    return text


def check_headers(headers: httpx.Headers) -> None:
    """Check the headers of a request, also those that an httpx client of the caller adds.

    Raises:
        ValueError: If one cannot be sent. The message names it and does not show its value, as the error of a library
            would.
    """
    for name, value in headers.raw:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(
                "a header of the httpx client has a name with characters that HTTP does not allow: rename it"
            )
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"the header {name.decode()} of the httpx client cannot be sent: its value, which is not shown here, "
                "has a line break, a control character, or a space at an end; leave it out"
            )


def check_settings(http: httpx.Client, url: str) -> None:
    """Check that an httpx client of the caller does not change what requests mean.

    Args:
        http: The httpx client.
        url: The address of the service.

    Raises:
        ValueError: If it does. The message names the setting and does not show its value.
    """
    wrong = [name for name in _OWN_HEADERS if name in http.headers]
    if http.auth is not None:
        raise ValueError("the auth of the httpx client would replace the token: leave it out, and pass the token alone")
    if http.params:
        raise ValueError("the params of the httpx client would become parameters of every request: leave them out")
    if wrong:
        raise ValueError(
            f"the header {wrong[0]} of the httpx client would be sent with every request: leave it out, and use the "
            "arguments of the methods, or `for_person`"
        )
    if str(http.base_url) and "://" not in url:
        raise ValueError(
            "the URL of the service names no host, and the base URL of the httpx client would: write http://host:port"
        )


def submission(cidrs: Cidrs, details: EntryDetails) -> dict[str, Any]:
    """Return the body that submits entries.

    Args:
        cidrs: The entries.
        details: The details of every entry that does not have its own.

    Raises:
        TypeError: If an element is not an entry.

    Example:
        >>> submission("8.8.8.0/24, 1.1.1.1/32", {"label": "dns"})
        {'cidrs': '8.8.8.0/24, 1.1.1.1/32', 'label': 'dns'}
        >>> submission([IPv4Network("8.8.8.0/24"), NewEntry("1.1.1.1/32", label="dns")], {})
        {'entries': [{'cidr': '8.8.8.0/24'}, {'cidr': '1.1.1.1/32', 'label': 'dns'}]}
    """
    if isinstance(cidrs, str):
        body: dict[str, Any] = {"cidrs": cidrs}
    else:
        body = {"entries": _all_entries(cidrs)}
    return body | {name: json_value(value) for name, value in details.items()}


def _all_entries(cidrs: Cidrs) -> list[dict[str, Any]]:
    elements = [cidrs] if isinstance(cidrs, _ONE) or not isinstance(cidrs, Iterable) else cidrs
    return [entry for element in elements for entry in _entries(element)]


def _entries(element: Listed) -> list[dict[str, Any]]:
    """Return the entries of one element: a text may have several."""
    details: dict[str, Any] = {}
    if isinstance(element, str):
        text = element
    elif isinstance(element, IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        text = prefix_text(element)
    elif isinstance(element, NewEntry):
        text, details = element.cidr, dict(element.said())
    elif isinstance(element, Entry):
        text, details = element.cidr, {name: getattr(element, name) for name in _SETTABLE}
    elif isinstance(element, Mapping):
        return [{name: json_value(value) for name, value in element.items()}]
    else:
        raise TypeError(f"an entry must be a str, an ipaddress network or a NewEntry, not {type(element).__name__}")
    told = {name: json_value(value) for name, value in details.items()}
    return [{"cidr": cidr.strip(), **told} for cidr in text.replace(",", "\n").split("\n") if cidr.strip()]


def declared_accounts(declared: Mapping[str, Cidrs | Mapping[str, Any] | Declaration]) -> dict[str, dict[str, Any]]:
    """Return the body that declares accounts, by name.

    Raises:
        TypeError: If they are not a mapping, or something is no declaration.
    """
    if not isinstance(declared, Mapping):
        raise TypeError("declare the lists as a mapping from accounts to their entries")
    return {name: declared_account(one) for name, one in declared.items()}


def declared_account(declared: Cidrs | Mapping[str, Any] | Declaration) -> dict[str, Any]:
    """Return the body that declares one account.

    Raises:
        TypeError: If it is None, or an element is not an entry.

    Example:
        >>> declared_account("8.8.8.0/24"), declared_account({"parent": "acct-1"})
        ({'entries': [{'cidr': '8.8.8.0/24'}]}, {'parent': 'acct-1'})
    """
    if declared is None:
        raise TypeError("declare the entries of an account, which may be an empty list, or its parent, not None")
    if isinstance(declared, Declaration):
        both = {"entries": declared.entries, "parent": declared.parent}
        said = {name: value for name, value in both.items() if value is not None}
    elif isinstance(declared, Mapping) and "cidr" not in declared:
        said = dict(declared)
    else:
        said = {"entries": declared}
    if said.get("entries") is not None:
        said["entries"] = _all_entries(said["entries"])
    return said


def changes(cidr: str | IPv4Network | IPv6Network | None, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that edits an entry: only what changes."""
    changed = {name: json_value(value) for name, value in details.items() if value is not ...}
    return changed if cidr is None else {"cidr": prefix_text(cidr), **changed}


def confirmations(
    confirm: Iterable[Confirmation], *, allow_empty: bool = False, allow_lock_out: bool = False
) -> list[str]:
    """Return the names of the confirmations.

    Raises:
        TypeError: If `confirm` is not a collection of names, or a switch is neither True nor False.
    """
    if isinstance(confirm, bool | str):
        raise TypeError("confirm must be a collection of names, such as {'lock_out'}")
    truth(allow_empty, "allow_empty")
    truth(allow_lock_out, "allow_lock_out")
    said = {"disable_enforcement": allow_empty, "lock_out": allow_lock_out}
    return sorted({*confirm, *(name for name, allowed in said.items() if allowed)})


def address_text(address: str | IPv4Address | IPv6Address) -> str:
    """Return an address as text. An interface is its address, as it is for the library.

    Raises:
        TypeError: If it is something else, whose text would be asked about instead.

    Example:
        >>> address_text(IPv4Interface("8.8.8.8/24"))
        '8.8.8.8'
    """
    if not isinstance(address, str | IPv4Address | IPv6Address):
        raise TypeError(f"an address must be text or an ipaddress object, not {address!r}")
    return text_of(address.ip if isinstance(address, IPv4Interface | IPv6Interface) else address)


def json_value(value: object) -> object:
    """Return a value as JSON has it.

    Raises:
        TypeError: If it is `pandas.NaT`.
        InvalidExpiryError: If it is a time without a form in UTC.
    """
    return in_utc(value, "a time").isoformat() if isinstance(value, datetime) else value
