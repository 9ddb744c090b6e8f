"""For any sequence of changes through library, API, console and command line, the log says who, when and from where.

It also replays to the store, and a reader of the feed that reconnects at any point sees each row exactly once.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings, strategies as st

from cidrgate import Change, CidrgateError, Origin, RuleManager
from cidrgate.service import Settings
from cidrgate.service.auth.values import Scope
from tests.change_log import Replay, assert_consistent
from tests.command_line import typed
from tests.length import length
from tests.new_stores import new_file
from tests.service.conftest import ADDRESS, Api, Caller, an_api
from tests.service.test_console_sessions import OWN_PAGE, proof

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer

USER = pwd.getpwuid(os.getuid()).pw_name
NETWORKS = ("8.8.8.0/24", "1.1.1.1/32", "9.9.9.0/24", "2606:4700::/32")
PEOPLE = (None, "alice", "Zoe Q.")

steps = st.lists(
    st.tuples(
        st.sampled_from(["library", "api", "console", "cli"]),
        st.sampled_from(["create", "add", "edit", "remove", "replace", "import", "token"]),
        st.sampled_from(NETWORKS),
        st.sampled_from(PEOPLE),
    ),
    max_size=12,
)


@dataclass
class World:
    """A service, somebody with a token, a person in the console, and a command line, all on one store."""

    api: Api
    url: str
    caller: Caller
    token_id: str
    session_id: str
    link_id: str
    number: int = 0

    def do(self, edge: str, what: str, cidr: str, person: str | None) -> tuple[str | None, Origin]:
        """Try one change; return who makes it, and its origin without what only the request knows."""
        self.number += 1
        actor = f"{edge}-{self.number}"
        if edge == "library":
            origin = Origin(kind="library", id=actor, on_behalf_of=person, request_id=f"r-{self.number}")
            _change(self.api.manager.with_origin(origin), what, cidr, actor)
            return actor, origin
        if edge == "cli":
            self._typed(what, cidr, actor)
            return actor, Origin(kind="cli", id=USER)
        if edge == "api":
            self._sent(what, cidr, person, f"r-{self.number}")
            return "program", Origin(
                kind="token", id=self.token_id, on_behalf_of=person, address=ADDRESS, request_id=f"r-{self.number}"
            )
        self._clicked(what)
        return "Ann", Origin(kind="session", id=self.session_id, via=f"link:{self.link_id}", address=ADDRESS)

    def _typed(self, what: str, cidr: str, actor: str) -> None:
        arguments = {
            "create": ["account", "create", f"cli-{self.number}"],
            "add": ["add", "acct-1", cidr],
            "edit": ["edit", "acct-1", cidr, "--label", actor],
            "remove": ["remove", "acct-1", cidr, "--empty"],
            "replace": ["replace", "acct-1", cidr],
            "import": ["import", "-"],
            "token": ["token", "create", actor, "--scope", "metrics"],
        }[what]
        typed_in = f"account,cidr\nacct-2,{cidr}\n" if what == "import" else None
        result = typed([*arguments, "--actor", actor], typed_in, {"CIDRGATE_DATABASE": self.url})
        assert result.exit_code in (0, 2, 3, 4), result.output

    def _sent(self, what: str, cidr: str, person: str | None, request: str) -> None:
        headers = {"X_Request_ID": request, **({} if person is None else {"On_Behalf_Of": person})}
        path = "/v1/accounts/acct-1/entries"
        held = self.api.manager.entries("acct-1")
        sent = {
            "create": ("POST", "/v1/accounts", {"name": f"api-{self.number}"}),
            "add": ("POST", path, {"cidrs": cidr}),
            "edit": ("PATCH", f"{path}/{held[0].id if held else 1}", {"label": request}),
            "remove": ("DELETE", f"{path}/{held[0].id if held else 1}", None),
            "replace": ("PUT", path, {"cidrs": cidr}),
            "import": ("PUT", "/v1/accounts/acct-2/entries", {"cidrs": cidr}),
            "token": ("POST", "/v1/tokens", {"name": request, "scopes": ["metrics"]}),
        }[what]
        assert self.caller(*sent, **headers).status_code in (200, 201, 404, 409, 422)

    def _clicked(self, what: str) -> None:
        client = self.api.client
        csrf = proof(client.get("/console/accounts").text)
        if what == "token":
            client.post("/console/tokens/new", data={"csrf": csrf, "name": f"c-{self.number}", "may": "metrics"})
        else:
            client.post("/console/accounts/new", data={"csrf": csrf, "name": f"console-{self.number}"})


def _change(manager: RuleManager, what: str, cidr: str, actor: str) -> None:
    try:
        match what:
            case "create":
                manager.create_account(actor, actor=actor)
            case "add" | "token":
                manager.add("acct-1", cidr, actor=actor)
            case "edit":
                manager.edit("acct-1", cidr, label=actor, actor=actor)
            case "remove":
                manager.remove("acct-1", cidr, actor=actor, allow_empty=True)
            case "replace":
                manager.replace("acct-1", [cidr], actor=actor)
            case "import":
                manager.import_accounts({"acct-2": cidr, "acct-3": cidr}, actor=actor)
    except CidrgateError:
        return  # refused


def check(url: str, wanted: list[tuple[str, str, str, str | None]]) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    for api in an_api(url, Settings(login_failures=10_000)):
        for name in ("acct-1", "acct-2"):
            api.manager.create_account(name)
        made = api.credentials.create_token("program", [Scope("admin")])
        link = api.credentials.create_link("Ann", [Scope("admin")], lifetime=60)
        api.client.post(f"/console/link/{link}", headers=OWN_PAGE)
        begun = api.manager.changes()[-1]
        assert begun.action == "sign_in"
        assert begun.origin is not None
        assert begun.details is not None
        world = World(
            api=api,
            url=url,
            caller=Caller(api.at(ADDRESS).client, made.secret),
            token_id=f"{made.token.id}",
            session_id=begun.details["after"]["session"],
            link_id=begun.origin.id or "",
        )
        read: list[Change] = api.manager.changes()
        for edge, what, cidr, person in wanted:
            after = read[-1].sequence
            actor, origin = world.do(edge, what, cidr, person)
            page = api.manager.changes(after=after)
            if what == "create" or (what == "token" and edge != "library"):  # nothing refuses these
                assert page
            for change in page:
                assert change.actor == actor
                assert change.origin is not None
                if edge == "console":
                    assert change.origin.request_id
                    origin = replace(origin, request_id=change.origin.request_id)
                assert change.origin == origin
                assert began <= change.at <= datetime.now(UTC) + timedelta(seconds=1)
            read += page
        assert read == api.manager.changes() == api.manager.history()[::-1]
        api.manager._replica.published.catch_up()
        assert_consistent(api.manager, Replay())


@given(steps)
@settings(max_examples=length(12, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_log_says_who_when_and_from_where_on_sqlite(
    tmp_path_factory: object, wanted: list[tuple[str, str, str, str | None]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("lists")  # type: ignore[attr-defined]
    check(new_file(folder / "lists.db"), wanted)


@given(steps)
@settings(max_examples=length(6, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_log_says_who_when_and_from_where_on_postgresql(
    shared_postgres_server: PostgresServer, wanted: list[tuple[str, str, str, str | None]]
) -> None:
    url = shared_postgres_server.take_database()
    try:
        check(url, wanted)
    finally:
        shared_postgres_server.give_back(url)
