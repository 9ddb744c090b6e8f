"""`cidrgate token`, and what `cidrgate serve` refuses before it serves."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from cidrgate.credentials import Credentials
from cidrgate.stores import open_store

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate


def test_a_token_is_made_listed_and_revoked(cidrgate: Cidrgate) -> None:
    first = cidrgate("token", "create", "ops", "--scope", "admin").out.splitlines()
    assert "only time" in first[1]
    cidrgate("account", "create", "a")
    made = cidrgate("token", "create", "x", "-s", "account:a:read", "-s", "metrics", "--expires", "1h", "--json").record
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
    assert cidrgate("token", "revoke", "9", "--json", status=2).error["code"] == "token_not_found"
    assert "no scope" in cidrgate("token", "create", "x", "--scope", "all", status=2).err


def test_serve_says_what_is_wrong_before_it_serves(cidrgate: Cidrgate) -> None:
    for arguments, said in (
        (("--allow", "8.8.8.0/24", "--allow-account", "ops"), "not both"),
        (("--trusted-proxy", "10.0.0.1"), "add the length: 10.0.0.1/32"),
        (("--client-header", "x-real-ip"), "name trusted_proxies"),
        (("--allow", "8.8.8.8"), "8.8.8.8"),
        (("--host", "198.51.100.1"), "cannot be listened on"),
        (("--allow-account", "nobody"), "there is no account 'nobody'"),
    ):
        assert said in cidrgate("serve", "--port", "0", *arguments, status=2).err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} cannot be listened on" in cidrgate("serve", "--port", port, status=2).err
