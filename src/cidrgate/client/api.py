"""`Client`: one method for each operation of the OpenAPI document, with the same name."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import httpx

from cidrgate.client.values import (
    AccountInfo,
    ChangeInfo,
    CheckInfo,
    DecisionInfo,
    EntryInfo,
    ListChange,
    ListInfo,
    PreviewInfo,
    SessionInfo,
    TokenInfo,
    WhoAmI,
    account_of,
    change_of,
    entry_of,
    list_change_of,
    problem_of,
    session_of,
    token_of,
    value_of,
    with_entries,
)
from cidrgate.errors import CidrgateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from cidrgate.errors import Problem
    from cidrgate.values import EntryDetails

__all__ = ["ApiError", "Client", "UnconfirmedError"]

_TIMEOUT = 15.0
"""Seconds to wait for a response: longer than the service waits for a lock before it reports that it is busy."""

_PAUSE = 0.5
"""Seconds to wait before a change with an unknown outcome is sent again."""

_PAGE = 1000
"""Items that one page requests."""

_Value = TypeVar("_Value")


class ApiError(CidrgateError):
    """The service rejected a request or could not carry it out.

    Attributes:
        status: The HTTP status.
        code: The error code.
        problems: Every violation of a rule by a submission.
        retry_after: Seconds to wait before another attempt; None if the service did not send this.
    """

    code = "http_error"

    def __init__(
        self, status: int, code: str, detail: str, problems: list[Problem], retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.problems = problems
        self.retry_after = retry_after


class UnconfirmedError(ApiError):
    """The service rejected a change because it must be confirmed; nothing was changed.

    `code` names the guard that rejected it: `would_disable_enforcement` or `would_lock_out_caller`.

    Attributes:
        confirm: Repeat the call with this value as `confirm`. Or pass `allow_empty=True` for `disable_enforcement`, and
            `allow_lock_out=True` for `lock_out`.
    """

    code = "unconfirmed_change"

    def __init__(self, status: int, code: str, detail: str, confirm: Iterable[str]) -> None:
        super().__init__(status, code, detail, [])
        self.confirm = tuple(confirm)


class Client:
    """Sends requests to a service. Close it, or use it in a `with` block. Threads can share it.

    Every method raises `ApiError` if the service rejects the request, and `httpx.TransportError` if the service cannot
    be reached. A method that changes a list raises `UnconfirmedError` for a change that must be confirmed. There are
    two such changes: one that leaves an enforced account without entries, unless `allow_empty=True`, and one that
    denies the address of this client, unless `allow_lock_out=True`. `confirm` accepts the same confirmations by the
    service's names.

    The client sends a change with an `Idempotency-Key`. If the response is lost, or if the service does not know
    whether the change was stored, the client sends it once more with the same key. The service does not carry it out
    twice, and the response reports the outcome. If the second attempt fails too, the method raises
    `httpx.TransportError`, or `ApiError` with the `code` `outcome_unknown`: the outcome is then unknown.

    Args:
        url: The address of the service, such as `http://127.0.0.1:8080`.
        token: The bearer token.
        http: The httpx client to use, for example with special settings; `Client` sets its base URL and its token.
    """

    def __init__(self, url: str, token: str, *, http: httpx.Client | None = None) -> None:
        self._http = httpx.Client(timeout=_TIMEOUT) if http is None else http
        self._http.base_url = httpx.URL(url)
        self._http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ------------------------------------------------------------------------------------------------ accounts

    def list_accounts(self) -> Iterator[AccountInfo]:
        """Return the accounts that the token may see; loads one page at a time."""
        return self._pages("/v1/accounts", account_of)

    def create_account(
        self, name: str, *, parent: str | None = None, idempotency_key: str | None = None
    ) -> AccountInfo:
        """Create an account, or a subaccount if there is a parent."""
        body = {"name": name, "parent": parent}
        return account_of(self._send("POST", "/v1/accounts", body, idempotency_key=idempotency_key))

    def get_account(self, account: str) -> AccountInfo:
        """One account."""
        return account_of(self._send("GET", _path(account)))

    def list_subaccounts(self, account: str) -> Iterator[AccountInfo]:
        """Return the subaccounts of an account; loads one page at a time."""
        return self._pages(_path(account, "subaccounts"), account_of)

    def create_subaccount(self, account: str, name: str, *, idempotency_key: str | None = None) -> AccountInfo:
        """Create a subaccount."""
        path = _path(account, "subaccounts")
        return account_of(self._send("POST", path, {"name": name}, idempotency_key=idempotency_key))

    # ------------------------------------------------------------------------------------------------- entries

    def list_entries(self, account: str) -> ListInfo:
        """Return the whole list of an account."""
        pages = list(self._raw_pages(_path(account, "entries")))
        items = [entry_of(item) for page in pages for item in page["items"]]
        return value_of(ListInfo, pages[-1] | {"items": items})

    def add_entries(
        self,
        account: str,
        cidrs: str | Iterable[str | Mapping[str, Any]],
        *,
        confirm: Iterable[str] = (),
        allow_lock_out: bool = False,
        if_match: int | None = None,
        idempotency_key: str | None = None,
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Add networks: all of them, or none.

        Args:
            account: The account whose list changes.
            cidrs: CIDRs separated by commas or newlines; or several such texts, and objects with `cidr` and the details
                of that entry.
            confirm: The service's names of the confirmations for this change.
            allow_lock_out: Whether the change may deny the address that this request comes from; the same as
                `lock_out` in `confirm`.
            if_match: The version that the list must have; None for any version.
            idempotency_key: The key that makes a repeated request take effect once; None creates a new one.
            details: The details of every entry that has none of its own; see `cidrgate.EntryDetails`.
        """
        body = _submission(cidrs, details)
        path = _path(account, "entries")
        return list_change_of(
            self._send(
                "POST",
                path,
                body,
                confirm=_confirmed(confirm, allow_lock_out=allow_lock_out),
                if_match=if_match,
                idempotency_key=idempotency_key,
            )
        )

    def replace_entries(
        self,
        account: str,
        cidrs: str | Iterable[str | Mapping[str, Any]],
        *,
        confirm: Iterable[str] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        if_match: int | None = None,
        idempotency_key: str | None = None,
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Replace the whole list in one change; the arguments are those of `add_entries`.

        An empty list needs `allow_empty`, which is the same as `disable_enforcement` in `confirm`.
        """
        body = _submission(cidrs, details)
        confirmed = _confirmed(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out)
        path = _path(account, "entries")
        return list_change_of(
            self._send("PUT", path, body, confirm=confirmed, if_match=if_match, idempotency_key=idempotency_key)
        )

    def get_entry(self, account: str, entry: int) -> EntryInfo:
        """One entry."""
        return entry_of(self._send("GET", _path(account, "entries", entry)))

    def edit_entry(
        self,
        account: str,
        entry: int,
        cidr: str | None = None,
        *,
        confirm: Iterable[str] = (),
        allow_lock_out: bool = False,
        if_match: int | None = None,
        idempotency_key: str | None = None,
        **details: Unpack[EntryDetails],
    ) -> ListChange:
        """Change the network or the details of an entry. An omitted detail or `...` stays; None removes it."""
        body = _edit(cidr, details)
        path = _path(account, "entries", entry)
        confirmed = _confirmed(confirm, allow_lock_out=allow_lock_out)
        return list_change_of(
            self._send("PATCH", path, body, confirm=confirmed, if_match=if_match, idempotency_key=idempotency_key)
        )

    def delete_entry(
        self,
        account: str,
        entry: int,
        *,
        confirm: Iterable[str] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> ListChange:
        """Remove an entry; removing the last one needs `allow_empty`."""
        path = _path(account, "entries", entry)
        confirmed = _confirmed(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out)
        return list_change_of(
            self._send("DELETE", path, confirm=confirmed, if_match=if_match, idempotency_key=idempotency_key)
        )

    # ----------------------------------------------------------------------------------------------- questions

    def check(self, account: str, address: str) -> CheckInfo:
        """Return whether an address may act for an account."""
        return value_of(CheckInfo, self._send("GET", _path(account, "check"), query={"address": address}))

    def explain(self, account: str, address: str) -> DecisionInfo:
        """Explain why an address may act for an account, or why not."""
        record = self._send("GET", _path(account, "explain"), query={"address": address})
        found = {name: None if record[name] is None else entry_of(record[name]) for name in ("entry", "nearest")}
        return value_of(DecisionInfo, record | found)

    def preview(self, account: str, change: str, **details: Any) -> PreviewInfo:
        """Return what a change would do.

        Args:
            account: The account of the list.
            change: `add`, `edit`, `remove`, `replace` or `restore`.
            details: The details of the change, with the names of the OpenAPI document.
        """
        body = {"change": change, **{name: _sent(value) for name, value in details.items()}}
        record = self._send("POST", _path(account, "preview"), body)
        return value_of(PreviewInfo, with_entries(record))

    # ------------------------------------------------------------------------------------------------- history

    def list_history(self, account: str) -> Iterator[ChangeInfo]:
        """Return the changes of an account's own list, the newest first; loads one page at a time."""
        return self._pages(_path(account, "history"), change_of)

    def restore(
        self,
        account: str,
        sequence: int,
        *,
        confirm: Iterable[str] = (),
        allow_empty: bool = False,
        allow_lock_out: bool = False,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> ListChange:
        """Restore the list as it was after a change of the history; an empty list needs `allow_empty`."""
        body = {"sequence": sequence}
        path = _path(account, "restore")
        return list_change_of(
            self._send(
                "POST",
                path,
                body,
                confirm=_confirmed(confirm, allow_empty=allow_empty, allow_lock_out=allow_lock_out),
                if_match=if_match,
                idempotency_key=idempotency_key,
            )
        )

    # -------------------------------------------------------------------------------------------------- tokens

    def who_am_i(self) -> WhoAmI:
        """Return the name and the scopes of the token, and this client's address as the service sees it."""
        return value_of(WhoAmI, self._send("GET", "/v1/me"))

    def list_tokens(self) -> Iterator[TokenInfo]:
        """Return every token; loads one page at a time."""
        return self._pages("/v1/tokens", token_of)

    def create_token(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> TokenInfo:
        """Create a token; `token` of the result is the secret to send."""
        body = {"name": name, "scopes": list(scopes), "expires_at": _sent(expires_at)}
        return token_of(self._send("POST", "/v1/tokens", body, idempotency_key=idempotency_key))

    def get_token(self, token: int) -> TokenInfo:
        """Return one token, without its secret."""
        return token_of(self._send("GET", f"/v1/tokens/{token}"))

    def revoke_token(self, token: int) -> TokenInfo:
        """Revoke a token."""
        return token_of(self._send("DELETE", f"/v1/tokens/{token}"))

    # ------------------------------------------------------------------------------------------------ sessions

    def list_sessions(self) -> Iterator[SessionInfo]:
        """Return the console's sessions, the newest first: all of them for an admin, otherwise those of this token."""
        return self._pages("/v1/sessions", session_of)

    def end_session(self, session: str) -> SessionInfo:
        """End a session of the console."""
        return session_of(self._send("DELETE", f"/v1/sessions/{quote(session, safe='')}"))

    # ----------------------------------------------------------------------------------------------- operation

    def healthz(self) -> bool:
        """Return whether the service responds."""
        return bool(self._send("GET", "/healthz")["status"] == "ok")

    def readyz(self) -> bool:
        """Return whether the service is ready: its lists are up to date and it can read the store."""
        response = self._http.get("/readyz")
        return response.status_code == httpx.codes.OK

    def metrics(self) -> str:
        """Return the service's metrics, in Prometheus's text format."""
        return self._answer(self._http.get("/metrics")).text

    # --------------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        confirm: Sequence[str] = (),
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        headers = {}
        if if_match is not None:
            headers["If-Match"] = f'"v{if_match}"'
        changes = method != "GET"
        if changes:
            headers["Idempotency-Key"] = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        asked = {**(query or {}), **({"confirm": list(confirm)} if confirm else {})}
        request = self._http.build_request(method, path, json=body, params=asked, headers=headers)
        try:
            response = self._http.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol):
            raise  # nothing was sent
        except httpx.TransportError:
            if not changes:
                raise
            response = self._sent_again(request)
        else:
            if changes and _outcome_unknown(response):
                time.sleep(_PAUSE)
                response = self._sent_again(request)
        record: dict[str, Any] = self._answer(response).json()
        return record

    def _sent_again(self, request: httpx.Request) -> httpx.Response:
        """Send a change again that may have been carried out; wait while the service still carries it out."""
        give_up = time.monotonic() + _TIMEOUT
        while True:
            again = self._http.build_request(
                request.method, request.url, content=request.content, headers=request.headers
            )
            response = self._http.send(again)
            if _code(response) != "idempotency_in_progress" or time.monotonic() > give_up:
                return response
            time.sleep(_PAUSE)

    def _answer(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            record = response.json()
            problems = [problem_of(one) for one in record.get("problems", [])]
            code, detail = record.get("code", "http_error"), record["detail"]
            confirm = tuple(map(str, record.get("confirm", ())))
        except (ValueError, KeyError, TypeError, AttributeError):
            # A proxy before the service has its own format of errors.
            code, detail, problems, confirm = "http_error", f"the service answered {response.status_code}", [], ()
        if confirm:
            raise UnconfirmedError(response.status_code, code, detail, confirm)
        retry = response.headers.get("Retry-After", "")
        raise ApiError(response.status_code, code, detail, problems, float(retry) if retry.isdecimal() else None)

    def _raw_pages(self, path: str) -> Iterator[dict[str, Any]]:
        query: dict[str, Any] = {"limit": _PAGE}
        while True:
            page = self._send("GET", path, query=query)
            yield page
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _pages(self, path: str, made: Callable[[dict[str, Any]], _Value]) -> Iterator[_Value]:
        for page in self._raw_pages(path):
            yield from map(made, page["items"])


def _code(response: httpx.Response) -> object:
    try:
        return None if response.is_success else response.json().get("code")
    except (ValueError, AttributeError):
        return None


def _outcome_unknown(response: httpx.Response) -> bool:
    return _code(response) == "outcome_unknown"


def _path(account: str, *parts: str | int) -> str:
    # A URL parser reads a name that consists of dots as a relative path segment.
    name = quote(account, safe="").replace(".", "%2E")
    return "/".join(["/v1/accounts", name, *map(str, parts)])


def _confirmed(confirm: Iterable[str], *, allow_empty: bool = False, allow_lock_out: bool = False) -> list[str]:
    """Return the names of the confirmations."""
    if isinstance(confirm, bool | str):
        raise TypeError("confirm must be a collection of names, such as {'lock_out'}")
    said = {"disable_enforcement": allow_empty, "lock_out": allow_lock_out}
    return sorted({*confirm, *(name for name, allowed in said.items() if allowed)})


def _sent(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _submission(cidrs: str | Iterable[str | Mapping[str, Any]], details: EntryDetails) -> dict[str, Any]:
    asked: str | list[Any]
    if isinstance(cidrs, str):
        asked = cidrs
    else:
        asked = [one if isinstance(one, str) else {name: _sent(value) for name, value in one.items()} for one in cidrs]
    return {"cidrs": asked, **{name: _sent(value) for name, value in details.items()}}


def _edit(cidr: str | None, details: EntryDetails) -> dict[str, Any]:
    return {"cidr": cidr, **{name: _sent(value) for name, value in details.items() if value is not ...}}
