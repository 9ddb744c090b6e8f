"""Where the service thinks that a request comes from, when its server has rewritten the peer."""

from __future__ import annotations

import pytest

from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.service import Settings
from tests.app_client import AppClient
from tests.service.conftest import an_api

FORGED = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": "203.0.113.9:4711"},
    {"X-Forwarded-For": "[::ffff:203.0.113.9]:4711, 198.51.100.7"},
    {"Forwarded": 'for="203.0.113.9:4711"'},
    {"X-Real-IP": "203.0.113.9"},
]


@pytest.mark.parametrize("headers", FORGED)
def test_a_peer_that_the_server_rewrote_is_nobody(headers: dict[str, str]) -> None:
    for api in an_api("memory://"):
        token = {"Authorization": f"Bearer {api.token('admin')}"}
        rewritten = AppClient(api.app, client=("203.0.113.9", 4711))
        assert rewritten.get("/v1/me", headers={**token, **headers}).json()["address"] is None
        assert rewritten.get("/v1/me", headers=token).json()["address"] == "203.0.113.9"
        without_port = AppClient(api.app, client=("203.0.113.9", 0))
        assert without_port.get("/v1/me", headers=token).json()["address"] is None


def test_the_servers_answer_counts_where_that_is_said() -> None:
    for api in an_api("memory://", None, ClientIPResolver(resolved_by_server=True)):
        token = {"Authorization": f"Bearer {api.token('admin')}"}
        client = AppClient(api.app, client=("203.0.113.9", 0))
        assert client.get("/v1/me", headers={**token, **FORGED[0]}).json()["address"] == "203.0.113.9"


def test_no_forged_address_evades_the_limit_of_wrong_tokens() -> None:
    """Peers that cannot be told apart share one limit."""
    for api in an_api("memory://", Settings(login_failures=3)):
        statuses = []
        for number in range(8):
            address = f"203.0.113.{number}"
            client = AppClient(api.app, client=(address, 4711))
            wrong = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"{address}:4711"}
            statuses.append(client.get("/v1/me", headers=wrong).status_code)
        assert statuses[:3] == [401, 401, 401]
        assert statuses[-1] == 429


def test_the_services_own_list_sees_no_lie() -> None:
    for api in an_api("memory://", Settings(allow=("203.0.113.0/24",))):
        for headers in FORGED:
            assert AppClient(api.app, client=("203.0.113.9", 4711)).get("/v1/me", headers=headers).status_code == 403
        assert AppClient(api.app, client=("203.0.113.9", 0)).get("/v1/me").status_code == 403
        assert AppClient(api.app, client=("203.0.113.9", 4711)).get("/v1/me").status_code == 401
