"""No error of the client shows a secret: tokens, passwords in URLs, headers, or the token in a response."""

from __future__ import annotations

import socket
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, strategies as st

from cidrgate.client import ApiConnectionError, ApiError, Client
from cidrgate.client.requests import check_headers, token_header
from cidrgate.errors import OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "cidrgate_6_8lOxjkb4o_8lOxjkb4o_8lOxjkb4o_8lOxjkb4o_abc"


def shown(error: BaseException) -> str:
    """What a log shows of an error: its text, and that of the errors that it comes from."""
    return "".join(traceback.format_exception_only(error)) + "".join(
        "".join(traceback.format_exception_only(one)) for one in chain(error)
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """The errors that a traceback shows with an error."""
    before = error.__cause__ if error.__suppress_context__ else error.__context__
    if before is not None:
        yield before
        yield from chain(before)


NO_TOKENS = {
    "a second line": f"{SECRET}\nthis is the only time it is shown\n",
    "another header": f"{SECRET}\r\nX: y",
    "the name of the scheme": f"Bearer {SECRET}",
    "a mark of the order of bytes": f"\ufeff{SECRET}",
    "a NUL": f"{SECRET}\0",
    "half a character": f"{SECRET}\udc80",
    "no ASCII": f"{SECRET}é",
}


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_refused_when_the_client_is_made_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="pass the token alone") as refused:
        Client("http://127.0.0.1:1", token)
    assert SECRET not in shown(refused.value)


@pytest.mark.parametrize("token", ["", " \n", None, b"cidrgate_1_x", 7], ids=repr)
def test_an_empty_token_and_what_is_no_text_are_refused(token: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="the token"):
        Client("http://127.0.0.1:1", token)


@given(st.text(min_size=1))
def test_every_token_can_be_sent_or_is_refused_without_being_shown(text: str) -> None:
    word = (SECRET + text).strip(" \t\r\n")
    if all("!" <= character <= "~" for character in word):
        assert token_header(SECRET + text) == f"Bearer {word}"
        check_headers(httpx.Headers({"Authorization": f"Bearer {word}"}))
        return
    with pytest.raises(ValueError, match="the token must be") as refused:
        token_header(SECRET + text)
    assert SECRET not in shown(refused.value)


def test_a_token_may_be_the_text_of_its_file() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json={"name": "ops", "scopes": [], "address": None})

    for text in (SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f" \t{SECRET} \n\n"):
        Client("http://x", text, http=httpx.Client(transport=httpx.MockTransport(answer))).who_am_i()
    assert set(seen) == {f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    "text", ["x\r\nX-Evil: 1", "x\n", " x", "x ", "", "x\0", "x\u200b", "x\udc80", "x\x85"], ids=ascii
)
def test_names_of_persons_and_keys_are_one_line(text: str) -> None:
    with Client("http://127.0.0.1:1", "t") as client:
        with pytest.raises(ValueError, match="the name of the person must be one line"):
            client.for_person(text)
        with pytest.raises(ValueError, match="an idempotency key must be one line"):
            client.create_account("a", idempotency_key=text)
        wrong: Any
        for wrong in (None, 7, b"x"):
            with pytest.raises(TypeError, match="must be text"):
                client.for_person(wrong)
        with pytest.raises(ValueError, match="at most 255 bytes"):
            client.create_account("a", idempotency_key="ä" * 128)
        client.for_person("Zoë 山田")


def test_a_header_of_the_callers_httpx_client_is_named_and_not_shown() -> None:
    for value in (f"{SECRET}\n", f" {SECRET}", f"{SECRET}\0"):
        with (
            httpx.Client(headers={"X-Api-Key": value}) as http,
            pytest.raises(ValueError, match="the header X-Api-Key of the httpx client cannot be sent") as refused,
        ):
            Client("http://127.0.0.1:1", "t", http=http).create_account("a")
        assert SECRET not in shown(refused.value)
    with (
        httpx.Client(headers={f"{SECRET} x": "1"}) as http,
        pytest.raises(ValueError, match="rename it") as refused,
    ):
        Client("http://127.0.0.1:1", "t", http=http).who_am_i()
    assert SECRET not in shown(refused.value)


SETTINGS: dict[str, dict[str, Any]] = {
    "auth": {"auth": ("ops", SECRET)},
    "params": {"params": {"q": SECRET}},
    **{
        f"header {name}": {"headers": {name.lower(): SECRET}}
        for name in ("Idempotency-Key", "If-Match", "If-None-Match", "If-Unmodified-Since", "On-Behalf-Of")
    },
}
"""Settings of an httpx client that would change what requests mean, by the words of the message."""


@pytest.mark.parametrize("named", SETTINGS)
def test_a_setting_of_the_callers_httpx_client_that_changes_requests_is_refused(named: str) -> None:
    with (
        httpx.Client(**SETTINGS[named]) as http,
        pytest.raises(ValueError, match=f"the {named} of the httpx client would") as refused,
    ):
        Client("http://127.0.0.1:1", "t", http=http)
    assert SECRET not in shown(refused.value)


def test_the_base_url_of_the_callers_httpx_client_never_names_the_host() -> None:
    with httpx.Client(base_url="http://elsewhere") as http:
        for url in ("", "/lists", "lists"):
            with pytest.raises(ValueError, match="names no host"):
                Client(url, "t", http=http)


def test_what_the_callers_httpx_client_becomes_later_does_not_replace_the_token() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.method == "GET" and len(seen) > 1:
            return httpx.Response(200, json={"name": "ops", "scopes": [], "address": None})
        return httpx.Response(302, headers={"Location": "http://elsewhere/v1/me"})

    http = httpx.Client(transport=httpx.MockTransport(answer), cookies={"proxy": "1"}, follow_redirects=True)
    client = Client("http://x", SECRET, http=http)
    http.auth = ("ops", "other")
    for ask in (client.who_am_i, lambda: client.create_account("a"), lambda: next(client.follow_changes())):
        seen.clear()
        with pytest.raises(ApiError) as refused:
            ask()
        assert refused.value.status == 302
        assert {(one.url.host, one.headers["Authorization"]) for one in seen} == {("x", f"Bearer {SECRET}")}
        assert {one.headers["Cookie"] for one in seen} == {"proxy=1"}


URLS = {
    "a password": "http://ops:{}@127.0.0.1:1",
    "a password that ends the address": "http://ops:12/{}@127.0.0.1:1",
    "a password that is no port": "http://ops:{}/x@127.0.0.1:1",
    "a query": "http://127.0.0.1:1/?key={}",
    "a fragment": "http://127.0.0.1:1/#{}",
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_url_with_a_secret_is_refused_when_the_client_is_made_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="write http://host:port") as refused:
        Client(url.format(SECRET), "t")
    assert SECRET not in shown(refused.value)


def test_a_url_that_is_none_is_told_of_as_that() -> None:
    for url in ("http://[::1", "http://host:port", "http://x\n"):
        with pytest.raises(ApiConnectionError, match="the URL of the service is not valid, and nothing was sent"):
            Client(url, "t").create_account("a")
    for url in ("http://" + 70 * "a", "http://a..b"):
        for call in (Client.who_am_i, lambda client: client.create_account("a")):
            with pytest.raises(ApiConnectionError, match="no valid name of a host") as unsent:
                call(Client(url, "t"))
            assert not isinstance(unsent.value, OutcomeUnknownError)
    with pytest.raises(ApiConnectionError, match="too long for a URL, and nothing was sent"):
        Client("http://127.0.0.1:1", "t").remove_entries("a", range(1, 20_000))
    with pytest.raises(TypeError, match="the URL of the service must be text"):
        Client(b"http://x", "t")  # type: ignore[arg-type]


@pytest.mark.parametrize("proxy", [f"http://ops:{SECRET}/x@proxy", f"ftp://ops:{SECRET}@proxy"], ids=["port", "scheme"])
def test_a_proxy_of_the_environment_is_not_shown(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ValueError, match="a proxy that the environment names cannot be used") as refused:
        Client("http://127.0.0.1:1", "t")
    assert SECRET not in shown(refused.value)


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """A server that answers every request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


NO_HTTP = {
    "a length of a chunk": b"HTTP/1.1 201 x\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n",
    "a header": b"HTTP/1.1 201 x\r\n%b\r\n\r\n",
    "a status": b"%b\r\n\r\n",
}


@pytest.mark.parametrize("raw", NO_HTTP.values(), ids=NO_HTTP)
def test_a_response_that_is_no_http_is_not_shown(raw: bytes) -> None:
    """The library quotes it, and it may contain the token that the request made."""
    calls: list[Callable[[Client], object]] = [
        lambda client: client.create_token("ci", ["metrics"]),
        lambda client: client.get_token(1),
    ]
    with answering(raw % f'{{"token":"{SECRET}"}}'.encode()) as url, Client(url, "t") as client:
        for call in calls:
            with pytest.raises(ApiConnectionError, match="the response is not HTTP") as failed:
                call(client)
            assert SECRET not in shown(failed.value)
