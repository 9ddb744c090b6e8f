"""WSGI middleware: accounts, failures, and Werkzeug's `ProxyFix` around it."""

from __future__ import annotations

import json
import sys
from enum import Enum
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from django.test.client import FakePayload
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute
from cidrgate.middleware.wsgi import AllowlistMiddleware

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"the application runs"]


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})


def client(account: Any = lambda environ: "acct-1", **settings: Any) -> Client:
    return Client(AllowlistMiddleware(app, a_gate(**settings), account))


def peer(address: str) -> dict[str, str]:
    return {"REMOTE_ADDR": address}


def test_a_denial_is_problem_details() -> None:
    denied = client().get("/", environ_base=peer(STRANGER))
    assert denied.status == "403 Forbidden"
    assert denied.mimetype == "application/problem+json"
    assert json.loads(denied.text)["request_id"] == denied.headers["x-request-id"]
    assert LISTED not in denied.text
    page = client().get("/", environ_base=peer(STRANGER), headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"


def test_head_has_no_body() -> None:
    denied = client().head("/", environ_base=peer(STRANGER))
    assert (denied.status_code, denied.data) == (403, b"")
    assert int(denied.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "account",
    [lambda environ: "acct-1", FromHeader("X-Account"), FromPath(r"/v1/(?P<account>[^/]+)")],
)
def test_the_account_decides(account: Any) -> None:
    headers = {"X-Account": "acct-1"}
    for address, status in ((LISTED, 200), (STRANGER, 403)):
        answer = client(account).get("/v1/acct-1/calls", environ_base=peer(address), headers=headers)
        assert answer.status_code == status


def test_the_path_is_the_one_that_the_application_routes_by() -> None:
    guarded = client(FromPath(r"/v1/(?P<account>[^/]+)"))
    mounted: Any = {"base_url": "http://localhost/app", "environ_base": peer(STRANGER)}
    assert guarded.get("/v1/acct-1", **mounted).status_code == 403
    assert guarded.get("/v1/open", **mounted).status_code == 200
    assert guarded.get("/v1/é", **mounted).status_code == 200
    for path in ("/v1/\xff", "/v2/open", "", "v1/open", "//v1/open", "/v1/open;x", "/v1/open%41"):
        answer = guarded.get("/", **mounted, environ_overrides={"PATH_INFO": path, "REQUEST_URI": "/", "RAW_URI": "/"})
        assert answer.status_code == 403, path


def test_what_the_server_decoded_is_looked_at_where_it_says_what_came() -> None:
    guarded = client(FromPath(r"/v1/(?P<account>[^/]+)"))
    for name in ("RAW_URI", "REQUEST_URI"):
        for raw, status in (("/v1/open/x", 200), ("/v1/open%2Fx", 403), ("/v1/open%5cx", 403), ("/v1/open%252fx", 403)):
            overrides = {"PATH_INFO": "/v1/open/x", "RAW_URI": "/", "REQUEST_URI": "/", name: raw}
            if name == "REQUEST_URI":
                del overrides["RAW_URI"]
            environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": STRANGER, **overrides}
            sent: list[str] = []

            def start_response(status: str, headers: Any, *rest: Any, sent: list[str] = sent) -> Any:
                sent.append(status)

            source = FromPath(r"/v1/(?P<account>[^/]+)")
            list(AllowlistMiddleware(app, a_gate(), source)(environ, start_response))
            assert int(sent[0][:3]) == status, (name, raw)
    assert guarded.get("/v1/open", environ_base=peer(STRANGER)).status_code == 200


def test_a_source_that_this_edge_cannot_serve_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"cidrgate\.middleware\.flask"):
        client(FromRoute("account"))
    for nothing in ("acct-1", None):
        with pytest.raises(TypeError, match="FromHeader, FromRoute, FromPath or a callable"):
            client(nothing)


def test_what_is_exempt_needs_no_account() -> None:
    rules = ["GET /healthz", "OPTIONS *"]
    for source in (FromHeader("x-account", exempt=rules), FromPath(r"/v1/(?P<account>[^/]+)", exempt=rules)):
        guarded = client(source, require_account=True)
        assert guarded.get("/healthz", environ_base=peer(STRANGER)).status_code == 200
        assert guarded.head("/healthz", environ_base=peer(STRANGER)).status_code == 200
        assert guarded.options("/v1/acct-1", environ_base=peer(STRANGER)).status_code == 200
        for path in ("/healthz/", "/healthz/../v1", "/x"):
            assert guarded.get(path, environ_base=peer(LISTED)).status_code == 403
        assert guarded.post("/healthz", environ_base=peer(STRANGER)).status_code == 403
    assert client(lambda environ: EXEMPT, require_account=True).get("/", environ_base=peer(STRANGER)).status_code == 200


def test_headers_that_have_names_of_their_own_in_an_environ_are_read() -> None:
    guarded = client(FromHeader("content-type"), require_account=True)
    assert guarded.get("/", environ_base=peer(LISTED), content_type="acct-1").status_code == 200
    assert guarded.get("/", environ_base=peer(STRANGER), content_type="acct-1").status_code == 403


@pytest.mark.parametrize("port", ["0", 0])
def test_a_peer_with_port_0_is_nobody(port: Any) -> None:
    assert client().get("/", environ_base={**peer(LISTED), "REMOTE_PORT": port}).status_code == 403
    assert client().get("/", environ_base={**peer(LISTED), "REMOTE_PORT": "4711"}).status_code == 200
    for odd in ("", "x", None, "-1"):
        assert client().get("/", environ_base={**peer(LISTED), "REMOTE_PORT": odd}).status_code == 200


def test_the_servers_answer_counts_where_that_is_said() -> None:
    resolver = ClientIPResolver(resolved_by_server=True)
    fixed = Client(ProxyFix(AllowlistMiddleware(app, a_gate(resolver=resolver), lambda environ: "acct-1")))
    assert fixed.get("/", environ_base=peer(STRANGER), headers={"X-Forwarded-For": LISTED}).status_code == 200
    assert fixed.get("/", environ_base=peer(LISTED), headers={"X-Forwarded-For": STRANGER}).status_code == 403


@pytest.mark.parametrize("account", [lambda environ: environ["no such key"], lambda environ: 42])
def test_an_account_that_cannot_be_told_denies(account: Any) -> None:
    assert client(account).get("/", environ_base=peer(LISTED)).status_code == 403
    assert client(account, report_only=True).get("/", environ_base=peer(LISTED)).status_code == 200


def test_a_request_without_account_passes_unless_it_may_not() -> None:
    assert client(lambda environ: None).get("/", environ_base=peer(STRANGER)).status_code == 200
    required = client(lambda environ: None, require_account=True)
    assert required.get("/", environ_base=peer(LISTED)).status_code == 403


def test_behind_a_proxy() -> None:
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.2/32"], allow_aliases=True)
    guarded = client(resolver=resolver, request_id_header="x-request-id")
    for forwarded, status in ((f"{STRANGER}, {LISTED}", 200), (f"{LISTED}, {STRANGER}", 403)):
        headers = {"X-Forwarded-For": forwarded, "X-Request-Id": "req-42"}
        answer = guarded.get("/", environ_base=peer("127.0.0.2"), headers=headers)
        assert answer.status_code == status
        assert status == 200 or answer.headers["x-request-id"] == "req-42"
        assert guarded.get("/", environ_base=peer(STRANGER), headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("server", "drops"),
    [
        ({"SERVER_SOFTWARE": "gunicorn/22.0.0"}, True),
        ({"SERVER_SOFTWARE": "gunicorn/21.2.0"}, False),
        ({"SERVER_SOFTWARE": "gunicorn"}, False),
        ({"SERVER_SOFTWARE": "Werkzeug/3.1.9"}, True),
        ({"SERVER_SOFTWARE": "Werkzeug/2.0.3 Python/3.11"}, False),
        ({"SERVER_SOFTWARE": "an api", "waitress.client_disconnected": lambda: False}, True),
        ({"SERVER_SOFTWARE": "Granian"}, False),
        ({"SERVER_SOFTWARE": "WSGIServer/0.2 CPython/3.11.7"}, True),
        ({"SERVER_SOFTWARE": "Apache/2.4.62 (Debian)"}, False),
        ({"SERVER_SOFTWARE": "another/1.0"}, False),
        ({"SERVER_SOFTWARE": ""}, False),
        ({"SERVER_SOFTWARE": b"gunicorn/22.0.0"}, False),
        ({"SERVER_SOFTWARE": ["gunicorn/22.0.0"]}, False),
        ({"uwsgi.version": b"2.0.30"}, False),
        ({"wsgi.multithread": True, "wsgi.multiprocess": True}, False),
        ({"wsgi.multithread": False, "wsgi.multiprocess": True}, False),
        ({"wsgi.multithread": True, "wsgi.multiprocess": False}, False),
        ({"wsgi.multiprocess": True, "wsgi.input": FakePayload()}, True),
        ({"serverless.event": {}}, False),
        ({"apig_wsgi.full_event": {}}, False),
        ({}, True),
    ],
)
@pytest.mark.parametrize(
    ("settings", "headers", "has_alias"),
    [
        ({"trusted_proxies": ["127.0.0.2/32"]}, {"X-Forwarded-For": LISTED}, True),
        ({"trusted_hops": 1}, {"X-Forwarded-For": LISTED}, True),
        ({"trusted_proxies": ["127.0.0.2/32"], "client_header": "x-real-ip"}, {"X-Real-IP": LISTED}, True),
        ({"trusted_proxies": ["127.0.0.2/32"], "client_header": "forwarded"}, {"Forwarded": f"for={LISTED}"}, False),
        ({"trusted_hops": 1, "allow_aliases": True}, {"X-Forwarded-For": LISTED}, False),
    ],
)
def test_a_header_that_may_be_an_alias_names_nobody(
    server: dict[str, Any], settings: dict[str, Any], headers: dict[str, str], *, drops: bool, has_alias: bool
) -> None:
    told: list[Any] = []
    for hooks in ([], [told.append]):
        guarded = client(resolver=ClientIPResolver(**settings), hooks=hooks)
        status = guarded.get("/", environ_base=peer("127.0.0.2"), environ_overrides=server, headers=headers).status_code
        assert status == (200 if drops or not has_alias else 403)
    assert told[0].client.problem == (None if status == 200 else "possible_alias")
    if "trusted_hops" not in settings:
        assert guarded.get("/", environ_base=peer(LISTED), environ_overrides=server).status_code == 200
        assert guarded.get("/", environ_base=peer("127.0.0.2"), environ_overrides=server).status_code == 403
        assert told[-1].client.problem == "missing_header"


@pytest.mark.parametrize(
    ("source", "clear"),
    [
        (FromHeader("x-account"), False),
        (FromHeader("X_Account"), False),
        (FromHeader("x-account", lambda key: key), False),
        (FromHeader("x-account", exempt=["GET /healthz"]), False),
        (FromHeader("account"), True),
        (FromHeader("authorization", scheme="Bearer"), True),
        (FromHeader("x-account", allow_aliases=True), True),
        (FromHeader("x-account", exempt=["GET /healthz"], allow_aliases=True), True),
    ],
)
def test_the_account_is_unclear_where_the_server_passes_one_of_a_header_and_its_alias(
    source: FromHeader, *, clear: bool
) -> None:
    value = "Bearer acct-1" if source.scheme else "acct-1"
    headers = {source.name.replace("_", "-"): value}
    with SpooledTemporaryFile() as body:
        made = {STDOUT: sys.stdout, SPOOLED: body}
        for server, passes_one in PASS_ONE:
            given = {key: made[value] if isinstance(value, Made) else value for key, value in server.items()}
            for _ in range(2):
                answer = client(source).get("/", environ_base=peer(LISTED), environ_overrides=given, headers=headers)
                assert answer.status_code == (200 if clear or not passes_one else 403), server


class Made(Enum):
    """What is put into an environ when a test runs."""

    STDOUT = "the standard output of the moment"
    SPOOLED = "a body in a temporary file"


STDOUT, SPOOLED = Made

BOTH = {"wsgi.multithread": True, "wsgi.multiprocess": True}
PASS_ONE: list[tuple[dict[str, Any], bool]] = [
    ({"SERVER_SOFTWARE": "gunicorn/27.0.1"}, False),
    ({"SERVER_SOFTWARE": "Werkzeug/3.1.9"}, False),
    ({"SERVER_SOFTWARE": "an api", "waitress.client_disconnected": lambda: False}, False),
    ({"SERVER_SOFTWARE": "WSGIServer/0.2 CPython/3.11.7"}, False),
    ({"uwsgi.version": b"2.0.30"}, False),
    (BOTH | {"wsgi.errors": STDOUT}, False),
    (BOTH | {"wsgi.input": SPOOLED}, False),
    ({"wsgi.multiprocess": True, "wsgi.input": FakePayload()}, False),
    ({}, False),
    (BOTH, True),
    ({"SERVER_SOFTWARE": "Granian"}, True),
    ({"SERVER_SOFTWARE": "Cheroot/11.1.2"}, True),
    ({"SERVER_SOFTWARE": "gunicorn/21.2.0"}, True),
    ({"SERVER_SOFTWARE": ""}, True),
    (BOTH | {"SERVER_SOFTWARE": "another/1.0", "wsgi.errors": STDOUT}, True),
    ({"SERVER_SOFTWARE": b"gunicorn/27.0.1"}, True),
    ({"SERVER_SOFTWARE": 27}, True),
    ({"wsgi.multithread": False, "wsgi.multiprocess": True}, True),
    ({"wsgi.multithread": True, "wsgi.multiprocess": False}, True),
    ({"serverless.event": {}}, True),
]
"""Environs of servers, and whether the server may pass `X_Account` alone as `X-Account`."""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("server", "told_by_names", "told_by_lines"),
    [
        ({"SERVER_SOFTWARE": "gunicorn/27.0.1"}, True, True),
        ({"uwsgi.version": b"2.0.30"}, False, True),
        ({"SERVER_SOFTWARE": "Granian"}, False, True),
        ({"wsgi.multithread": True, "wsgi.multiprocess": True}, False, False),
        ({"SERVER_SOFTWARE": "another/1.0"}, False, False),
        ({}, True, True),
    ],
)
def test_what_replaces_the_peer_may_read_what_a_client_wrote(
    server: dict[str, Any], *, told_by_names: bool, told_by_lines: bool, chunked: bool
) -> None:
    told: list[Any] = []
    overrides = server | ({"HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {})
    for allow_aliases in (False, True):
        gate = a_gate(
            resolver=ClientIPResolver(resolved_by_server=True, allow_aliases=allow_aliases), hooks=[told.append]
        )
        fixed = Client(ProxyFix(AllowlistMiddleware(app, gate, lambda environ: "acct-1")))
        for forwarded in (LISTED, f"{STRANGER}, {LISTED}"):
            headers = {"X-Forwarded-For": forwarded}
            status = fixed.get("/", environ_base=peer(STRANGER), environ_overrides=overrides, headers=headers)
            clear = (told_by_names or allow_aliases) and not (chunked and not told_by_lines and "," in forwarded)
            assert status.status_code == (200 if clear else 403)
            assert clear or told[-1].client.problem in ("possible_alias", "possible_trailer")


@pytest.mark.parametrize("server", [{"SERVER_SOFTWARE": "another/1.0"}, {"uwsgi.version": b"2.0.30"}])
def test_a_middleware_that_replaces_no_peer_reads_nothing(server: dict[str, Any]) -> None:
    gate = a_gate(resolver=ClientIPResolver(resolved_by_server=True))
    fixed = Client(ProxyFix(AllowlistMiddleware(app, gate, lambda environ: "acct-1"), x_for=0))
    for address, status in ((LISTED, 200), (STRANGER, 403)):
        answer = fixed.get(
            "/", environ_base=peer(address), environ_overrides=server, headers={"X-Forwarded-For": "127.0.0.8"}
        )
        assert answer.status_code == status


def test_a_quoted_comma_is_no_second_hop() -> None:
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.2/32"], client_header="forwarded")
    chunked = {"wsgi.multithread": True, "wsgi.multiprocess": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for value, status in (
        (f'for={LISTED};host="a,b"', 200),
        (f'for={LISTED};host="a\\",b"', 200),
        (f"for={STRANGER}, for={LISTED}", 403),
        (f"for=_hidden, for={LISTED}", 403),
        (f'for={STRANGER}, for={LISTED};host="a\\"b"', 403),
    ):
        answer = client(resolver=resolver).get(
            "/", environ_base=peer("127.0.0.2"), environ_overrides=chunked, headers={"Forwarded": value}
        )
        assert answer.status_code == status, value


def test_proxy_fix_around_it_changes_nothing() -> None:
    for settings in ({}, {"resolver": ClientIPResolver(trusted_proxies=["127.0.0.2/32"], allow_aliases=True)}):
        fixed = Client(ProxyFix(AllowlistMiddleware(app, a_gate(**settings), lambda environ: "acct-1")))
        spoofed = {"X-Forwarded-For": LISTED}
        assert fixed.get("/", environ_base=peer(STRANGER), headers=spoofed).status_code == 403
        assert fixed.get("/", environ_base=peer(LISTED), headers={"X-Forwarded-For": STRANGER}).status_code == 200


@pytest.mark.parametrize("value", [b"8.8.8.8", None, ["8.8.8.8"], 5, "8.8.8.8\u2028"])
@pytest.mark.parametrize("name", ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_ACCOUNT"])
@pytest.mark.parametrize("address", [LISTED, STRANGER])
def test_values_that_no_server_hands_over_let_nobody_in(name: str, value: Any, address: str) -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "HTTP_X_ACCOUNT": "acct-1",
        "REMOTE_ADDR": address,
        name: value,
    }
    statuses: list[str] = []
    guarded = AllowlistMiddleware(app, a_gate(), FromHeader("X-Account"))
    guarded(environ, lambda status, headers: statuses.append(status))  # type: ignore[arg-type]
    assert statuses == ["403 Forbidden"]
