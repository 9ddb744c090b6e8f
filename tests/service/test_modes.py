"""The mode of an account over HTTP: set under the guards, shown everywhere, and named where only it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.app_client import AppClient

if TYPE_CHECKING:
    from collections.abc import Iterator

UNTIL = "2999-01-01T00:00:00+00:00"


@pytest.fixture
def api() -> Iterator[AppClient]:
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        token = Credentials(manager._store).create_token("ops", [Scope.parse("admin")]).secret
        yield AppClient(create_app(manager, Settings()), headers={"Authorization": f"Bearer {token}"})


def test_a_pause_is_confirmed_shown_and_ended(api: AppClient) -> None:
    path, paused = "/v1/accounts/acct-1/mode", {"mode": "off", "until": UNTIL, "reason": "incident 7"}
    refused = api.put(path, json=paused)
    assert (refused.status_code, refused.json()["confirm"]) == (409, ["disable_enforcement"])
    done = api.put(f"{path}?confirm=disable_enforcement", json=paused)
    assert done.status_code == 200
    for name in ("acct-1", "sub-1"):
        account = api.get(f"/v1/accounts/{name}").json()
        assert (account["mode"], account["mode_until"], account["mode_reason"]) == ("off", UNTIL, "incident 7")
        assert not account["enforced"]
    [change] = api.get("/v1/accounts/acct-1/history?limit=1").json()["items"]
    assert (change["action"], change["details"]["after"]["mode"]) == ("set_mode", "off")
    assert api.put(path, json={"mode": "enforce"}, headers={"If-Match": '"v1"'}).status_code == 412
    assert api.put(path, json={"mode": "enforce"}, headers={"If-Match": '"v2"'}).json()["enforced"]


def test_a_preview_of_a_change_of_the_mode_alone_has_the_version_that_it_is_based_on(api: AppClient) -> None:
    path = "/v1/accounts/acct-1"
    api.put(f"{path}/mode?confirm=disable_enforcement", json={"mode": "off"})
    [change] = api.get(f"{path}/history?limit=1").json()["items"]
    preview = api.post(f"{path}/preview", json={"change": "undo", "sequence": change["sequence"]}).json()
    assert (preview["ok"], preview["version"]) == (True, 2)
    undone = api.post(f"{path}/history/{change['sequence']}/undo", headers={"If-Match": '"v2"'})
    assert undone.status_code == 200


@pytest.mark.parametrize("mode", ["report_only", "off"])
def test_a_check_says_if_only_the_mode_allows(api: AppClient, mode: str) -> None:
    api.put("/v1/accounts/acct-1/mode?confirm=disable_enforcement", json={"mode": mode})
    for address, said in (("8.8.8.8", None), ("9.9.9.9", mode)):
        answer = api.get(f"/v1/accounts/sub-1/check?address={address}")
        assert (answer.json()["allowed"], answer.json()["mode"]) == (True, mode)
        assert answer.headers.get("x-cidrgate-mode") == said
    assert api.get("/v1/accounts/sub-1/explain?address=9.9.9.9").json()["mode"] == mode


@pytest.mark.parametrize(
    "body", [{"mode": "paused"}, {"mode": "enforce", "until": UNTIL}, {"mode": "off", "closed": "no"}, {}]
)
def test_what_is_no_mode_is_refused(api: AppClient, body: dict[str, str]) -> None:
    answer = api.put("/v1/accounts/acct-1/mode?confirm=disable_enforcement", json=body)
    assert answer.status_code == 422
    assert api.get("/v1/accounts/acct-1").json()["version"] == 1
