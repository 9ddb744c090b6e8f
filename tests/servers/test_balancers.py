"""The proxies behind a load balancer, set up as their READMEs say: the client is the one the balancer saw."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.servers.endpoint import authorize_endpoint, database
from tests.servers.fronts import front
from tests.servers.requests import ask
from tests.servers.upstream import upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = ("X-Api-Key", "key-of-acct-1")
LISTED = "127.0.0.2"
STRANGER = "127.0.0.4"
BALANCER = "127.0.0.10"
NETWORK = f"{BALANCER}/32"

REAL_IP = f"set_real_ip_from {NETWORK}; real_ip_header X-Forwarded-For; real_ip_recursive on;\n    upstream api {{"
EDITS = {
    "nginx": {"upstream api {": REAL_IP},
    "caddy": {"uri /v1/authorize": f"uri /v1/authorize\n\t\ttrusted_proxies {NETWORK}"},
    "haproxy": {
        "    http-request set-var(txn.request_id)": "    http-request set-src req.hdr_ip(X-Forwarded-For,-1) "
        f"if {{ src {NETWORK} }}\n    http-request set-var(txn.request_id)"
    },
    "envoy": {},
    "traefik": {
        "\nproviders:": f"    forwardedHeaders: {{ trustedIPs: [{NETWORK}] }}\n\nproviders:",
        "trustForwardHeader: false": "trustForwardHeader: true",
    },
}
PROXY_PROTOCOL = {
    "nginx": {
        "upstream api {": REAL_IP.replace("X-Forwarded-For", "proxy_protocol"),
        ";\n\n        location / {": " proxy_protocol;\n\n        location / {",
    },
    "haproxy": {
        "\n    # Whose": f"\n    tcp-request connection expect-proxy layer4 if {{ src {NETWORK} }}\n    # Whose",
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("balancers")


@pytest.fixture(scope="module")
def ports(folder: Path) -> Iterator[dict[str, int]]:
    """Of the API, and of an endpoint that trusts the balancer too."""
    with upstream() as api, authorize_endpoint(folder, database(folder), "--trusted-proxy", NETWORK) as endpoint:
        yield {"api": api, "endpoint": endpoint}


@pytest.mark.parametrize("name", EDITS)
def test_the_client_is_the_one_that_the_balancer_saw(name: str, folder: Path, ports: dict[str, int]) -> None:
    with front(name, folder, endpoint=ports["endpoint"], api=ports["api"], edits=EDITS[name]) as port:
        for hops, expected in (
            (LISTED, 200),
            (STRANGER, 403),
            (f"{LISTED}, {STRANGER}", 403),
            (f"{STRANGER}, {LISTED}", 200),
            (f"{LISTED}, unknown", 403),
        ):
            assert ask(port, BALANCER, [KEY, ("X-Forwarded-For", hops)]).status == expected, hops
        assert ask(port, BALANCER, [KEY]).status == 403
        assert ask(port, STRANGER, [KEY, ("X-Forwarded-For", LISTED)]).status == 403
        assert ask(port, LISTED, [KEY, ("X-Forwarded-For", STRANGER)]).status == 200


def status_with_proxy_protocol(port: int, source: str, client: str) -> int:
    """The status of a request that follows a PROXY protocol header; 0 where the connection is dropped."""
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)) as connection:
        connection.sendall(
            f"PROXY TCP4 {client} 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY[1]}\r\n"
            f"X-Forwarded-For: {LISTED}\r\nConnection: close\r\n\r\n".encode()
        )
        try:
            line = connection.makefile("rb").readline()
        except ConnectionResetError:
            return 0
    return int(line.split()[1]) if line else 0


@pytest.mark.parametrize("name", PROXY_PROTOCOL)
def test_the_proxy_protocol_counts_from_the_balancer_alone(name: str, folder: Path, ports: dict[str, int]) -> None:
    with front(name, folder, endpoint=ports["endpoint"], api=ports["api"], edits=PROXY_PROTOCOL[name]) as port:
        assert status_with_proxy_protocol(port, BALANCER, LISTED) == 200
        assert status_with_proxy_protocol(port, BALANCER, STRANGER) == 403
        assert status_with_proxy_protocol(port, STRANGER, LISTED) in (0, 400, 403)
