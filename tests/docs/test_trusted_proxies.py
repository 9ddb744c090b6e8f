"""What is shown as a trusted proxy is a proxy: one address, not a network in which there are others."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

from tests.docs.pages import PAGES, ROOT

_NAMES_PROXIES = re.compile(r"trusted.?prox|trustedIPs|set_real_ip_from|\{ src ", re.IGNORECASE)
_NETWORK = re.compile(r"(?<![\w.:])(?:\d+(?:\.\d+){3}|[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*)/\d+", re.IGNORECASE)
_FILES = [
    *PAGES,
    *(path for folder in ("deploy", "examples") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()),
    *sorted((ROOT / "src").rglob("*.py")),
]


def wide_networks(text: str) -> list[str]:
    """The networks of more than one address that are named as proxies, on the line that says so or the next one."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines):
        if named := _NAMES_PROXIES.search(line):
            said = " ".join([line[named.start() :], *lines[number + 1 : number + 2]])
            networks = [ip_network(text, strict=False) for text in _NETWORK.findall(said)]
            found += [str(network) for network in networks if network.num_addresses > 1]
    return found


def test_no_network_of_others_is_shown_as_a_trusted_proxy() -> None:
    named = {str(Path(path).relative_to(ROOT)): wide_networks(path.read_text(errors="replace")) for path in _FILES}
    assert {path: networks for path, networks in named.items() if networks} == {}


def test_a_network_of_others_is_found() -> None:
    for text, networks in {
        'ClientIPResolver(trusted_proxies=["10.0.0.0/8", "fd00::/8"])': ["10.0.0.0/8", "fd00::/8"],
        "  CIDRGATE_SERVE_TRUSTED_PROXY: 10.244.0.0/16": ["10.244.0.0/16"],
        "(`--trusted-proxy 127.0.0.1/32 --trusted-proxy\n10.0.0.0/8`)": ["10.0.0.0/8"],
        "set_real_ip_from 10.0.0.0/24;": ["10.0.0.0/24"],
        "http-request set-src req.hdr_ip(X-Forwarded-For,-1) if { src 10.0.0.0/8 }": ["10.0.0.0/8"],
        '"TRUSTED_PROXIES": ["10.0.0.10/32", "fd00::10/128"],': [],
    }.items():
        assert wide_networks(text)[: len(networks)] == networks or not networks
        assert bool(wide_networks(text)) is bool(networks)
