"""How much may be trusted: proxies, not everybody."""

from __future__ import annotations

from typing import Any

import pytest

from cidrgate import ClientIPResolver

EVERYBODY = [
    ["0.0.0.0/0"],
    ["::/0"],
    ["0.0.0.0/1"],
    ["128.0.0.0/1"],
    ["8.0.0.0/7"],
    ["0.0.0.0/1", "128.0.0.0/1"],
    ["::ffff:0:0/96"],
    ["::ffff:0.0.0.0/97"],
    ["::ffff:8.0.0.0/103"],
    ["10.0.0.0/7"],
    ["0.0.0.0/7"],
    ["192.0.0.0/7", "10.0.0.0/8"],
    ["::/1"],
    ["2000::/3"],
    ["2000::/15"],
    ["2a00::/12"],
    ["fc00::/6"],
    ["f000::/4"],
    ["10.0.0.0/8", "0.0.0.0/0"],
    ["unix:", "::/0"],
    [f"{first}.0.0.0/8" for first in range(256)],
    [f"{first}.0.0.0/8" for first in range(1, 224)],
    [f"{first}.0.0.0/8" for first in range(11, 75)],
    [f"{first}.{second}.0.0/16" for first in range(11, 76) for second in range(256)],
    [f"{0x2000 + number:x}::/16" for number in range(0x2000)],
    [f"{0x2400 + number:x}::/16" for number in range(0x800)],
]
PROXIES = [
    [],
    ["10.0.0.0/8"],
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "fc00::/7", "::1/128", "unix:"],
    ["fd00::/8", "fe80::/10"],
    ["::ffff:10.0.0.0/104"],
    ["240.0.0.0/4"],
    ["8.0.0.0/8"],
    ["2600::/16"],
    ["203.0.113.9/32"],
    ["173.245.48.0/20", "104.16.0.0/13", "2400:cb00::/32", "2606:4700::/32", "2a06:98c0::/29"],
    [f"{first}.0.0.0/8" for first in (3, 13, 18, 34, 35, 52, 54)],
    ["8.0.0.0/8"] * 100,
    ["8.0.0.0/8", *(f"8.{second}.0.0/16" for second in range(256))],
]


@pytest.mark.parametrize("networks", EVERYBODY, ids=lambda networks: f"{networks[0]} and {len(networks) - 1}")
def test_public_space_as_a_whole_is_trusted_only_where_that_is_said(networks: list[str]) -> None:
    with pytest.raises(ValueError, match="trust_everybody=True"):
        ClientIPResolver(trusted_proxies=networks)
    trusting = ClientIPResolver(trusted_proxies=networks, trust_everybody=True)
    assert trusting.client_header == "x-forwarded-for"


@pytest.mark.parametrize("networks", PROXIES, ids=lambda networks: f"{networks[:1]} and {len(networks)}")
def test_networks_of_proxies_are_trusted(networks: list[str]) -> None:
    assert ClientIPResolver(trusted_proxies=networks).client_header == ("x-forwarded-for" if networks else None)


def test_trust_in_everybody_is_about_proxies() -> None:
    fitting: list[dict[str, Any]] = [{}, {"trusted_hops": 1}, {"trusted_proxies": []}]
    for settings in fitting:
        with pytest.raises(ValueError, match="name them"):
            ClientIPResolver(trust_everybody=True, **settings)
    for wrong in ("yes", 1, None):
        with pytest.raises(TypeError, match="trust_everybody must be True or False"):
            ClientIPResolver(trusted_proxies=["10.0.0.0/8"], trust_everybody=wrong)  # type: ignore[arg-type]
