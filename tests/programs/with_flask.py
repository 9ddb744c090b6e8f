"""A Flask service that finds the account by an API key."""

from flask import Flask, g, jsonify
from flask.typing import ResponseReturnValue

from cidrgate import ClientIPResolver, FromHeader, Gate, RuleManager, Verdict
from cidrgate.middleware.flask import Allowlist

KEYS = {"key-1": "acct-1"}


def make_app(manager: RuleManager) -> Flask:
    """The service behind one trusted proxy."""
    gate = Gate(
        manager,
        unlisted="deny_unknown",
        require_account=True,
        resolver=ClientIPResolver(trusted_proxies=["10.0.0.0/8"]),
        log="none",
    )
    app = Flask(__name__)
    Allowlist(gate, FromHeader("x-api-key", KEYS.get, exempt=["GET /healthz"]), app)

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return "ok"

    @app.get("/v1/calls")
    def calls() -> ResponseReturnValue:
        verdict: Verdict = g.cidrgate
        return jsonify(account=verdict.account, address=verdict.client.address)

    return app


def main() -> None:
    """Ask it through the proxy, with and without a key."""
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        client = make_app(manager).test_client()
        proxy = {"REMOTE_ADDR": "10.0.0.1"}
        for key, address in (("key-1", "8.8.8.8"), ("key-1", "9.9.9.9"), ("wrong", "8.8.8.8")):
            headers = {"X-Api-Key": key, "X-Forwarded-For": address}
            answer = client.get("/v1/calls", headers=headers, environ_overrides=proxy)
            body = answer.get_json()
            print(answer.status_code, body.get("account", body.get("code")))
        print(client.get("/healthz", environ_overrides=proxy).status_code)


if __name__ == "__main__":
    main()
