"""`Client`: a method for each operation of the OpenAPI document."""

from __future__ import annotations

import time
import uuid
from contextlib import closing, suppress
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx

from cidrgate.client.change_stream import STREAM_SILENCE, followed_changes
from cidrgate.client.connection_errors import ClosedClientError, cause_of, reason_of, unreachable
from cidrgate.client.decoding import UnexpectedJsonError, page_of, value_of
from cidrgate.client.errors import ApiConnectionError, ApiConnectionLostError
from cidrgate.client.named_entries import (
    check_changeable,
    entries_named,
    entry_key,
    entry_keys,
    ids_of,
    other_version,
)
from cidrgate.client.requests import (
    address_text,
    base_url,
    changes,
    check_headers,
    check_settings,
    confirmations,
    declared_accounts,
    idempotency_key_header,
    json_value,
    person_header,
    submission,
    token_header,
)
from cidrgate.client.responses import (
    check_media_type,
    check_success,
    code_of,
    error_of_another_service,
    leaves_outcome_open,
    tells_nothing,
    unknown_outcome,
    value_of_response,
    what_to_check,
)
from cidrgate.client.values import (
    AccountDeletionInfo,
    AccountInfo,
    ApplyInfo,
    ChangeInfo,
    CheckInfo,
    DecisionInfo,
    EntryInfo,
    FoundEntryInfo,
    LinkInfo,
    ListChange,
    ListInfo,
    PolicyChangeInfo,
    PolicyInfo,
    PreviewInfo,
    ProblemTypeInfo,
    RecommendationInfo,
    SessionInfo,
    StatusInfo,
    TokenInfo,
    WhoAmI,
)
from cidrgate.errors import InvalidTextError, VersionConflictError
from cidrgate.url_paths import account_path, path_segment
from cidrgate.values import prefix_text, several_texts, text_of, truth, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from types import EllipsisType
    from typing import Unpack

    from cidrgate.client.named_entries import EntryReference
    from cidrgate.client.requests import Cidrs, Declaration
    from cidrgate.errors import Confirmation
    from cidrgate.values import EntryDetails, Mode, Prefix

__all__ = ["Client"]

_TIMEOUT = 15.0
"""Seconds to wait for a response: longer than the service waits for a lock before it reports that it is busy."""

_PAUSE = 0.5
"""Seconds to wait before a change with an unknown outcome is sent again."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, UnicodeError)
"""The errors after which nothing was sent; a `UnicodeError` is that of a resolver of names."""

_PAGE = 1000
"""Items that one page requests."""

_READINGS = 5
"""How often a list is read that changes between its pages."""

_Value = TypeVar("_Value")


class Client:
    """Sends requests to a service. Close it, or use it in a `with` block. Threads can share it.

    Every method raises an `ApiError` if the service rejects the request, and an `ApiConnectionError` if the service
    cannot be reached. An `ApiError` is also the error that the library raises for the same reason, such as
    `VersionConflictError`, `AccountNotFoundError` or `RuleError`.

    A method that changes a list or an account raises `UnconfirmedError` for a change that must be confirmed. `confirm`
    takes the service's names of the confirmations: `disable_enforcement` for a change after which no list decides for
    an enforced account, `lock_out` for one that denies the address of this client, `other_list` for another parent by
    whose list other addresses are allowed, and `wide_entry` for a network that is wider than the policy allows.
    `allow_empty=True` is the same as the first, and `allow_lock_out=True` the same as the second.

    The client sends a change with an `Idempotency-Key`. If the response is lost, also in a proxy, or if the service
    does not know whether the change was stored, the client sends it once more with the same key. The service does not
    carry it out twice, and the response reports the outcome. If the second response does not tell it either, the method
    raises an error that is an `OutcomeUnknownError`: the change may be made or not.

    An entry can be named by its id, by its network or as an `Entry`. For a network, the list is read, and what was read
    guards the change: only that version of the list is changed. If the list changes in between, it is read again, some
    times, unless the caller expects a version. So a repetition of such a call with the same `idempotency_key` is
    another request, which the service refuses once the first has changed the list: name the entry by its id.

    Nothing is sent, and a method raises an `ApiConnectionError`, if the client is closed. It raises an
    `InvalidAccountError` for the name of an account in a path that is empty or has a lone surrogate, a `ValueError` for
    another such text in a path, and an `InvalidTextError` for a lone surrogate elsewhere.

    Args:
        url: The address of the service, such as `http://127.0.0.1:8080`, without a user name, a password or a query.
        token: The bearer token. Spaces and line breaks around it are dropped, so it may be the text of a file that
            contains nothing else.
        http: The httpx client to use, for example with special settings. It stays as it is: `close` does not close it,
            and its base URL and headers do not change. Its redirects are not followed, because a redirected change can
            become a request that reads. None uses one of the `Client` itself.

    Raises:
        TypeError: If the URL or the token is no text.
        ValueError: If the URL, the token, or a proxy that the environment names cannot be used. Neither this message
            nor that of another error shows them. Also if the httpx client has a setting that would change what requests
            mean: `auth`, `params`, a header that the methods send themselves (`If-Match`, `Idempotency-Key`,
            `On-Behalf-Of`), or a base URL while the URL names no host.

    Example:
        >>> from cidrgate import RuleError, VersionConflictError
        >>> def grow(client: Client) -> None:
        ...     held = client.list_entries("acct-1")
        ...     try:
        ...         client.add_entries("acct-1", "8.8.8.0/24", expect_version=held.version)
        ...     except VersionConflictError:
        ...         print("somebody was first")
        ...     except RuleError as error:
        ...         print(error.problems)
    """

    def __init__(self, url: str, token: str, *, http: httpx.Client | None = None) -> None:
        self._owned = http is None
        self._url = base_url(url)
        self._headers = {"Authorization": token_header(token)}
        if http is not None:
            check_settings(http, self._url)
        self._http = _own_http() if http is None else http

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def for_person(self, on_behalf_of: str) -> Self:
        """Return a client with the same connections whose changes name the person for whom they are made.

        The history shows the name beside that of the token (`origin.on_behalf_of`). The service does not check it.
        Close only the original client.

        Args:
            on_behalf_of: The name of the person.

        Raises:
            ValueError: If a header cannot contain the name.
        """
        seen = copy(self)
        seen._owned = False
        seen._headers = {**self._headers, "On-Behalf-Of": person_header(on_behalf_of)}
        return seen

    def close(self) -> None:
        """Close the connections, unless they are those of an httpx client that was passed."""
        if self._owned:
            self._http.close()

    # ------------------------------------------------------------------------------------------------ accounts

    def list_accounts(
        self, *, parent: str | None = None, containing: str | None = None, starting_with: str | None = None
    ) -> Iterator[AccountInfo]:
        """Return the accounts that the token may see; loads one page at a time.

        Args:
            parent: Only the subaccounts of this account, which must exist.
            containing: Only accounts whose names contain this text, in upper or lower case of A to Z.
            starting_with: Only accounts whose names start with this text, in upper or lower case of A to Z.
        """
        return self._pages(
            "/v1/accounts", AccountInfo, parent=parent, containing=containing, starting_with=starting_with
        )

    def create_account(
        self,
        name: str,
        *,
        parent: str | None = None,
        display_name: str | None = None,
        closed: bool = False,
        idempotency_key: str | None = None,
    ) -> AccountInfo:
        """Create an account, or a subaccount if there is a parent; a closed one is enforced while it is empty too."""
        body: dict[str, object] = {"name": name, "parent": parent, "display_name": display_name}
        if truth(closed, "closed"):
            body["closed"] = True
        return self._send(AccountInfo, "POST", "/v1/accounts", body, idempotency_key=idempotency_key)

    def get_account(self, account: str) -> AccountInfo:
        """Return one account."""
        return self._send(AccountInfo, "GET", account_path(account))

    def edit_account(
        self,
        account: str,
        *,
        name: str | EllipsisType = ...,
        parent: str | EllipsisType | None = ...,
        display_name: str | EllipsisType | None = ...,
        confirm: Iterable[Confirmation] = (),
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> AccountInfo:
        """Change the name, the parent or the display name of an account.

        Args:
            account: The account.
            name: The new name; `...` for no change, also below.
            parent: The account whose list it inherits from now on; None for a list that belongs to it alone.
            display_name: The name for people; None for none.
            confirm: The service's names of the confirmations for this change.
            expect_version: The version that the account must have; None for any version.
            idempotency_key: The key that makes a repeated request take effect once; None creates a new one.
        """
        body = {"name": name, "parent": parent, "display_name": display_name}
        return self._sent_change(
            AccountInfo,
            "PATCH",
            account_path(account),
            {field: value for field, value in body.items() if value is not ...},
            confirm=confirmations(confirm),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def delete_account(
        self,
        account: str,
        *,
        recursive: bool = False,
        confirm: Iterable[Confirmation] = (),
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> AccountDeletionInfo:
        """Delete an account and its list, with `recursive` its subaccounts too; the other arguments as above."""
        return self._sent_change(
            AccountDeletionInfo,
            "DELETE",
            account_path(account),
            query={"recursive": truth(recursive, "recursive")},
            confirm=confirmations(confirm),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def list_subaccounts(
        self, account: str, *, containing: str | None = None, starting_with: str | None = None
    ) -> Iterator[AccountInfo]:
        """Return the subaccounts of an account; loads one page at a time."""
        return self._pages(
            account_path(account, "subaccounts"), AccountInfo, containing=containing, starting_with=starting_with
        )

    def create_subaccount(
        self, account: str, name: str, *, display_name: str | None = None, idempotency_key: str | None = None
    ) -> AccountInfo:
        """Create a subaccount."""
        path, body = account_path(account, "subaccounts"), {"name": name, "display_name": display_name}
        return self._send(AccountInfo, "POST", path, body, idempotency_key=idempotency_key)

    # -------------------------------------------------------------------------------------------------- policy

    def get_policy(self) -> PolicyInfo:
        """Return the policy of the service."""
        return self._send(PolicyInfo, "GET", "/v1/policy")

    def get_account_policy(self, account: str) -> PolicyInfo:
        """Return what an account overrides of the policy, and what applies to it."""
        return self._send(PolicyInfo, "GET", account_path(account, "policy"))

    def set_policy(
        self,
        *,
        max_entries: int | None = None,
        allow_special: bool | None = None,
        widest_ipv4: int | None = None,
        widest_ipv6: int | None = None,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyChangeInfo:
        """Store the policy of the service: all options. One that is None is not stored any more."""
        options = (max_entries, allow_special, widest_ipv4, widest_ipv6)
        return self._set_policy("/v1/policy", options, expect_version, idempotency_key)

    def set_account_policy(
        self,
        account: str,
        *,
        max_entries: int | None = None,
        allow_special: bool | None = None,
        widest_ipv4: int | None = None,
        widest_ipv6: int | None = None,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> PolicyChangeInfo:
        """Store what an account overrides of the policy: all options. One that is None is not stored any more."""
        options = (max_entries, allow_special, widest_ipv4, widest_ipv6)
        return self._set_policy(account_path(account, "policy"), options, expect_version, idempotency_key)

    def _set_policy(
        self, path: str, options: Sequence[object], expect_version: int | None, idempotency_key: str | None
    ) -> PolicyChangeInfo:
        names = ("max_entries", "allow_special", "widest_ipv4", "widest_ipv6")
        return self._sent_change(
            PolicyChangeInfo,
            "PUT",
            path,
            dict(zip(names, options, strict=True)),
            confirm=(),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    # ------------------------------------------------------------------------------------------------- entries

    def list_entries(self, account: str) -> ListInfo:
        """Return the whole list of an account, as it is in one version.

        A list of several pages that changes while they are read is read again, some times.

        Raises:
            VersionConflictError: If it changed each time.
        """
        for left in reversed(range(_READINGS)):
            try:
                pages = list(self._read_pages(account_path(account, "entries"), _list_page))
                break
            except VersionConflictError:
                if not left:
                    raise
        return replace(pages[-1], items=[item for page in pages for item in page.items])

    def add_entries(
        self,
        account: str,
        cidrs: Cidrs,
        *,
        confirm: Iterable[Confirmation] = (),
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        if_missing: bool = False,
        idempotency_key: str | None = None,
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Add entries: all of them, or none.

        Args:
            account: The account whose list changes.
            cidrs: CIDRs separated by commas or newlines; or one or several CIDRs, `ipaddress` networks and addresses,
                `NewEntry`, `Entry` and `EntryInfo` values, and objects with `cidr` and the details of that entry.
            confirm: The service's names of the confirmations for this change.
            allow_lock_out: Whether the change may deny the address that this request comes from; the same as
                `lock_out` in `confirm`.
            expect_version: The version that the list must have; None for any version.
            if_missing: Whether networks whose addresses the list allows already, and as long, are left out. `existing`
                of the result has the entries that allow them.
            idempotency_key: The key that makes a repeated request take effect once; None creates a new one.
            details: The details of every entry that has none of its own; see `cidrgate.EntryDetails`.
        """
        return self._change(
            "POST",
            account_path(account, "entries"),
            submission(cidrs, details),
            query={"if_missing": "true"} if truth(if_missing, "if_missing") else None,
            confirm=confirmations(confirm, allow_lock_out=allow_lock_out),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def replace_entries(
        self,
        account: str,
        cidrs: Cidrs,
        *,
        confirm: Iterable[Confirmation] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Replace the whole list in one change; the arguments are those of `add_entries`.

        A detail that an entry does not say stays; None removes it. So the items of `list_entries` are the list as it
        is. An empty list needs `allow_empty`, which is the same as `disable_enforcement` in `confirm`.
        """
        return self._change(
            "PUT",
            account_path(account, "entries"),
            submission(cidrs, details),
            confirm=confirmations(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def get_entry(self, account: str, entry: EntryReference) -> EntryInfo:
        """Return one entry. For a network, the list is read."""
        key = entry_key(entry)
        if isinstance(key, int):
            return self._send(EntryInfo, "GET", account_path(account, "entries", key))
        [found] = entries_named(self.list_entries(account), [key])
        return found

    def edit_entry(
        self,
        account: str,
        entry: EntryReference,
        cidr: str | IPv4Network | IPv6Network | None = None,
        *,
        confirm: Iterable[Confirmation] = (),
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Change the network or the details of an entry. An omitted detail or `...` stays; None removes it.

        Args:
            account: The account whose list changes.
            entry: The entry: its id, its network, or an `Entry` or `EntryInfo`.
            cidr: The new network; None for no change.
            confirm: The service's names of the confirmations for this change.
            allow_lock_out: Whether the change may deny the address that this request comes from.
            expect_version: The version that the list must have; None for any version.
            idempotency_key: The key that makes a repeated request take effect once; None creates a new one.
            details: The new details; see `cidrgate.EntryDetails`.

        Raises:
            EntryNotFoundError: If the list does not contain the entry.
            VersionConflictError: If the list has another version than the expected one, or changes each time after it
                was read.
        """
        body, confirmed = changes(cidr, details), confirmations(confirm, allow_lock_out=allow_lock_out)

        def edited(ids: Sequence[int], version: int | None) -> ListChange:
            return self._change(
                "PATCH",
                account_path(account, "entries", *ids),
                body,
                confirm=confirmed,
                expect_version=version,
                idempotency_key=idempotency_key,
            )

        return self._change_named(account, [entry_key(entry)], edited, expect_version)

    def remove_entry(
        self,
        account: str,
        entry: EntryReference,
        *,
        confirm: Iterable[Confirmation] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> ListChange:
        """Remove an entry; removing the last one needs `allow_empty`. The errors are those of `edit_entry`."""
        confirmed = confirmations(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out)

        def removed(ids: Sequence[int], version: int | None) -> ListChange:
            return self._change(
                "DELETE",
                account_path(account, "entries", *ids),
                confirm=confirmed,
                expect_version=version,
                idempotency_key=idempotency_key,
            )

        return self._change_named(account, [entry_key(entry)], removed, expect_version)

    def remove_entries(
        self,
        account: str,
        entries: Iterable[EntryReference],
        *,
        confirm: Iterable[Confirmation] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> ListChange:
        """Remove entries, all or none; removing every entry needs `allow_empty`.

        A text can have several networks, separated by commas or newlines. `entries` of an `EntryNotFoundError` names
        each one that is not in the list.
        """
        confirmed = confirmations(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out)

        def removed(ids: Sequence[int], version: int | None) -> ListChange:
            return self._change(
                "DELETE",
                account_path(account, "entries"),
                query={"entry_ids": list(ids)},
                confirm=confirmed,
                expect_version=version,
                idempotency_key=idempotency_key,
            )

        return self._change_named(account, entry_keys(entries), removed, expect_version)

    def apply_lists(
        self,
        declared: Mapping[str, Cidrs | Mapping[str, Any] | Declaration],
        *,
        prune: bool = False,
        create: bool = True,
        strict: bool = False,
        dry_run: bool = False,
        days: int | None = None,
        confirm: Iterable[Confirmation] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        expect_versions: Mapping[str, int] | None = None,
        idempotency_key: str | None = None,
    ) -> ApplyInfo:
        """Make the lists of many accounts what is declared; other accounts do not change.

        Args:
            declared: By account: its whole list, in any form that `replace_entries` takes; or a mapping with `entries`
                or `parent`; or a `cidrgate.manager.DeclaredAccount`.
            prune: Whether entries of these accounts that are not declared are removed. Otherwise they stay.
            create: Whether accounts that do not exist are created.
            strict: Whether nothing changes if one account cannot be what is declared.
            dry_run: Whether nothing changes; the result says what would change.
            days: Of a dry run: for how many days in UTC, with today, to read the recorded traffic; 30 if None.
            confirm: The service's names of the confirmations.
            allow_empty: Whether lists may become empty, which ends their enforcement.
            allow_lock_out: Whether the change may deny the address that this request comes from.
            expect_versions: The versions that lists must have, such as `versions` of a dry run: of every declared
                account, 0 of one to create, or of none.
            idempotency_key: The key that makes a repeated request take effect once; None creates a new one. A dry run
                needs none.
        """
        accounts = declared_accounts(declared)
        switches = {"prune": prune, "create": create, "strict": strict, "dry_run": dry_run}
        query: dict[str, Any] = {name: str(truth(value, name)).lower() for name, value in switches.items()}
        confirmed = confirmations(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out)
        if confirmed:
            query["confirm"] = confirmed
        if days is not None:
            query["days"] = whole_number(days, "days", least=1)
        body = {"accounts": accounts, "expect_versions": dict(expect_versions or {})}
        return self._send(
            ApplyInfo, "PUT", "/v1/lists", body, query=query, idempotency_key=idempotency_key, changes=not dry_run
        )

    def find_entries(
        self,
        covers: str | IPv4Address | IPv6Address | IPv4Network | IPv6Network | None = None,
        *,
        overlaps: str | IPv4Address | IPv6Address | IPv4Network | IPv6Network | None = None,
    ) -> Iterator[FoundEntryInfo]:
        """Return the entries of all accounts that cover or overlap a network; loads one page at a time.

        They come in the order in which they were added. Accounts without entries allow every address, and are not
        found.

        Args:
            covers: The address or network that the entries contain.
            overlaps: The network that the entries contain, or that contains the entries. Name one of the two.

        Raises:
            TypeError: If it is neither text nor an `ipaddress` object.
            InvalidAddressError: If it is neither an address nor a network.
        """
        asked = {"covers": covers, "overlaps": overlaps}
        query = {name: prefix_text(value) for name, value in asked.items() if value is not None}
        return self._pages("/v1/entries", FoundEntryInfo, **query)

    # ----------------------------------------------------------------------------------------------- questions

    def check(self, account: str, address: str | IPv4Address | IPv6Address) -> CheckInfo:
        """Return whether an address may act for an account; the result is true if it may."""
        return self._send(CheckInfo, "GET", account_path(account, "check"), query={"address": address_text(address)})

    def explain(self, account: str, address: str | IPv4Address | IPv6Address) -> DecisionInfo:
        """Explain why an address may act for an account, or why not; the result is true if it may."""
        return self._send(
            DecisionInfo, "GET", account_path(account, "explain"), query={"address": address_text(address)}
        )

    def preview_add(
        self, account: str, cidrs: Cidrs, *, days: int = 30, **details: Unpack[EntryDetails]
    ) -> PreviewInfo:
        """Return what `add_entries` would do; nothing is changed.

        `days` says here, and in every preview, for how many days in UTC, with today, to read the recorded traffic.
        """
        return self._preview(account, {"change": "add", **submission(cidrs, details)}, days)

    def preview_replace(
        self, account: str, cidrs: Cidrs, *, days: int = 30, **details: Unpack[EntryDetails]
    ) -> PreviewInfo:
        """Return what `replace_entries` would do; nothing is changed."""
        return self._preview(account, {"change": "replace", **submission(cidrs, details)}, days)

    def preview_edit(
        self,
        account: str,
        entry: EntryReference,
        cidr: str | IPv4Network | IPv6Network | None = None,
        *,
        days: int = 30,
        **details: Unpack[EntryDetails],
    ) -> PreviewInfo:
        """Return what `edit_entry` would do; nothing is changed."""
        body = {"change": "edit", **changes(cidr, details)}

        def body_of(ids: Sequence[int]) -> dict[str, Any]:
            [entry_id] = ids
            return {**body, "entry_id": entry_id}

        return self._preview_named(account, [entry_key(entry)], body_of, days)

    def preview_remove(self, account: str, entries: Iterable[EntryReference], *, days: int = 30) -> PreviewInfo:
        """Return what `remove_entries` would do; nothing is changed."""

        def body_of(ids: Sequence[int]) -> dict[str, Any]:
            return {"change": "remove", "entry_ids": list(ids)}

        return self._preview_named(account, entry_keys(entries), body_of, days)

    def preview_restore(self, account: str, to_sequence: int, *, days: int = 30) -> PreviewInfo:
        """Return what `restore` would do; nothing is changed."""
        whole_number(to_sequence, "to_sequence", least=0)
        return self._preview(account, {"change": "restore", "to_sequence": to_sequence}, days)

    def preview_undo(self, account: str, sequence: int, *, days: int = 30) -> PreviewInfo:
        """Return what `undo` would do; nothing is changed."""
        whole_number(sequence, "sequence", least=0)
        return self._preview(account, {"change": "undo", "sequence": sequence}, days)

    def _preview(self, account: str, body: dict[str, Any], days: int) -> PreviewInfo:
        query = {"days": whole_number(days, "days", least=1)}
        return self._send(PreviewInfo, "POST", account_path(account, "preview"), body, query=query, changes=False)

    def recommend(
        self,
        account: str,
        days: int = 30,
        *,
        max_entries: int | None = None,
        forced: Iterable[Prefix] = (),
        excluded: Iterable[Prefix | IPv4Address | IPv6Address] = (),
        widest_ipv4: int | None = None,
        widest_ipv6: int | None = None,
        include_denied: bool = False,
    ) -> RecommendationInfo:
        """Return the best list for the recorded traffic of an account, and what its entries were used for.

        Args:
            account: The account. A subaccount has no list of its own.
            days: For how many days in UTC, with today, to read the recorded traffic.
            max_entries: The most entries, at most 1,000; as many as the policy allows if None.
            forced: Networks that the list allows whole, whether anybody used them or not.
            excluded: Addresses and networks that no entry overlaps.
            widest_ipv4: The shortest length of an IPv4 entry; the policy's if None.
            widest_ipv6: The same for IPv6.
            include_denied: Whether addresses that the list denies now are covered too, whatever was decided then.

        Raises:
            NoTrafficError: If the service has no traffic of the account.
            RecommendationError: If no list does all that is asked; `fewest` says how many entries would.
            TypeError: If `forced` or `excluded` is one text or one network.
        """
        numbers = {"max_entries": max_entries, "widest_ipv4": widest_ipv4, "widest_ipv6": widest_ipv6}
        query: dict[str, Any] = {"days": whole_number(days, "days", least=1)}
        query |= {name: whole_number(one, name) for name, one in numbers.items() if one is not None}
        query |= {"force": list(map(prefix_text, several_texts(forced, "forced")))}
        query |= {"exclude": list(map(prefix_text, several_texts(excluded, "excluded")))}
        query["include_denied"] = str(truth(include_denied, "include_denied")).lower()
        return self._send(RecommendationInfo, "GET", account_path(account, "recommendation"), query=query)

    # ------------------------------------------------------------------------------------------------- history

    def list_history(
        self, account: str, *, before: int | None = None, after: int | None = None
    ) -> Iterator[ChangeInfo]:
        """Return the changes of an account's own list, the newest first; loads one page at a time.

        Args:
            account: The account.
            before: Only changes with a smaller sequence.
            after: Only changes with a greater sequence.
        """
        _check_range(before, after)
        return self._pages(account_path(account, "history"), ChangeInfo, before=before, after=after)

    def list_changes(
        self,
        *,
        account: str | None = None,
        before: int | None = None,
        after: int | None = None,
        order: Literal["newest", "oldest"] | None = None,
    ) -> Iterator[ChangeInfo]:
        """Return the changes of every account, or of one, and the events of the store; loads one page at a time.

        Args:
            account: Only the changes of this account; not with the order `oldest`.
            before: Only changes with a smaller sequence; not with the order `oldest`.
            after: Only changes with a greater sequence.
            order: `newest` for the newest first, the default; `oldest` for the feed, as `changes` reads it.
        """
        _check_range(before, after)
        return self._pages("/v1/changes", ChangeInfo, account=account, before=before, after=after, order=order)

    def changes(self, *, after: int = 0) -> Iterator[ChangeInfo]:
        """Return the change log of all accounts up to now, the oldest change first; loads one page at a time.

        To continue later, call it again with the sequence of the last change: each change comes exactly once.

        Args:
            after: Only changes with a greater sequence; 0 to begin with the oldest change.
        """
        return self.list_changes(after=whole_number(after, "after", least=0), order="oldest")

    def follow_changes(self, *, after: int | None = None) -> Generator[ChangeInfo]:
        """Yield the changes of all accounts as they are committed, without end, the oldest first.

        It connects at this call. If the connection is lost later, it connects again and continues after the last
        change: each change comes exactly once. Close the iterator, or leave its loop, to stop.

        Args:
            after: Only changes with a greater sequence; None for changes that are committed from this call on.

        Raises:
            ApiConnectionError: If the service cannot be reached at this call.
            HistoryError: If changes after `after` were deleted.
        """
        if after is not None:
            whole_number(after, "after", least=0)
        return followed_changes(self._open_stream, after)

    def _open_stream(self, after: int | None) -> AbstractContextManager[httpx.Response]:
        """Open the stream of changes."""
        request = self._request("GET", "/v1/changes/stream", query={} if after is None else {"after": after})
        request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": STREAM_SILENCE}
        return closing(self._streamed(request))

    def _streamed(self, request: httpx.Request) -> httpx.Response:
        response = self._sent(request, stream=True)
        try:
            if not response.is_success:
                _read(response)
                check_success(response)
            check_media_type(response, "text/event-stream")
        except BaseException:
            response.close()
            raise
        return response

    def set_mode(
        self,
        account: str,
        mode: Mode,
        *,
        until: datetime | None = None,
        reason: str | None = None,
        closed: bool | None = None,
        confirm: Iterable[Confirmation] = (),
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> AccountInfo:
        """Set how the list decides: `enforce`, `report_only` or `off`, which expires at `until` if that is given.

        To end enforcement needs `disable_enforcement` in `confirm`.
        """
        body: dict[str, object] = {"mode": mode, "until": json_value(until), "reason": reason}
        return self._sent_change(
            AccountInfo,
            "PUT",
            account_path(account, "mode"),
            body if closed is None else {**body, "closed": truth(closed, "closed")},
            confirm=confirmations(confirm),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def restore(
        self,
        account: str,
        to_sequence: int,
        *,
        confirm: Iterable[Confirmation] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> ListChange:
        """Restore the list as it was after a change of the history; an empty list needs `allow_empty`."""
        return self._change(
            "POST",
            account_path(account, "restore"),
            {"to_sequence": whole_number(to_sequence, "to_sequence", least=0)},
            confirm=confirmations(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def undo(
        self,
        account: str,
        sequence: int,
        *,
        confirm: Iterable[Confirmation] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        expect_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> ListChange:
        """Undo one change of the history and keep the later ones; an empty list needs `allow_empty`."""
        return self._change(
            "POST",
            account_path(account, "history", whole_number(sequence, "sequence", least=0), "undo"),
            confirm=confirmations(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out),
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    # -------------------------------------------------------------------------------------------------- tokens

    def who_am_i(self) -> WhoAmI:
        """Return the name and the scopes of the token, and this client's address as the service sees it."""
        return self._send(WhoAmI, "GET", "/v1/me")

    def list_tokens(self) -> Iterator[TokenInfo]:
        """Return every token; loads one page at a time."""
        return self._pages("/v1/tokens", TokenInfo)

    def create_token(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> TokenInfo:
        """Create a token; `token` of the result is the secret to send. One text as `scopes` is a `TypeError`."""
        listed = list(several_texts(scopes, "scopes", "scopes"))
        body = {"name": name, "scopes": listed, "expires_at": json_value(expires_at)}
        return self._send(TokenInfo, "POST", "/v1/tokens", body, idempotency_key=idempotency_key)

    def get_token(self, token_id: int) -> TokenInfo:
        """Return one token, without its secret."""
        return self._send(TokenInfo, "GET", f"/v1/tokens/{whole_number(token_id, 'token_id')}")

    def revoke_token(self, token_id: int, *, idempotency_key: str | None = None) -> TokenInfo:
        """Revoke a token."""
        path = f"/v1/tokens/{whole_number(token_id, 'token_id')}"
        return self._send(TokenInfo, "DELETE", path, idempotency_key=idempotency_key)

    def create_link(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> LinkInfo:
        """Create a link that signs a person in to the console, once; `url` of the result is the URL to open.

        It can be opened for an hour, or until `expires_at`, which is at most seven days from now. It ends with this
        client's token, and so does its session. One text as `scopes` is a `TypeError`.
        """
        listed = list(several_texts(scopes, "scopes", "scopes"))
        body = {"name": name, "scopes": listed, "expires_at": json_value(expires_at)}
        return self._send(LinkInfo, "POST", "/v1/links", body, idempotency_key=idempotency_key)

    # ------------------------------------------------------------------------------------------------ sessions

    def list_sessions(self) -> Iterator[SessionInfo]:
        """Return the console's sessions, the newest first: all of them for an admin, otherwise those of this token."""
        return self._pages("/v1/sessions", SessionInfo)

    def end_session(self, session_id: str, *, idempotency_key: str | None = None) -> SessionInfo:
        """End a session of the console."""
        path = f"/v1/sessions/{path_segment(session_id, 'session_id')}"
        return self._send(SessionInfo, "DELETE", path, idempotency_key=idempotency_key)

    # ----------------------------------------------------------------------------------------------- operation

    def healthz(self) -> bool:
        """Return whether the service responds."""
        return self._send(StatusInfo, "GET", "/healthz").status == "ok"

    def readyz(self) -> bool:
        """Return whether the service is ready: its lists are up to date and it can read the store."""
        response = self._sent(self._request("GET", "/readyz"))
        if response.is_success:
            self._value(partial(value_of, StatusInfo), response)  # the page of another server says nothing
        return response.is_success

    def metrics(self) -> str:
        """Return the service's metrics, in Prometheus's text format."""
        response = self._sent(self._request("GET", "/metrics"))
        check_success(response)
        check_media_type(response, "text/plain")
        return response.text

    def get_problem_type(self, code: str) -> ProblemTypeInfo:
        """Return what a code of problems means, and what to do about it."""
        return self._send(ProblemTypeInfo, "GET", f"/problems/{path_segment(code, 'code')}")

    # --------------------------------------------------------------------------------------------------------

    def _change(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        confirm: Sequence[str],
        expect_version: int | None,
        idempotency_key: str | None,
    ) -> ListChange:
        return self._sent_change(
            ListChange,
            method,
            path,
            body,
            query=query,
            confirm=confirm,
            expect_version=expect_version,
            idempotency_key=idempotency_key,
        )

    def _sent_change(
        self,
        kind: type[_Value],
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        confirm: Sequence[str],
        expect_version: int | None,
        idempotency_key: str | None,
    ) -> _Value:
        if expect_version is not None:
            whole_number(expect_version, "expect_version", least=0)
        headers = {} if expect_version is None else {"If-Match": f'"v{expect_version}"'}
        asked = {**(query or {}), **({"confirm": list(confirm)} if confirm else {})}
        try:
            return self._send(kind, method, path, body, query=asked, headers=headers, idempotency_key=idempotency_key)
        except VersionConflictError as error:
            error.expected = expect_version  # the service does not repeat a number that not every reader can hold
            raise

    def _send(
        self,
        kind: type[_Value],
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        changes: bool = True,
    ) -> _Value:
        """Send a request and return its response as a value of `kind`; `changes` says whether a change is made."""
        read = partial(value_of, kind)
        if method == "GET" or not changes:
            return self._value(read, self._sent(self._request(method, path, body, query, headers)))
        sent = dict(headers or {})
        sent["Idempotency-Key"] = (
            uuid.uuid4().hex if idempotency_key is None else idempotency_key_header(idempotency_key)
        )
        request = self._request(method, path, body, query, sent)
        try:
            response = self._transmitted(request)
        except _NOT_SENT as error:
            raise unreachable(error) from error
        except httpx.RequestError:
            response = self._sent_again(request)
        else:
            if not leaves_outcome_open(response):
                with suppress(UnexpectedJsonError):  # a response that was cut off is not the end of it
                    return value_of_response(read, response)
            time.sleep(_PAUSE)
            response = self._sent_again(request)
        try:
            return value_of_response(read, response)
        except UnexpectedJsonError as error:
            raise unknown_outcome(response, error) from None

    def _value(self, read: Callable[[object], _Value], response: httpx.Response) -> _Value:
        """Return the value of a response to a request that changes nothing."""
        try:
            return value_of_response(read, response)
        except UnexpectedJsonError as error:
            raise error_of_another_service(response, error) from None

    def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        if self._http.is_closed:
            raise ClosedClientError("this client was closed, and nothing was sent: make another one")
        sent = {name.encode(): value.encode() for name, value in {**self._headers, **(headers or {})}.items()}
        # httpx writes what a text prints, which of a member of an enumeration may be its name.
        query = query and {name: text_of(one) if isinstance(one, str) else one for name, one in query.items()}
        try:
            request = self._http.build_request(method, f"{self._url}{path}", json=body, params=query, headers=sent)
        except httpx.InvalidURL:
            raise _no_url(self._url) from None
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                f"a text of the request has the lone surrogate U+{ord(error.object[error.start]):04X}, which cannot be "
                "sent: leave it out"
            ) from None
        check_headers(request.headers)
        return request

    def _sent(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request that changes nothing."""
        try:
            return self._transmitted(request, stream=stream)
        except (httpx.RequestError, UnicodeError) as error:
            raise unreachable(error) from cause_of(error)

    def _transmitted(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request as it is: with the token, and to the service alone."""
        return self._http.send(request, stream=stream, auth=None, follow_redirects=False)

    def _sent_again(self, request: httpx.Request) -> httpx.Response:
        """Send a change again that may have been carried out; wait while the service still carries it out."""
        give_up, check = time.monotonic() + _TIMEOUT, what_to_check(request)
        while True:
            again = self._http.build_request(
                request.method, request.url, content=request.content, headers=request.headers
            )
            if self._http.is_closed:
                raise ApiConnectionLostError(
                    "the response to a change was lost, and this client was closed. The change may be made or not: "
                    f"{check}, with another client"
                )
            try:
                response = self._transmitted(again)
            except httpx.RequestError as error:
                raise ApiConnectionLostError(
                    f"the connection to the service was lost: {reason_of(error)}. The change may be made or not: "
                    f"{check}"
                ) from cause_of(error)
            if code_of(response) == "idempotency_in_progress" and time.monotonic() < give_up:
                time.sleep(_PAUSE)
                continue
            if tells_nothing(response):
                raise ApiConnectionLostError(
                    f"the response to a change was lost, and the response {response.status_code} to the second attempt "
                    f"does not tell what became of the first. The change may be made or not: {check}"
                )
            return response

    def _read_pages(
        self, path: str, read: Callable[[object], tuple[_Value, str | None]], **query: Any
    ) -> Iterator[_Value]:
        """Yield pages; `read` returns one and the cursor of the next."""
        asked: dict[str, Any] = {"limit": _PAGE} | {name: value for name, value in query.items() if value is not None}
        read_already: set[str] = set()
        while True:
            response = self._sent(self._request("GET", path, query=asked))
            page, cursor = self._value(read, response)
            yield page
            if cursor is None:
                return
            if cursor in read_already:
                which = "this" if cursor == asked["cursor"] else "an earlier"
                raise error_of_another_service(response, UnexpectedJsonError(f"that of {which} page", "next_cursor"))
            read_already.add(cursor)
            asked["cursor"] = cursor

    def _pages(self, path: str, kind: type[_Value], **query: Any) -> Iterator[_Value]:
        """Yield the items of all pages."""
        for page in self._read_pages(path, partial(page_of, kind), **query):
            yield from page

    def _change_named(
        self,
        account: str,
        keys: Sequence[int | str],
        change: Callable[[Sequence[int], int | None], ListChange],
        expect_version: int | None,
    ) -> ListChange:
        """Make a change of entries. For networks, the list is read, and changed only in the version that was read.

        Args:
            account: The account whose list changes.
            keys: The ids and the networks of the entries.
            change: Makes the change, from the ids of the entries and the version that the list must have.
            expect_version: The version that the caller expects; None for any, so that a list that changes after it was
                read is read again, some times.
        """
        if expect_version is not None:
            whole_number(expect_version, "expect_version", least=0)
        if ids := ids_of(keys):
            return change(ids, expect_version)
        for left in reversed(range(_READINGS if expect_version is None else 1)):
            held = self.list_entries(account)
            check_changeable(held, expect_version)
            named = [entry.id for entry in entries_named(held, keys)]
            try:
                made = change(named, held.version)
                break
            except VersionConflictError:
                if not left:
                    raise
        return made

    def _preview_named(
        self, account: str, keys: Sequence[int | str], body_of: Callable[[Sequence[int]], dict[str, Any]], days: int
    ) -> PreviewInfo:
        """Return what a change of entries would do. For networks, the preview is of the version that was read."""
        if (ids := ids_of(keys)) is not None:
            return self._preview(account, body_of(ids), days)
        for left in reversed(range(_READINGS)):
            held = self.list_entries(account)
            check_changeable(held)
            seen = self._preview(account, body_of([entry.id for entry in entries_named(held, keys)]), days)
            if seen.version == held.version:
                break
            if not left:
                raise other_version(account, expected=held.version, actual=seen.version)
        return seen


def _read(response: httpx.Response) -> None:
    """Read the rest of the response to a request that changes nothing."""
    try:
        response.read()
    except httpx.RequestError as error:
        raise unreachable(error) from cause_of(error)


def _list_page(record: object) -> tuple[ListInfo, str | None]:
    return value_of(ListInfo, record), page_of(EntryInfo, record)[1]


def _check_range(before: int | None, after: int | None) -> None:
    """Refuse sequences of changes that are no whole numbers."""
    for value, name in ((before, "before"), (after, "after")):
        if value is not None:
            whole_number(value, name, least=0)


def _own_http() -> httpx.Client:
    try:
        return httpx.Client(timeout=_TIMEOUT)
    except (httpx.InvalidURL, ValueError):
        raise ValueError(
            "a proxy that the environment names cannot be used: write HTTP_PROXY, HTTPS_PROXY and ALL_PROXY as "
            "http://host:port, and an @ or / of a password as %40 or %2F"
        ) from None


def _no_url(url: str) -> ApiConnectionError:
    """Return the error for a request whose URL httpx refuses; its own error quotes parts of the URL."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        return ApiConnectionError("the URL of the service is not valid, and nothing was sent: write http://host:port")
    return ApiConnectionError("the request is too long for a URL, and nothing was sent: ask for less at once")
