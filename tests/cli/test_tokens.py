"""`cidrgate token`, and what `cidrgate serve` refuses before it serves."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from cidrgate.service.auth.credentials import Credentials
from cidrgate.stores import open_store

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate


def test_a_token_is_made_listed_and_revoked(cidrgate: Cidrgate) -> None:
    first = cidrgate("token", "create", "ops", "--scope", "admin").out.splitlines()
    assert "only time" in first[1]
    cidrgate("account", "create", "a")
    made = cidrgate(
        "token", "create", "x", "-s", "account:a:read", "-s", "metrics", "--expires-in", "1h", "--json"
    ).record
    assert (made["scopes"], made["created_by"]) == (["account:a:read", "metrics"], "tester")
    store = open_store(f"sqlite:///{cidrgate.database}")
    credentials = Credentials(store)
    assert [credentials.authenticate(secret) for secret in (first[0], made["token"])] == credentials.tokens()
    listed = cidrgate("token", "list")
    assert "usable until" in listed.out
    assert made["token"] not in listed.out
    assert cidrgate("token", "revoke", "1").out == "revoked token 1, ops\n"
    assert credentials.authenticate(first[0]) is None
    assert "revoked 20" in cidrgate("token", "list").out
    store.close()
    assert cidrgate("token", "revoke", "9", "--json", status=4).error["code"] == "token_not_found"
    assert "not a scope" in cidrgate("token", "create", "x", "--scope", "all", status=3).err


def test_sessions_are_listed_and_ended(cidrgate: Cidrgate) -> None:
    made = cidrgate("token", "create", "ops", "--scope", "admin", "--json").record
    store = open_store(f"sqlite:///{cidrgate.database}")
    credentials = Credentials(store)
    token = credentials.authenticate(made["token"])
    assert token is not None
    secrets = [credentials.begin_session(token, lifetime=timedelta(hours=1), address="8.8.8.8") for _ in range(3)]
    link = credentials.create_link("guest", token.scopes, lifetime=timedelta(hours=1))
    listed = cidrgate("session", "list", "--json").record["items"]
    assert [(one["name"], one["token_id"], one["address"]) for one in listed] == [("ops", 1, "8.8.8.8")] * 3
    shown = cidrgate("session", "list").out
    assert listed[0]["id"] in shown
    assert not any(secret in shown for secret in secrets)
    assert cidrgate("session", "end", listed[0]["id"]).out == f"ended session {listed[0]['id']}, of ops\n"
    assert [credentials.session(secret) is None for secret in secrets] == [False, False, True]
    assert cidrgate("session", "end", listed[0]["id"], "--json", status=4).error["code"] == "session_not_found"
    for arguments in ((), (listed[1]["id"], "--all")):
        assert "--all" in cidrgate("session", "end", *arguments, status=2).err
    assert cidrgate("session", "end", "--all").out == "ended 2 sessions\n"
    assert credentials.sessions() == []
    assert credentials.open_link(link, lifetime=timedelta(hours=1)) is None
    store.close()


def test_serve_says_what_is_wrong_before_it_serves(cidrgate: Cidrgate) -> None:
    for arguments, said in (
        (("--allow", "8.8.8.0/24", "--allow-account", "ops"), "not both"),
        (("--trusted-proxy", "10.0.0.1"), "add the length: 10.0.0.1/32"),
        (("--client-header", "x-real-ip"), "name trusted_proxies"),
        (("--allow", "8.8.8.8"), "8.8.8.8"),
        (("--public-url", "lists.example.com"), "scheme://host"),
        (("--host", "198.51.100.1"), "cannot listen on"),
        (("--allow-account", "nobody"), "there is no account 'nobody'"),
    ):
        status = 4 if "nobody" in arguments else 2
        assert said in cidrgate("serve", "--port", "0", *arguments, status=status).err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1, port {port}" in cidrgate("serve", "--port", port, status=2).err
