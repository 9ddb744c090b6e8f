"""What a request says of its own host and way on is not believed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate.service import Settings
from cidrgate.service.api.health import METRICS, is_public
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.public_url import PublicURL
from tests.app_client import AppClient
from tests.service.conftest import ADDRESS, an_api
from tests.service.test_access import NEEDS, filled
from tests.service.test_console_sessions import OWN_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.conftest import Api

PUBLIC = "https://lists.example.com"
OTHER_HOSTS = ["evil.example", "lists.example.com.evil.example", "evil.lists.example.com", "lists.example.com:8443"]
OTHER_HOSTS += ["lists.example.com:80", "127.0.0.1", "localhost", "lists.example.com.", "[::1]"]
AWAY = ["", "/", "//evil.example", "/\\evil.example", "\\\\evil", "https://evil.example", "javascript:alert(1)"]
AWAY += ["/console/../../x", "/console/..", "/console/.", "/console/./x", "/console//evil.example", "/console/%2e%2e/x"]
AWAY += ["/console/%2F%2Fevil", "/console/%5Cevil", "/console/\\evil", "/console/\tx", "/console/x\r\nSet-Cookie: a=b"]
AWAY += ["/console/x\x00", "/console/x y", "/consolex", "/console", "/other/accounts", "/console/ü", "/console/x#y"]
AWAY += ["/console/x?a\\b", "/console/x?a\nb", "/console/x;a", "/console/%252e%252e/x", "/console/@evil", "/v1/me"]
AWAY += ["/console/" + "a" * 2_000, "console/accounts", " /console/accounts", "/console/accounts "]
OWN = ["/console/accounts", "/console/accounts?q=a", "/console/list?account=acct-1", "/console/list/add?account=a%2Fb"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lists.example.com",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://u@a",
        "https://a b",
        "https://a:0",
        "https://a:99999",
        "https://a:x",
        "https://[::1",
        "https://a\\b",
        "https://ü",
        "//a",
        "https://a?",
        "https://a/#",
        "https://a\n",
        " https://a",
    ],
)
def test_what_is_no_public_url(text: str) -> None:
    with pytest.raises(ValueError, match="public URL"):
        PublicURL.parse(text)
    with pytest.raises(ValueError, match="public URL"):
        Settings(public_url=text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("https://A.example", ["a.example", "A.EXAMPLE", "a.example:443"]),
        ("http://a:8080/", ["a:8080"]),
        ("http://[::1]:80", ["[::1]", "[::1]:80"]),
    ],
)
def test_a_public_url_has_names(text: str, names: list[str]) -> None:
    public = PublicURL.parse(text)
    assert all(public.names(name) for name in names)
    assert not any(public.names(name) for name in OTHER_HOSTS[:6])
    assert PublicURL.parse(str(public)) == public


@pytest.fixture
def public() -> Iterator[Api]:
    """A service with a public URL, and a browser that has opened it."""
    for api in an_api("memory://", Settings(public_url=PUBLIC)):
        api.client = AppClient(api.app, base_url=PUBLIC, client=(ADDRESS, 50_000), follow_redirects=False)
        yield api


def test_another_host_is_refused_by_every_operation_but_those_of_machines() -> None:
    for api in an_api("memory://", Settings(public_url=PUBLIC, authorize=True, unlisted="deny")):
        for host in OTHER_HOSTS:
            for route in NEEDS:
                method, path = filled(route)
                response = api.client.request(method, path, headers={"Host": host})
                expected = 200 if is_public(path) else 401 if path == METRICS else 421
                assert response.status_code == expected, (host, route)
                assert host not in response.text
            for path in ("/", "/console", "/console/", "/console/sign-in", "/openapi.json", "/nothing"):
                assert api.client.get(path, headers={"Host": host}).status_code == 421
            # Proxies ask with the host of the request that they ask about.
            asked = api.client.get("/v1/authorize", headers={"Host": host, "X-Account": "a"})
            assert asked.status_code != 421
        assert api.client.get("/v1/me", headers={"Host": "LISTS.example.com:443"}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/", "/console", "/console/", "/v1/accounts/", "/console/accounts/", "/console/static"]
)
def test_no_answer_repeats_the_host(api: Api, path: str) -> None:
    response = api.client.get(path, headers={"Host": "evil.example"})
    assert "evil" not in response.text
    assert "evil" not in str(response.headers)
    assert response.headers.get("location", "/").startswith("/")


def sign_in(api: Api, then: str) -> str:
    data = {"token": api.token("admin"), "then": then}
    response = api.client.post("/console/sign-in", data=data, headers=OWN_PAGE)
    assert response.status_code in (303, 422), response.text
    return response.headers.get("location", "refused")


@pytest.mark.parametrize("then", AWAY)
def test_signing_in_leads_nowhere_else(api: Api, then: str) -> None:
    assert sign_in(api, then) in ("/console/accounts", "refused")
    page = api.client.get("/console/sign-in", params={"then": then})
    assert page.status_code == 422 or 'name="then" value=""' in page.text


@pytest.mark.parametrize("then", OWN)
def test_signing_in_leads_on(api: Api, then: str) -> None:
    assert sign_in(api, then) == then


def test_cookies_over_tls_are_of_this_host_alone(public: Api) -> None:
    done = public.client.post("/console/sign-in", data={"token": public.token("admin")}, headers=OWN_PAGE)
    cookie = done.headers["set-cookie"]
    assert cookie.startswith("__Host-cidrgate_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "strict-transport-security" in done.headers
    secret = cookie.partition("=")[2].partition(";")[0]
    for name, status in (("cidrgate_session", 303), ("__Host-cidrgate_session", 200)):
        # Behind a proxy that ends TLS, and without one.
        for base in (PUBLIC, "http://lists.example.com"):
            other = AppClient(public.app, base_url=base, follow_redirects=False)
            got = other.get("/console/accounts", headers={"Cookie": f"{name}={secret}", "Host": "lists.example.com"})
            assert got.status_code == status, (name, base)


def test_a_form_comes_from_the_public_origin(public: Api) -> None:
    for origin, status in (
        (PUBLIC, 303),
        ("https://evil.example", 403),
        ("http://lists.example.com", 403),
        ("x", 403),
    ):
        data = {"token": public.token("admin")}
        got = public.client.post("/console/sign-in", data=data, headers={"Origin": origin})
        assert got.status_code == status, origin
    assert public.client.post("/console/sign-in", data=data).status_code == 403


def test_a_link_leads_to_the_public_url(public: Api) -> None:
    link = public.credentials.create_link("me", [Scope("admin")], lifetime=timedelta(hours=1))
    assert public.client.post(f"/console/link/{link}", headers=OWN_PAGE).headers["location"] == "/console/accounts"
