"""The attack table through the resolver and every edge of the registry, in process and over real sockets."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cidrgate import ClientIPResolver
from tests.attacks import ATTACKS, REWRITTEN, SETUPS, Attack, gates
from tests.edges import EDGES, SOURCES, Edge, calls_of, guarded
from tests.in_process import status_of
from tests.middleware.raw_http import aiohttp_server, asgi_server, raw_status, wsgi_server
from tests.rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

GATES = gates()
CALLS = calls_of("acct-1")
TABLE = [*ATTACKS, *REWRITTEN]
attacks = rows("attack", TABLE, name=lambda attack: f"{attack.setup}: {attack.name}")


def test_the_table_is_large_and_says_each_thing_once() -> None:
    assert len(TABLE) >= 160
    assert max(Counter((attack.setup, attack.name) for attack in TABLE).values()) == 1


@attacks
def test_resolver(attack: Attack) -> None:
    client = ClientIPResolver(**SETUPS[attack.setup]).resolve(attack.peer, attack.headers, port=attack.port)
    assert client.address == attack.address
    assert (client.problem is None) == (attack.address is not None)


class Guarded(NamedTuple):
    """An edge under a protocol, with an application for each setup."""

    edge: Edge
    protocol: str
    apps: dict[str, Any]


@pytest.fixture(
    scope="module",
    params=[(edge, protocol) for edge in EDGES for protocol in edge.protocols],
    ids=lambda pair: pair[0].module if pair[0].protocols == (pair[1],) else f"{pair[0].module}-{pair[1]}",
)
def applications(request: pytest.FixtureRequest) -> Guarded:
    edge, protocol = request.param
    source = SOURCES[edge.sources[0]]
    return Guarded(edge, protocol, {name: guarded(edge.module, gate, source, protocol) for name, gate in GATES.items()})


@attacks
def test_edge(attack: Attack, applications: Guarded) -> None:
    status = status_of(applications.protocol, applications.apps[attack.setup], attack, CALLS)
    assert status == (200 if attack.allowed else 403)


REAL_PEER = re.compile(r"127(\.[1-9]?\d){3}", re.ASCII)
# wsgiref, unlike servers for production, reads `_` in names as `-`, and strips more than spaces and tabs.
NOT_WITH_WSGIREF = {"a name with underscores", "a no-break space", "a vertical tab"}


def reaches(protocol: str, attack: Attack) -> bool:
    """Whether an attack can be sent over a real connection, whose port is another one."""
    return (
        attack.port == 4711
        and not attack.name.startswith("rewritten: a proxy")
        and REAL_PEER.fullmatch(attack.peer or "") is not None
        and not (protocol == "wsgi" and attack.name in NOT_WITH_WSGIREF)
    )


@pytest.fixture(scope="module")
def ports(applications: Guarded) -> Iterator[dict[str, list[int]]]:
    """The ports of real servers for each setup, one for each of their parsers; the query says which setup is asked."""
    by_query = {query_of(setup): app for setup, app in applications.apps.items()}

    async def by_scope(scope: Any, receive: Any, send: Any) -> None:
        await by_query[scope["query_string"].decode()](scope, receive, send)

    def by_environ(environ: Any, start_response: Any) -> Any:
        return by_query[environ["QUERY_STRING"]](environ, start_response)

    with ExitStack() as stack:
        if applications.protocol == "aiohttp":
            apps = applications.apps.items()
            yield {setup: [stack.enter_context(aiohttp_server(app))] for setup, app in apps}
            return
        if applications.protocol == "asgi":
            servers = [asgi_server(by_scope, http=parser) for parser in ("h11", "httptools")]
        else:
            servers = [wsgi_server(by_environ)]
        shared = [stack.enter_context(server) for server in servers]
        yield dict.fromkeys(SETUPS, shared)


def query_of(setup: str) -> str:
    return str([*SETUPS].index(setup))


@attacks
def test_real_servers(attack: Attack, applications: Guarded, ports: dict[str, list[int]]) -> None:
    if not reaches(applications.protocol, attack):
        return
    for port in ports[attack.setup]:
        target = f"{CALLS}?{query_of(attack.setup)}"
        status = raw_status(port, attack.peer or "", target, attack.headers)
        # Servers refuse odd bytes and long headers themselves.
        assert status in ((200,) if attack.allowed else (0, 400, 403, 431))
