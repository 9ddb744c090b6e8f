"""Sessions are seen and ended at every edge, and nothing is done on the strength of what was revoked meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from cidrgate.errors import CredentialEndedError, SessionNotFoundError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope, Session
from cidrgate.service.http.pagination import cursor_after
from cidrgate.stores.idempotency import IdempotentResponseRows
from cidrgate.stores.schema import tokens
from tests.changes_of_accounts import changes_of_accounts
from tests.service.test_console_sessions import OWN_PAGE, proof, sign_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.service.auth.values import NewToken
    from tests.service.conftest import Api

HOUR = timedelta(hours=1)
ADMIN = [Scope("admin")]
WRITE = [Scope("account", "acct-1", write=True)]


def begun(credentials: Credentials, made: NewToken) -> tuple[str, Session]:
    secret = credentials.begin_session(made.token, lifetime=HOUR, address="198.51.100.7")
    session = credentials.session(secret)
    assert session is not None
    return secret, session


# ---------------------------------------------------------------------------------- what is relied on, and when


def test_a_session_is_not_begun_with_a_token_that_was_revoked_since(stored_api: Api) -> None:
    credentials = stored_api.credentials
    made = credentials.create_token("one", ADMIN)
    known = credentials.authenticate(made.secret)
    assert known is not None
    credentials.revoke_token(known.id)
    with pytest.raises(CredentialEndedError):
        credentials.begin_session(known, lifetime=HOUR)
    assert credentials.sessions() == []


def test_no_session_outlives_a_token_that_is_revoked_while_it_begins(stored_api: Api) -> None:
    credentials = stored_api.credentials
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            made = credentials.create_token("one", ADMIN)

            def begin(made: NewToken = made) -> str | None:
                try:
                    return credentials.begin_session(made.token, lifetime=HOUR)
                except CredentialEndedError:
                    return None

            tries = [pool.submit(begin) for _ in range(3)]
            revoking = pool.submit(credentials.revoke_token, made.token.id)
            tries += [pool.submit(begin) for _ in range(3)]
            revoking.result()
            secrets = [secret for one in tries if (secret := one.result()) is not None]
            assert [credentials.session(secret) for secret in secrets] == [None] * len(secrets)
    assert credentials.sessions() == []


def test_a_session_looks_at_its_token_each_time(stored_api: Api) -> None:
    """Also where the row of the session is still there, as when two transactions did not see each other."""
    credentials = stored_api.credentials
    for ended in ("revoked_at", "expires_at"):
        made = credentials.create_token("one", ADMIN)
        secret, session = begun(credentials, made)
        with stored_api.manager._store.write() as transaction:
            now = datetime.now(UTC)
            transaction.connection.execute(
                update(tokens).where(tokens.c.id == made.token.id).values({tokens.c[ended]: now})
            )
        assert credentials.session(secret) is None
        with pytest.raises(SessionNotFoundError):
            credentials.session_by_id(session.id)


def test_a_session_can_do_what_its_token_can_now(stored_api: Api) -> None:
    made = stored_api.credentials.create_token("one", ADMIN)
    secret, session = begun(stored_api.credentials, made)
    assert session.scopes == tuple(ADMIN)
    with stored_api.manager._store.write() as transaction:
        transaction.connection.execute(
            update(tokens).where(tokens.c.id == made.token.id).values(scopes=["account:acct-1:read"])
        )
    narrowed = stored_api.credentials.session(secret)
    assert narrowed is not None
    assert narrowed.scopes == (Scope("account", "acct-1"),)


def test_a_link_ends_with_the_token_it_was_made_under(stored_api: Api) -> None:
    credentials = stored_api.credentials
    issuer = credentials.create_token("issuer", ADMIN, expires_at=datetime.now(UTC) + HOUR)
    opened = credentials.create_link("guest", WRITE, lifetime=HOUR, issuer=issuer.token)
    unopened = credentials.create_link("guest", WRITE, lifetime=HOUR, issuer=issuer.token)
    secret = credentials.open_link(opened, lifetime=24 * HOUR)
    assert secret is not None
    session = credentials.session(secret)
    assert session is not None
    assert (session.by_link, session.token_id, session.scopes) == (True, issuer.token.id, tuple(WRITE))
    assert session.expires_at == issuer.token.expires_at
    credentials.revoke_token(issuer.token.id)
    assert credentials.session(secret) is None
    assert credentials.open_link(unopened, lifetime=HOUR) is None
    with pytest.raises(CredentialEndedError):
        credentials.create_link("guest", WRITE, lifetime=HOUR, issuer=issuer.token)


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "POST entries": lambda call, _: call("POST", "/v1/accounts/acct-1/entries", {"cidrs": "9.9.9.0/24"}),
    "PUT entries": lambda call, _: call("PUT", "/v1/accounts/acct-1/entries", {"cidrs": "9.9.9.0/24"}),
    "PATCH entry": lambda call, entry: call("PATCH", f"/v1/accounts/acct-1/entries/{entry}", {"label": "new"}),
    "DELETE entry": lambda call, entry: call("DELETE", f"/v1/accounts/acct-1/entries/{entry}"),
    "POST restore": lambda call, _: call("POST", "/v1/accounts/acct-1/restore", {"to_sequence": 1}),
    "POST undo": lambda call, _: call("POST", "/v1/accounts/acct-1/history/{last}/undo"),
    "POST account": lambda call, _: call("POST", "/v1/accounts", {"name": "new"}),
    "POST subaccount": lambda call, _: call("POST", "/v1/accounts/acct-1/subaccounts", {"name": "new"}),
    "POST token": lambda call, _: call("POST", "/v1/tokens", {"name": "new", "scopes": ["admin"]}),
    "DELETE token": lambda call, _: call("DELETE", "/v1/tokens/1"),
    "PUT lists": lambda call, _: call("PUT", "/v1/lists", {"accounts": {"new": {"entries": [{"cidr": "9.9.9.0/24"}]}}}),
    "PUT lists of a subaccount": lambda call, _: call("PUT", "/v1/lists", {"accounts": {"new": {"parent": "acct-1"}}}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_changed_under_a_token_that_is_revoked_meanwhile(
    stored_api: Api, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was good when the request was let in, and is not when the change would be stored."""
    kept = stored_api.credentials.create_token("kept", ADMIN)
    [entry] = stored_api.manager.add("acct-1", "8.8.8.0/24").after
    made = stored_api.credentials.create_token("one", ADMIN)
    caller = stored_api.at("198.51.100.7", made.secret)
    before = changes_of_accounts(stored_api.manager)
    last = stored_api.manager.history("acct-1", limit=1)[0].sequence
    authenticate = Credentials.authenticate

    def call(method: str, path: str, *body: Any) -> Any:
        return caller(method, path.replace("{last}", str(last)), *body)

    def then_revoked(self: Credentials, secret: str) -> object:
        found = authenticate(self, secret)
        stored_api.credentials.revoke_token(made.token.id)
        return found

    monkeypatch.setattr(Credentials, "authenticate", then_revoked)
    response = CHANGES[change](call, entry.id)
    assert response.status_code == 401, response.text
    assert response.json()["code"] == "credential_ended"
    assert changes_of_accounts(stored_api.manager) == before
    tokens = {token.name: token.revoked_at for token in stored_api.credentials.tokens()}
    assert set(tokens) == {"kept", "one"}
    assert tokens["kept"] is None
    assert kept.token.id == 1


def test_what_a_request_with_a_key_was_answered_is_not_kept_either(stored_api: Api, monkeypatch: Any) -> None:
    made = stored_api.credentials.create_token("one", ADMIN)
    caller = stored_api.at("198.51.100.7", made.secret)
    stored: list[object] = []
    monkeypatch.setattr(IdempotentResponseRows, "insert", lambda *arguments, **_: stored.append(arguments))
    authenticate = Credentials.authenticate

    def then_revoked(self: Credentials, secret: str) -> object:
        found = authenticate(self, secret)
        stored_api.credentials.revoke_token(made.token.id)
        return found

    monkeypatch.setattr(Credentials, "authenticate", then_revoked)
    response = caller("POST", "/v1/accounts", {"name": "new"}, Idempotency_Key="k")
    assert (response.status_code, stored) == (401, [])


@pytest.mark.parametrize("path", ["list/add", "accounts/new", "tokens/new", "tokens/revoke", "list/remove"])
def test_nothing_is_changed_in_a_session_that_is_ended_meanwhile(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [entry] = api.manager.add("acct-1", "8.8.8.0/24").after
    sign_in(api, api.token("admin"))
    csrf = proof(api.client.get("/console/accounts").text)
    before = changes_of_accounts(api.manager)
    session = Credentials.session

    def then_ended(self: Credentials, secret: str) -> object:
        found = session(self, secret)
        api.credentials.end_all_sessions()
        return found

    monkeypatch.setattr(Credentials, "session", then_ended)
    fields = {"csrf": csrf, "account": "acct-1", "cidrs": "9.9.9.0/24", "name": "new", "may": "admin", "token": "1"}
    fields |= {"entry": str(entry.id), "version": "1", "confirm": "lock_out"}
    response = api.client.post(
        f"/console/{path}", data=fields | {"confirm": ["enable_enforcement", "disable_enforcement", "lock_out"]}
    )
    assert response.status_code == 401, response.text
    assert changes_of_accounts(api.manager) == before
    assert [token.revoked_at for token in api.credentials.tokens()] == [None]


# ------------------------------------------------------------------------------------------- seen and ended


def test_sessions_are_seen_and_ended_by_an_admin_and_by_their_own_token(stored_api: Api) -> None:
    credentials = stored_api.credentials
    mine, other = credentials.create_token("mine", WRITE), credentials.create_token("other", WRITE)
    (secret, own), (_, others) = begun(credentials, mine), begun(credentials, other)
    me, admin = stored_api.at("198.51.100.7", mine.secret), stored_api.caller("admin")
    seen = admin.ok("GET", "/v1/sessions")["items"]
    assert [(one["id"], one["name"], one["token_id"]) for one in seen] == [
        (others.id, "other", other.token.id),
        (own.id, "mine", mine.token.id),
    ]
    assert (seen[0]["address"], seen[0]["by_link"]) == ("198.51.100.7", False)
    assert [one["id"] for one in me.ok("GET", "/v1/sessions")["items"]] == [own.id]
    assert me("DELETE", f"/v1/sessions/{others.id}").status_code == 404
    missing = me("DELETE", f"/v1/sessions/{'0' * 16}")
    assert me("DELETE", f"/v1/sessions/{others.id}").text == missing.text.replace("0" * 16, others.id)
    assert me.ok("DELETE", f"/v1/sessions/{own.id}")["id"] == own.id
    assert credentials.session(secret) is None
    assert admin.ok("DELETE", f"/v1/sessions/{others.id}")["id"] == others.id
    assert admin.ok("GET", "/v1/sessions")["items"] == []
    assert admin("DELETE", f"/v1/sessions/{own.id}").status_code == 404


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_sessions_come_in_pages(stored_api: Api, limit: int) -> None:
    credentials = stored_api.credentials
    made = credentials.create_token("one", ADMIN)
    ids = [begun(credentials, made)[1].id for _ in range(5)]
    admin = stored_api.at("198.51.100.7", made.secret)
    found: list[str] = []
    cursor = ""
    while True:
        page = admin.ok("GET", f"/v1/sessions?limit={limit}{cursor}")
        found += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ids[::-1]


def test_a_page_of_sessions_goes_on_after_one_that_has_ended(stored_api: Api) -> None:
    credentials = stored_api.credentials
    made = credentials.create_token("one", ADMIN)
    ids = [begun(credentials, made)[1].id for _ in range(4)][::-1]
    admin = stored_api.at("198.51.100.7", made.secret)
    first = admin.ok("GET", "/v1/sessions?limit=2")
    admin.ok("DELETE", f"/v1/sessions/{ids[1]}")
    second = admin.ok("GET", f"/v1/sessions?limit=2&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["items"] + second["items"]] == ids
    texts = [ids[0], "", "\n", f"2026-01-02\n{ids[0]}", f"2026-01-02T03:04:05\n{ids[0]}", f"x\n{ids[0]}"]
    for text in (*texts, f"0001-01-01T00:00:00+14:00\n{ids[0]}", f"9999-12-31T23:59:59-14:00\n{ids[0]}"):
        assert admin.problem(422, "GET", f"/v1/sessions?cursor={cursor_after(text)}")["code"] == "invalid_cursor"


def test_no_secret_of_a_session_is_told(stored_api: Api) -> None:
    made = stored_api.credentials.create_token("one", ADMIN)
    secret, session = begun(stored_api.credentials, made)
    told = stored_api.at("198.51.100.7", made.secret)("GET", "/v1/sessions").text
    assert secret not in told
    other = stored_api.at("198.51.100.9").client
    other.cookies.set("cidrgate_session", session.id)
    assert other.get("/console/accounts").status_code == 303


def test_the_page_of_sessions(api: Api) -> None:
    other = api.credentials.create_token("other", WRITE)
    _, others = begun(api.credentials, other)
    sign_in(api, api.token("account:acct-1:write", name="me"))
    page = api.client.get("/console/sessions").text
    assert "other" not in page
    csrf = proof(page)
    end = {"csrf": csrf, "session": others.id}
    assert api.client.post("/console/sessions/end", data=end).status_code == 404
    assert len(api.credentials.sessions()) == 2
    own = next(one for one in api.credentials.sessions() if one.id != others.id)
    assert api.client.post("/console/sessions/end", data={"csrf": csrf, "session": own.id}).status_code == 303
    assert api.client.get("/console/sessions").headers["location"].startswith("/console/sign-in")
    sign_in(api, api.token("admin", name="boss"))
    page = api.client.get("/console/sessions").text
    assert "other" in page
    end = {"csrf": proof(page), "session": others.id}
    assert api.client.post("/console/sessions/end", data=end).status_code == 303
    assert [one.name for one in api.credentials.sessions()] == ["boss"]


def test_a_session_of_a_link_sees_and_ends_itself(api: Api) -> None:
    link = api.credentials.create_link("guest", WRITE, lifetime=HOUR)
    api.client.post(f"/console/link/{link}", headers=OWN_PAGE)
    page = api.client.get("/console/sessions").text
    [session] = api.credentials.sessions()
    assert session.by_link
    assert "one-time link" in page
    data = {"csrf": proof(page), "session": session.id}
    assert api.client.post("/console/sessions/end", data=data).status_code == 303
    assert api.credentials.sessions() == []


def test_wrong_credentials_lock_nobody_else_out_of_the_console(api: Api) -> None:
    for _ in range(30):
        sign_in(api, "nonsense")
    good = api.token("admin")
    assert sign_in(api, good).status_code == 303
    link = api.credentials.create_link("guest", ADMIN, lifetime=HOUR)
    assert api.client.post(f"/console/link/{link}", headers=OWN_PAGE).status_code == 303
