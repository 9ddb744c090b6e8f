"""Entries that are named by their networks: the client changes those of the list as it was read, or nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cidrgate.client import ApiError, Client
from cidrgate.client.named_entries import _REFUSALS
from cidrgate.errors import CidrgateError, EntryNotFoundError, VersionConflictError
from cidrgate.problem_types import PROBLEM_TYPES
from tests.service.test_client import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.conftest import Api

NAMED = "8.8.8.0/24"
OTHER = "9.9.9.0/24"

CALLS: dict[str, Callable[[Client], Any]] = {
    "edit_entry": lambda client: client.edit_entry("acct-1", NAMED, label="old", allow_lock_out=True),
    "remove_entry": lambda client: client.remove_entry("acct-1", NAMED, allow_lock_out=True),
    "remove_entries": lambda client: client.remove_entries("acct-1", [NAMED], allow_lock_out=True),
    "preview_edit": lambda client: client.preview_edit("acct-1", NAMED, label="old"),
    "preview_remove": lambda client: client.preview_remove("acct-1", [NAMED]),
}
"""What takes a network as the name of an entry, and sends the id of the entry."""

CHANGES = [name for name in CALLS if not name.startswith("preview")]


class Meanwhile(httpx.Client):
    """Does something after the list was read; `methods` are those of the requests."""

    def __init__(self, does: Callable[[], object], *, times: int) -> None:
        super().__init__(timeout=15)
        self._does, self._left = does, times
        self.methods: list[str] = []

    def send(self, request: httpx.Request, **named: Any) -> httpx.Response:
        response = super().send(request, **named)
        self.methods.append(request.method)
        if request.method == "GET" and self._left:
            self._left -= 1
            self._does()
        return response


@contextmanager
def beside(api: Api, does: Callable[[], object] = int, *, times: int = 1) -> Iterator[tuple[Client, list[str]]]:
    """A client, and the methods of its requests, while somebody else does something after it has read a list."""
    api.manager.add("acct-1", [NAMED, OTHER])
    with served(api) as url, Meanwhile(does, times=times) as http:
        yield Client(url, api.token("admin"), http=http), http.methods


def listed(api: Api) -> list[tuple[str, str | None]]:
    return [(entry.cidr, entry.label) for entry in api.manager.entries("acct-1")]


@pytest.mark.parametrize("name", CALLS)
def test_an_entry_that_gets_another_network_meanwhile_is_not_the_named_one(api: Api, name: str) -> None:
    def edited() -> None:
        api.manager.edit("acct-1", NAMED, "1.1.1.0/24", label="new")

    with beside(api, edited) as (client, _), pytest.raises(EntryNotFoundError) as error:
        CALLS[name](client)
    assert error.value.entries == (NAMED,)
    assert listed(api) == [("1.1.1.0/24", "new"), (OTHER, None)]


@pytest.mark.parametrize("name", CALLS)
def test_a_network_that_another_entry_has_meanwhile_is_that_entry(api: Api, name: str) -> None:
    def exchanged() -> None:
        api.manager.edit("acct-1", NAMED, "1.1.1.0/24", label="new")
        api.manager.edit("acct-1", OTHER, NAMED)

    with beside(api, exchanged) as (client, _):
        made = CALLS[name](client)
    assert [one.cidr for one in made.before] == [NAMED]
    after = {"edit_entry": [(NAMED, "old")], "remove_entry": [], "remove_entries": []}.get(name, [(NAMED, None)])
    assert listed(api) == [("1.1.1.0/24", "new"), *after]


@pytest.mark.parametrize("name", CALLS)
def test_a_list_that_never_stays_the_same_is_not_changed(api: Api, name: str) -> None:
    labels = map(str, range(100))
    meanwhile = beside(api, lambda: api.manager.edit("acct-1", OTHER, label=next(labels)), times=100)
    with meanwhile as (client, methods), pytest.raises(VersionConflictError) as error:
        CALLS[name](client)
    assert isinstance(error.value, ApiError)
    assert (methods.count("GET"), len(methods)) == (5, 10)
    assert listed(api) == [(NAMED, None), (OTHER, "4")]


@pytest.mark.parametrize("name", CHANGES)
def test_a_version_that_the_caller_expects_is_not_exchanged_for_a_newer_one(api: Api, name: str) -> None:
    def call(client: Client) -> object:
        entries: Any = [NAMED] if name == "remove_entries" else NAMED
        return getattr(client, name)("acct-1", entries, expect_version=1, allow_lock_out=True)

    with beside(api, lambda: api.manager.edit("acct-1", OTHER, label="x")) as (client, methods):
        for requests in (2, 1):  # the service finds the conflict, then the client when it has read the list
            del methods[:]
            with pytest.raises(VersionConflictError) as error:
                call(client)
            assert (error.value.expected, error.value.actual, error.value.account) == (1, 2, "acct-1")
            assert len(methods) == requests
    assert listed(api) == [(NAMED, None), (OTHER, "x")]


def test_the_list_is_read_once_for_all_networks(api: Api) -> None:
    many = [f"20.0.{number}.0/24" for number in range(48)]
    with beside(api, times=0) as (client, methods):
        api.manager.add("acct-1", many)
        client.preview_remove("acct-1", many)
        assert methods == ["GET", "POST"]
        del methods[:]
        assert client.get_entry("acct-1", many[0]).cidr == many[0]
        assert methods == ["GET"]
        del methods[:]
        removed = client.remove_entries("acct-1", [*many[:2], ", ".join(many[2:])], allow_lock_out=True)
        assert methods == ["GET", "DELETE"]
    assert sorted(one.cidr for one in removed.before) == sorted(many)


@dataclass(frozen=True)
class Same:
    """A call that library and client refuse for one reason."""

    of_library: Callable[[Any], object]
    client: Callable[[Client], object]


MISSING = ("7.7.7.7/32", NAMED, "6.6.6.6/32")
SAME = {
    "no account": Same(lambda one: one.remove("zz", NAMED), lambda one: one.remove_entries("zz", [NAMED])),
    "every missing network": Same(
        lambda one: one.remove("acct-1", *MISSING), lambda one: one.remove_entries("acct-1", MISSING)
    ),
    "missing networks of one text": Same(
        lambda one: one.remove("acct-1", ", ".join(MISSING)),
        lambda one: one.remove_entries("acct-1", [", ".join(MISSING)]),
    ),
    "missing ids beside networks": Same(
        lambda one: one.remove("acct-1", 999, NAMED, "x", 998),
        lambda one: one.remove_entries("acct-1", [999, NAMED, "x", 998]),
    ),
    "nothing": Same(lambda one: one.remove("acct-1"), lambda one: one.remove_entries("acct-1", [])),
    "an empty text": Same(lambda one: one.remove("acct-1", " ,"), lambda one: one.remove_entries("acct-1", [" ,"])),
    "two networks as one": Same(
        lambda one: one.edit("acct-1", f"{NAMED}, {OTHER}", label="x"),
        lambda one: one.edit_entry("acct-1", f"{NAMED}, {OTHER}", label="x"),
    ),
    "a missing network to edit": Same(
        lambda one: one.edit("acct-1", ip_network("7.7.7.0/24"), label="x"),
        lambda one: one.edit_entry("acct-1", ip_network("7.7.7.0/24"), label="x"),
    ),
    "another version before a missing network": Same(
        lambda one: one.remove("acct-1", "7.7.7.7/32", expect_version=99),
        lambda one: one.remove_entry("acct-1", "7.7.7.7/32", expect_version=99),
    ),
    "another version before a missing network to edit": Same(
        lambda one: one.edit("acct-1", "7.7.7.7/32", label="x", expect_version=99),
        lambda one: one.edit_entry("acct-1", "7.7.7.7/32", label="x", expect_version=99),
    ),
    "a version that no list can have": Same(
        lambda one: one.remove("acct-1", NAMED, expect_version=2**70),
        lambda one: one.remove_entry("acct-1", NAMED, expect_version=2**70),
    ),
    "a subaccount before a missing network": Same(
        lambda one: one.remove("sub-1", "7.7.7.7/32", expect_version=99),
        lambda one: one.remove_entries("sub-1", ["7.7.7.7/32"], expect_version=99),
    ),
    "a network in a subaccount": Same(
        lambda one: one.edit("sub-1", NAMED, label="x"), lambda one: one.edit_entry("sub-1", NAMED, label="x")
    ),
}


def test_what_names_no_entry_is_refused_as_the_library_refuses_it(api: Api) -> None:
    with beside(api, times=0) as (client, _):
        for name, same in SAME.items():
            with pytest.raises(CidrgateError) as expected:
                same.of_library(api.manager)
            with pytest.raises(ApiError) as error:
                same.client(client)
            assert isinstance(error.value, type(expected.value)), name
            for attribute, value in vars(expected.value).items():
                assert getattr(error.value, attribute) == value, (name, attribute)
    assert listed(api) == [(NAMED, None), (OTHER, None)]


def test_an_error_of_the_client_is_as_the_service_answers_it() -> None:
    described = {kind.error: (kind.status, kind.title) for kind in PROBLEM_TYPES}
    assert {error: described[error] for error in _REFUSALS} == _REFUSALS


def test_one_entry_is_no_collection() -> None:
    client = Client("http://x", "t", http=httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(500))))
    wrongs: list[Any] = [7, NAMED, b"\x07", ip_network(NAMED), ip_network("2606:4700::/32"), ip_address("8.8.8.8")]
    for wrong in wrongs:
        for call in (client.remove_entries, client.preview_remove):
            with pytest.raises(TypeError, match="as a collection"):
                call("acct-1", wrong)
