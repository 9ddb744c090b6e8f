"""An API with Flask that admits listed addresses only."""

import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

from cidrgate import ClientIPResolver, FromHeader, Gate, RuleManager
from cidrgate.middleware.flask import Allowlist

KEYS = {"key-of-acct-1": "acct-1", "key-of-acct-2": "acct-2"}  # an application asks its own database

gate = Gate(
    RuleManager.open(os.environ.get("CIDRGATE_DATABASE", "sqlite:///lists.db")),
    unlisted="deny_unknown",  # every account is created; see docs/edges.md for the other cases
    # The addresses of the proxies in front, if there are any; else the socket's peer is the client.
    resolver=ClientIPResolver(trusted_proxies=os.environ.get("TRUSTED_PROXIES", "").split()),
    require_account=True,
)

app = Flask(__name__)
Allowlist(gate, FromHeader("x-api-key", KEYS.get), app)


@app.get("/v1/calls")
def calls() -> ResponseReturnValue:
    """What the account may see."""
    return {"account": KEYS[request.headers["X-Api-Key"]]}
