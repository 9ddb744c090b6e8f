"""An application lets its customers in to the console with one-time links that it creates by the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from cidrgate.serialization import utc_text
from cidrgate.service import Settings
from tests.app_client import AppClient
from tests.service.conftest import ADDRESS, an_api
from tests.service.test_console_confirmations import asked_of
from tests.service.test_console_sessions import OWN_PAGE, proof

if TYPE_CHECKING:
    from httpx2 import Response
    from starlette.types import Receive, Scope, Send

    from tests.service.conftest import Api

ADA = {"name": "Ada", "scopes": ["account:acct-1:write"]}


def opened(api: Api, url: str) -> tuple[AppClient, Response]:
    """A browser after it has opened a link."""
    browser = AppClient(api.app, client=(ADDRESS, 50000), follow_redirects=False)
    return browser, browser.post(urlsplit(url).path, headers=OWN_PAGE)


def test_a_customer_edits_its_own_list_and_no_other(api: Api) -> None:
    caller = api.caller("admin")
    made = caller("POST", "/v1/links", ADA)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    link = made.json()
    assert link["url"].startswith("http://testserver/console/link/")
    assert {**link, "url": "", "id": "", "expires_at": ""} == {
        **ADA, "id": "", "created_by": "tester", "expires_at": "", "url": ""
    }  # fmt: skip
    left = datetime.fromisoformat(link["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    browser, began = opened(api, link["url"])
    assert began.status_code == 303
    page = browser.get("/console/list?account=acct-1").text
    assert browser.get("/console/list?account=acct-2").status_code == 404
    data: dict[str, Any] = {"csrf": proof(page), "account": "acct-1", "cidrs": "8.8.8.0/24", "version": "0"}
    asked = browser.post("/console/list/add", data=data, headers=OWN_PAGE)
    assert browser.post("/console/list/add", data=data | asked_of(asked.text), headers=OWN_PAGE).status_code == 303
    [change] = api.manager.history("acct-1", limit=1)
    assert (change.actor, [entry.cidr for entry in change.after]) == ("Ada", ["8.8.8.0/24"])
    assert opened(api, link["url"])[1].status_code != 303, "a link opens once"
    [session] = caller.ok("GET", "/v1/sessions")["items"]
    assert (session["name"], session["by_link"], session["scopes"]) == ("Ada", True, ADA["scopes"])
    [event] = [one for one in api.manager.changes() if one.action == "create_link"]
    assert event.actor == "tester"
    assert urlsplit(link["url"]).path.rpartition("/")[2] not in repr(event)


def test_a_link_and_its_session_end_with_the_token_that_made_it(api: Api) -> None:
    caller = api.caller("admin")
    used, unused = (caller.ok("POST", "/v1/links", ADA)["url"] for _ in range(2))
    browser, _ = opened(api, used)
    token = api.caller("admin")
    assert token("DELETE", f"/v1/tokens/{caller.token.split('_')[1]}").status_code == 200  # type: ignore[union-attr]
    assert browser.get("/console/list?account=acct-1").status_code in (303, 401)
    assert opened(api, unused)[1].status_code != 303
    assert caller("POST", "/v1/links", ADA).status_code == 401


def test_a_repeated_request_makes_one_link_and_shows_it_once(api: Api) -> None:
    caller = api.caller("admin")
    first = caller.ok("POST", "/v1/links", ADA, Idempotency_Key="once")
    again = caller.ok("POST", "/v1/links", ADA, Idempotency_Key="once")
    assert again == {**first, "url": None}
    assert len([one for one in api.manager.changes() if one.action == "create_link"]) == 1


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        (["account:acct-1:write"], 403),
        (["account:acct-1:read", "metrics"], 403),
        (["metrics"], 403),
    ],
)
def test_only_an_admin_makes_links(api: Api, scopes: list[str], status: int) -> None:
    assert api.caller(*scopes)("POST", "/v1/links", ADA).status_code == status
    assert not [one for one in api.manager.changes() if one.action == "create_link"]


def ahead(**left: float) -> str | None:
    return utc_text(datetime.now(UTC) + timedelta(**left))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scopes": []}, "invalid_scope"),
        ({"scopes": ["account:nope:write"]}, "account_not_found"),
        ({"scopes": ["everything"]}, "invalid_scope"),
        ({"name": ""}, "invalid_text"),
        ({"expires_at": "2026-01-02T03:04:05Z"}, "invalid_expiry"),
        ({"expires_at": "2126-01-02T03:04:05Z"}, "invalid_expiry"),
        ({"expires_at": "2026-01-02T03:04:05"}, "invalid_request"),
        ({"lifetime": 5}, "invalid_request"),
    ],
    ids=str,
)
def test_what_cannot_be_a_link_is_refused(api: Api, change: dict[str, Any], code: str) -> None:
    refused = api.caller("admin")("POST", "/v1/links", {**ADA, **change})
    assert refused.json()["code"] == code, refused.text
    assert not [one for one in api.manager.changes() if one.action == "create_link"]


def test_a_link_can_be_opened_until_the_time_that_was_given(api: Api) -> None:
    end = ahead(days=6, hours=23)
    assert api.caller("admin").ok("POST", "/v1/links", {**ADA, "expires_at": end})["expires_at"] == end


@pytest.mark.parametrize(
    ("settings", "root_path", "begins"),
    [
        (Settings(), "", "http://testserver/console/link/"),
        (Settings(), "/lists", "http://testserver/lists/console/link/"),
        (Settings(public_url="https://testserver:8443"), "", "https://testserver:8443/console/link/"),
    ],
)
def test_the_url_begins_as_people_see_the_service(settings: Settings, root_path: str, begins: str) -> None:
    for api in an_api("memory://", settings):
        api.manager.create_account("acct-1")

        async def below(scope: Scope, receive: Receive, send: Send, api: Api = api) -> None:
            await api.app({**scope, "root_path": root_path}, receive, send)

        client = AppClient(below, client=(ADDRESS, 50000))
        headers = {"Authorization": f"Bearer {api.token('admin')}"}
        if settings.public_url:
            headers["Host"] = "testserver:8443"
        made = client.post(f"{root_path}/v1/links", json=ADA, headers=headers)
        assert made.json()["url"].startswith(begins), made.text
