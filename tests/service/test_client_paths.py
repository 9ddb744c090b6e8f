"""Whatever text a method of the client puts into a path stays one segment of it, or is refused before it is sent."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest

from cidrgate import CidrgateError, InvalidAccountError, InvalidTextError
from cidrgate.client import ApiConnectionError, ApiConnectionLostError, ApiError, Client
from cidrgate.url_paths import account_path, path_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_PATHS = ("account", "session_id", "code")
"""The arguments of methods that become segments of paths."""

OTHERS: dict[str, Any] = {
    "address": "8.8.8.8",
    "cidr": "8.8.8.0/24",
    "cidrs": "8.8.8.0/24",
    "entries": [7],
    "entry": 7,
    "mode": "enforce",
    "new_name": "b",
    "parent": "b",
    "policy": {},
    "sequence": 7,
    "to_sequence": 7,
    "name": "b",
    "display_name": "B",
    "changes": {},
}
"""The other arguments that these methods need."""

SENDABLE = (".", "..", "...", "a/b", "%2e", "%2E%2E", "%", "é", "a?b", "a#b", "a;b", "\\..", " ", "a\nb", "x" * 300)
NOT_SENDABLE = ("", "\ud800", "a\udfff")

WITH_PATHS = sorted(
    (name, argument)
    for name, method in inspect.getmembers(Client, inspect.isfunction)
    for argument in inspect.signature(method).parameters
    if argument in IN_PATHS and not name.startswith("_") and name != "list_changes"  # a filter there
)


class Sent:
    """The requests that a client sends, which are all refused."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.client = Client(
            "http://host/base", "token", http=httpx.Client(transport=httpx.MockTransport(self._refuse))
        )

    def _refuse(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.raw_path.decode().partition("?")[0])
        return httpx.Response(405)

    def path_of(self, name: str, argument: str, text: str) -> str:
        """Call a method, and return the path of its request."""
        method = getattr(self.client, name)
        needed = {
            one: OTHERS[one]
            for one, parameter in inspect.signature(method).parameters.items()
            if parameter.default is parameter.empty and one != argument and parameter.kind is not parameter.VAR_KEYWORD
        }
        with pytest.raises(ApiError):
            list(method(**needed, **{argument: text}))
        return self.paths.pop()


@pytest.fixture
def sent() -> Iterator[Sent]:
    made = Sent()
    with made.client._http:
        yield made


def test_methods_with_texts_in_paths_are_found() -> None:
    assert {("end_session", "session_id"), ("get_problem_type", "code"), ("get_account", "account")} <= set(WITH_PATHS)
    assert len(WITH_PATHS) > 20


@pytest.mark.parametrize(("name", "argument"), WITH_PATHS)
def test_a_text_stays_one_segment(name: str, argument: str, sent: Sent) -> None:
    before, after = sent.path_of(name, argument, "word").split("word")
    for text in SENDABLE:
        path = sent.path_of(name, argument, text)
        segment = path.removeprefix(before).removesuffix(after)
        assert path == before + segment + after
        assert unquote(segment) == text
        assert not set(segment) & set("./?#")


@pytest.mark.parametrize("text", NOT_SENDABLE)
@pytest.mark.parametrize(("name", "argument"), WITH_PATHS)
def test_what_no_path_can_contain_is_not_sent(name: str, argument: str, text: str, sent: Sent) -> None:
    with pytest.raises(InvalidAccountError if argument == "account" else ValueError) as refused:
        sent.path_of(name, argument, text)
    assert not isinstance(refused.value, UnicodeError)
    assert sent.paths == []


@pytest.mark.parametrize("path", [path_segment, lambda text, _: account_path(text)])
def test_a_segment_is_text(path: Callable[[Any, str], str]) -> None:
    for wrong in (None, 7, b".."):
        with pytest.raises(TypeError, match="must be text"):
            path(wrong, "code")


LONE: dict[str, Callable[[Client], object]] = {
    "a label": lambda client: client.add_entries("a", "8.8.8.8/32", label="\ud800"),
    "a new account": lambda client: client.create_account("\ud800"),
    "a network": lambda client: client.add_entries("a", "\ud800"),
    "a filter": lambda client: list(client.list_accounts(starting_with="\ud800")),
    "a reason": lambda client: client.set_mode("a", "enforce", reason="\ud800"),
}


@pytest.mark.parametrize("what", LONE)
def test_a_lone_surrogate_is_not_sent(what: str, sent: Sent) -> None:
    with pytest.raises(InvalidTextError, match=r"lone surrogate U\+D800, which cannot be sent: leave it out"):
        LONE[what](sent.client)
    assert sent.paths == []


CALLS: dict[str, Callable[[Client], object]] = {
    "a read": lambda client: client.get_account("a"),
    "pages": lambda client: list(client.list_accounts()),
    "a change": lambda client: client.create_account("a"),
    "the readiness": lambda client: client.readyz(),
    "the stream": lambda client: next(client.follow_changes()),
    "for a person": lambda client: client.for_person("Ada").get_account("a"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("owned", [True, False])
def test_a_closed_client_says_so(call: str, owned: bool) -> None:
    http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    client = Client("http://127.0.0.1:1", "token") if owned else Client("http://host", "token", http=http)
    client.close()
    http.close()
    with pytest.raises(ApiConnectionError, match="was closed, and nothing was sent: make another one"):
        CALLS[call](client)


def test_a_stream_ends_when_its_client_is_closed() -> None:
    """A lost connection is replaced, but not by a closed client."""
    http = httpx.Client(
        transport=httpx.MockTransport(
            lambda _: httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text="id: 7\n\n")
        )
    )
    changes = Client("http://host", "token", http=http).follow_changes()
    http.close()
    with pytest.raises(ApiConnectionError, match="was closed"):
        next(changes)


def test_a_client_that_is_closed_between_two_attempts_does_not_know_the_outcome() -> None:
    def lose(request: httpx.Request) -> httpx.Response:
        http.close()
        raise httpx.ReadError("lost", request=request)

    http = httpx.Client(transport=httpx.MockTransport(lose))
    with pytest.raises(ApiConnectionLostError, match="may be made or not") as lost:
        Client("http://host", "token", http=http).create_account("a")
    assert isinstance(lost.value, CidrgateError)
