"""What somebody asks about is an address or a network, and an error never forbids what is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given

from cidrgate import InvalidAddressError, RuleManager
from cidrgate.foresight import recommend
from cidrgate.rules.asked_networks import asked_network, network_of
from tests.strategies import prefixes


@given(prefixes)
def test_an_address_and_a_network_may_be_asked_for(cidr: str) -> None:
    assert asked_network(cidr) == network_of(cidr)
    address, _, length = asked_network(cidr).partition("/")
    if length == ("128" if ":" in address else "32"):
        assert asked_network(address) == asked_network(cidr)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("foo", "write one such as 8.8.8.8, 8.8.8.0/24 or 2606:4700::1"),
        ("9.9.9.1/24", "write 9.9.9.0/24 for the network, or 9.9.9.1/32 for the single address"),
        ("9.9.9.0/255.255.255.0", "write the netmask as a length: 9.9.9.0/24"),
        ("9.9.9.0/33", "a number from 0 to 32"),
        ("8.8.8.8%1", "a zone id is only valid on one machine: write 8.8.8.8/32"),
        ("", "write one such as 8.8.8.8, 8.8.8.0/24 or 2606:4700::1"),
        ("9.9.9.9:443", "leave out the port: write 9.9.9.9/32"),
        (" 8.8.8.8", "leave out the space around it: write 8.8.8.8"),
        ("8.8.8.8\t\n", "leave out the space around it: write 8.8.8.8"),
        (" 2606:4700::1", "leave out the space around it: write 2606:4700::1"),
        (" 8.8.8.0/24 ", "leave out the space around it: write 8.8.8.0/24"),
        (" 9.9.9.1/24", "write 9.9.9.0/24 for the network, or 9.9.9.1/32 for the single address"),
    ],
)
def test_everything_that_takes_both_says_so(text: str, advice: str) -> None:
    with RuleManager.open("memory://") as manager:
        for asks in (
            lambda: recommend(["8.8.8.8"], excluded=[text]),
            lambda: manager.find(text),
            lambda: manager.find(overlaps=text),
        ):
            with pytest.raises(InvalidAddressError) as refused:
                asks()
            assert str(refused.value).endswith(advice)
