"""The port of the service itself, behind a list; and the endpoint for proxies, where it is asked for."""

from __future__ import annotations

import pytest

from cidrgate import InvalidAddressError, RuleManager
from cidrgate.gate.client_ip import ClientIPResolver
from cidrgate.service import Settings, create_app
from tests.service.conftest import an_api


@pytest.mark.parametrize("settings", [Settings(allow=("8.8.8.0/24",)), Settings(allow_account="ops")])
def test_only_listed_addresses_are_answered(settings: Settings) -> None:
    for api in an_api("memory://", settings):
        api.manager.create_account("ops")
        token = api.token("admin")
        inside, outside = api.at("8.8.8.8", token), api.at("8.8.9.9", token)
        if settings.allow_account is not None:
            assert inside("GET", "/v1/me").status_code == 403, "a list that was asked for and is empty opens nothing"
        api.manager.add("ops", "8.8.8.0/24")
        for path in ("/v1/me", "/console/sign-in", "/openapi.json", "/metrics"):
            assert inside("GET", path).status_code == 200
            refused = outside("GET", path)
            assert refused.status_code == 403
            assert refused.headers["x-frame-options"] == "DENY"
        assert "8.8.9.9" in outside.problem(403, "GET", "/v1/me")["detail"]
        for path in ("/healthz", "/readyz"):
            assert outside("GET", path).status_code == 200


def test_a_list_is_made_of_networks_or_is_an_accounts() -> None:
    with RuleManager.open("memory://") as manager:
        with pytest.raises(InvalidAddressError):
            create_app(manager, Settings(allow=("8.8.8.8",)))
        with pytest.raises(ValueError, match="not both"):
            Settings(allow=("8.8.8.0/24",), allow_account="ops")


def test_proxies_are_answered_where_that_is_asked_for() -> None:
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.1/32"])
    for api in an_api("memory://", Settings(authorize=True, unlisted="allow"), resolver):
        api.manager.create_account("acct-1")
        api.manager.add("acct-1", "8.8.8.0/24")
        proxy = api.at("127.0.0.1")
        for address, status in {"8.8.8.8": 200, "8.8.9.9": 403, "x": 403}.items():
            asked = proxy("GET", "/v1/authorize", X_Account="acct-1", X_Forwarded_For=address)
            assert asked.status_code == status
        assert proxy("GET", "/v1/authorize/some/path").status_code == 403
    for api in an_api("memory://"):
        assert api.at("127.0.0.1")("GET", "/v1/authorize", X_Account="acct-1").status_code == 404
