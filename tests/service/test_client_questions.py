"""The client asks what the library is asked: the same argument has the same answer, or the same error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cidrgate.client import ApiError, Client
from cidrgate.errors import CidrgateError, InvalidAddressError, InvalidExpiryError, VersionConflictError
from tests.service.test_client import served

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate import RuleManager
    from tests.service.conftest import Api

ADDRESSES = (
    ip_address("8.8.8.9"),
    IPv4Interface("8.8.8.9/24"),
    IPv4Interface("9.9.9.9/24"),
    IPv6Interface("2606:4700::1/64"),
    ip_address("2606:4700::1%1"),
    ip_address("::ffff:8.8.8.9"),
    "8.8.8.9/24",
)


def test_an_address_has_the_same_answer(api: Api) -> None:
    manager = api.manager
    manager.add("acct-1", "8.8.8.0/24, 2606:4700::/32")
    with served(api) as url, Client(url, api.token("admin")) as client:
        for address in ADDRESSES:
            expected = manager.explain("acct-1", address)
            found = client.explain("acct-1", address)
            assert (found.allowed, found.reason) == (expected.allowed, expected.reason), address
            assert client.check("acct-1", address).allowed == expected.allowed, address


@dataclass(frozen=True)
class Same:
    """A call that library and client refuse for one reason."""

    of_library: Callable[[RuleManager], object]
    client: Callable[[Client], object]
    error: type[CidrgateError]


NAIVE = datetime(2090, 1, 1)
SAME = {
    "an expiry without a time zone": Same(
        lambda one: one.add("acct-1", "9.9.9.0/24", expires_at=NAIVE),
        lambda one: one.add_entries("acct-1", "9.9.9.0/24", expires_at=NAIVE),
        InvalidExpiryError,
    ),
    "an expiry of one entry without a time zone": Same(
        lambda one: one.edit("acct-1", "8.8.8.0/24", expires_at=NAIVE),
        lambda one: one.edit_entry("acct-1", "8.8.8.0/24", expires_at=NAIVE),
        InvalidExpiryError,
    ),
    "the end of a mode without a time zone": Same(
        lambda one: one.set_mode("acct-1", "off", until=NAIVE, confirmed={"disable_enforcement"}),
        lambda one: one.set_mode("acct-1", "off", until=NAIVE, confirm={"disable_enforcement"}),
        InvalidExpiryError,
    ),
    "a search for what is no network": Same(
        lambda one: one.find("foo"), lambda one: list(one.find_entries("foo")), InvalidAddressError
    ),
    "a search for an interface": Same(
        lambda one: one.find(overlaps=IPv4Interface("8.8.8.9/24")),
        lambda one: list(one.find_entries(overlaps=IPv4Interface("8.8.8.9/24"))),
        InvalidAddressError,
    ),
    "a version that no list can have": Same(
        lambda one: one.add("acct-1", "9.9.9.0/24", expect_version=2**70),
        lambda one: one.add_entries("acct-1", "9.9.9.0/24", expect_version=2**70),
        VersionConflictError,
    ),
    "a version that no account can have": Same(
        lambda one: one.delete_account("acct-2", expect_version=2**53),
        lambda one: one.delete_account("acct-2", expect_version=2**53),
        VersionConflictError,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_cannot_be_asked_is_the_same_error(api: Api, name: str) -> None:
    same, manager = SAME[name], api.manager
    manager.add("acct-1", "8.8.8.0/24")
    token, before = api.token("admin"), manager.history()
    with pytest.raises(same.error) as expected:
        same.of_library(manager)
    with served(api) as url, Client(url, token) as client, pytest.raises(same.error) as error:
        same.client(client)
    assert isinstance(error.value, ApiError)
    if isinstance(expected.value, VersionConflictError):
        assert {name: getattr(error.value, name) for name in vars(expected.value)} == vars(expected.value)
    assert manager.history() == before


def test_what_is_no_network_is_not_asked_about(api: Api) -> None:
    entry = api.manager.add("acct-1", "8.8.8.0/24").after[0]
    client = Client("http://x", "t", http=httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(500))))
    wrongs: list[Any] = [8, True, b"\x08\x08\x08\x08", entry, ["8.8.8.8"], object()]
    for wrong in wrongs:
        for asked in ("covers", "overlaps"):
            with pytest.raises(TypeError, match="a network must be"):
                client.find_entries(**{asked: wrong})


def test_a_conflict_repeats_no_number_that_a_reader_of_json_cannot_hold(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.token('admin')}", "If-Match": f'"v{2**53}", "v{10**900}"'}
    refused = api.client.delete("/v1/accounts/acct-1", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (412, "version_conflict")
    assert refused.json()["data"] == {"account": "acct-1", "actual": 0}


def test_networks_are_asked_about_as_text(api: Api) -> None:
    api.manager.add("acct-1", "8.8.8.0/24, 2606:4700::/32")
    with served(api) as url, Client(url, api.token("admin")) as client:
        for asked in (ip_address("8.8.8.8"), ip_network("2606:4700::/48"), "2606:4700::1", ip_address("9.9.9.9")):
            found = [one.id for one in client.find_entries(asked)]
            assert found == [one.entry.id for one in api.manager.find(asked)]
