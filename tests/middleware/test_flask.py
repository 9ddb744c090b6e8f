"""The Flask extension."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute
from cidrgate.middleware.flask import Allowlist

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})


def an_app(account: Any, **settings: Any) -> Flask:
    app = Flask("test")

    @app.before_request
    def authenticate() -> None:
        g.account = {"k-42": "acct-1"}.get(request.headers.get("X-API-Key", ""))

    @app.get("/v1/<account>/calls")
    def calls(account: str) -> str:
        return "the view runs"

    allowlist = Allowlist(a_gate(**settings), account)
    allowlist.init_app(app)
    assert app.extensions["cidrgate"] is allowlist
    return app


def status(app: Flask, peer: str, **headers: str) -> int:
    answer = app.test_client().get("/v1/acct-1/calls", environ_base={"REMOTE_ADDR": peer}, headers=headers)
    return answer.status_code


@pytest.mark.parametrize(
    "account",
    [
        lambda request: g.account,
        lambda request: request.view_args["account"],
        FromHeader("x-account"),
        FromPath(r"/v1/(?P<account>[^/]+)"),
        FromRoute("account"),
    ],
)
def test_the_account_decides(account: Any) -> None:
    headers = {"X-API-Key": "k-42", "X-Account": "acct-1"}
    assert status(an_app(account), LISTED, **headers) == 200
    assert status(an_app(account), STRANGER, **headers) == 403


def test_a_denial_is_problem_details_or_a_page() -> None:
    client = an_app(FromPath(r"/v1/(?P<account>[^/]+)")).test_client()
    denied = client.get("/v1/acct-1/calls", environ_base={"REMOTE_ADDR": STRANGER})
    assert denied.mimetype == "application/problem+json"
    assert denied.get_json()["address"] == STRANGER
    assert denied.headers["x-request-id"] == denied.get_json()["request_id"]
    page = client.get("/v1/acct-1/x", environ_base={"REMOTE_ADDR": STRANGER}, headers={"Accept": "text/html"})
    assert (page.status_code, page.mimetype) == (403, "text/html")


def test_an_account_that_cannot_be_told_denies() -> None:
    assert status(an_app(lambda request: request.no_such_attribute), LISTED) == 403
    assert status(an_app(lambda request: request.no_such_attribute, report_only=True), LISTED) == 200


def test_proxy_fix_changes_nothing() -> None:
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.2/32"], allow_aliases=True)
    app = an_app(lambda request: "acct-1", resolver=resolver)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert status(app, STRANGER, **{"X-Forwarded-For": LISTED}) == 403
    assert status(app, "127.0.0.2", **{"X-Forwarded-For": f"{LISTED}, {STRANGER}"}) == 403
    assert status(app, "127.0.0.2", **{"X-Forwarded-For": LISTED}) == 200


def test_a_route_without_the_parameter_is_denied_unless_it_is_exempt() -> None:
    for rules, status_of_health in (([], 403), (["GET /healthz", "OPTIONS *"], 200)):
        app = an_app(FromRoute("account", exempt=rules))
        app.get("/healthz")(lambda: "up")
        client = app.test_client()
        for peer in (LISTED, STRANGER):
            base = {"REMOTE_ADDR": peer}
            assert client.get("/healthz", environ_base=base).status_code == status_of_health
            assert client.options("/v1/acct-1/calls", environ_base=base).status_code == (
                200 if rules or peer == LISTED else 403
            )
            for path in ("/", "/v1/acct-1", "/healthz/", "//healthz", "/static/x.css"):
                assert client.get(path, environ_base=base).status_code in (403, 404)
                assert client.get(path, environ_base={"REMOTE_ADDR": STRANGER}).status_code == 403


def test_a_converted_parameter_names_the_account_that_the_view_gets() -> None:
    app = Flask("test")

    @app.get("/accounts/<int:account>")
    def calls(account: int) -> str:
        return str(account)

    matcher = Matcher()
    matcher.publish("7", [f"{LISTED}/32"])
    Allowlist(Gate(matcher, unlisted="deny", log="none"), FromRoute("account"), app)
    client = app.test_client()
    for path in ("/accounts/7", "/accounts/007"):
        assert client.get(path, environ_base={"REMOTE_ADDR": LISTED}).text == "7"
        assert client.get(path, environ_base={"REMOTE_ADDR": STRANGER}).status_code == 403
    assert client.get("/accounts/8", environ_base={"REMOTE_ADDR": LISTED}).status_code == 403


def test_a_blueprint_protects_its_views_and_those_inside() -> None:
    app, v1, inner = Flask("test"), Blueprint("v1", __name__, url_prefix="/v1"), Blueprint("inner", __name__)
    Allowlist(a_gate(), FromRoute("account", exempt=["GET /v1/healthz"]), v1)
    for blueprint, path in ((v1, "/<account>/calls"), (v1, "/healthz"), (inner, "/<account>/keys"), (app, "/status")):
        blueprint.add_url_rule(path, path.rpartition("/")[2], lambda account="": g.get("cidrgate").account or "")
    app.view_functions["status"] = lambda: str("cidrgate" in g)
    v1.register_blueprint(inner)
    app.register_blueprint(v1)
    client = app.test_client()
    for path in ("/v1/acct-1/calls", "/v1/acct-1/keys"):
        assert client.get(path, environ_base={"REMOTE_ADDR": LISTED}).text == "acct-1"
        assert client.get(path, environ_base={"REMOTE_ADDR": STRANGER}).status_code == 403
    stranger: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": STRANGER}}
    assert client.get("/v1/healthz", **stranger).status_code == 200
    assert client.get("/status", **stranger).text == "False"
    assert client.get("/v1/acct-1/other", **stranger).status_code == 404
    assert "cidrgate" not in app.extensions


def test_the_mode_is_said_once_if_a_blueprint_has_a_second_guard() -> None:
    app, blueprint = Flask("test"), Blueprint("v1", __name__)
    for protected in (app, blueprint):
        Allowlist(a_gate(report_only=True), FromRoute("account"), protected)
    blueprint.add_url_rule("/<account>", "calls", lambda account: account)
    app.register_blueprint(blueprint)
    answer = app.test_client().get("/acct-1", environ_base={"REMOTE_ADDR": STRANGER})
    assert answer.headers.getlist("X-Cidrgate-Mode") == ["report_only"]


def test_another_object_is_refused_before_anything_is_registered() -> None:
    app = Flask("test")
    for other in (app.wsgi_app, app.app_context(), "test"):
        with pytest.raises(TypeError, match="app must be a Flask application or a blueprint, not"):
            Allowlist(a_gate(), FromRoute("account"), other)  # type: ignore[arg-type]
    assert (app.before_request_funcs, app.after_request_funcs) == ({}, {})


def test_what_is_no_source_is_refused() -> None:
    for nothing in ("acct-1", None):
        with pytest.raises(TypeError, match="FromRoute"):
            an_app(nothing)
    assert status(an_app(lambda request: EXEMPT, require_account=True), STRANGER) == 200
