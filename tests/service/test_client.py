"""The client against the OpenAPI document, and against a service."""

from __future__ import annotations

import inspect
import json
import pickle
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from cidrgate import Entry, EntryDetails, NewEntry, client as package, errors
from cidrgate.client import ApiConnectionError, ApiConnectionLostError, ApiError, Client, UnconfirmedError
from cidrgate.client.requests import declared_accounts, submission
from cidrgate.client.values import problem_of
from cidrgate.errors import (
    AccountNotFoundError,
    CidrgateError,
    EntryNotFoundError,
    OutcomeUnknownError,
    RuleError,
    SubaccountError,
    VersionConflictError,
    WouldDisableEnforcementError,
    WouldLockOutCallerError,
)
from cidrgate.manager import DeclaredAccount
from cidrgate.problem_types import PROBLEM_TYPES
from cidrgate.serialization import problem_record
from cidrgate.service import Settings
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.limits import GREATEST_INTEGER
from tests.service.conftest import an_api
from tests.texts import HONEST
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.conftest import Api

VALUES = {
    "Account": package.AccountInfo,
    "Entry": package.EntryInfo,
    "FoundEntry": package.FoundEntryInfo,
    "EntryPage": package.ListInfo,
    "Policy": package.PolicyInfo,
    "PolicyChange": package.PolicyChangeInfo,
    "AccountDeletion": package.AccountDeletionInfo,
    "ListChange": package.ListChange,
    "DeclaredReport": package.ApplyInfo,
    "AccountChange": package.AccountChange,
    "AccountProblem": package.AccountProblem,
    "Preview": package.PreviewInfo,
    "Evaluation": package.EvaluationInfo,
    "AffectedTraffic": package.AffectedTrafficInfo,
    "AffectedNetwork": package.AffectedNetworkInfo,
    "AccountEvaluation": package.AccountEvaluationInfo,
    "TrafficTotal": package.TrafficTotalInfo,
    "Unknown": package.UnknownInfo,
    "Caller": package.CallerInfo,
    "Check": package.CheckInfo,
    "Decision": package.DecisionInfo,
    "Change": package.ChangeInfo,
    "Origin": package.OriginInfo,
    "CreatedToken": package.TokenInfo,
    "Link": package.LinkInfo,
    "Session": package.SessionInfo,
    "WhoAmI": package.WhoAmI,
    "Problem": package.ProblemInfo,
    "ProblemError": package.ProblemErrorInfo,
    "ProblemType": package.ProblemTypeInfo,
}
PAGED = {"limit", "cursor", "complete", "next_cursor", "last_event_id"}
"""What the client does by itself."""

OF_EVERY_METHOD = {"on_behalf_of"}
"""What `Client.for_person` says once, for every method of what it returns."""

PREVIEWS = {f"preview_{change}" for change in ("add", "edit", "remove", "replace", "restore", "undo")}
METHODS = {
    "check_address": {"check"},
    "explain_address": {"explain"},
    "preview_change": PREVIEWS,
    "recommend_list": {"recommend"},
    "restore_list": {"restore"},
    "undo_change": {"undo"},
    "get_health": {"healthz"},
    "get_readiness": {"readyz"},
    "get_metrics": {"metrics"},
}
"""The methods for the operations that the library names otherwise; the others have the name of the operation."""

ARGUMENTS = {
    "account_name": "account",
    "entry_id": "entry",
    "entry_ids": "entries",
    "if_match": "expect_version",
    "accounts": "declared",
    "force": "forced",
    "exclude": "excluded",
}
"""What the library calls the parameters of operations."""

CONFIRMED_BY_NAME = {"edit_account", "delete_account", "set_mode"}
"""The changes of an account that are no changes of its entries: what they may do has no words of Python."""


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["operationId"]: one for methods in document["paths"].values() for one in methods.values()}


def methods_of(operation: str) -> set[str]:
    return METHODS.get(operation, {operation})


def test_there_is_a_method_for_every_operation_and_no_other(api: Api) -> None:
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"close", "for_person", "changes"} == set().union(*map(methods_of, operations(api.app.openapi())))


def test_methods_take_what_operations_take(api: Api) -> None:
    document = api.app.openapi()
    for name, operation in operations(document).items():
        sent = {one["name"].lower().replace("-", "_") for one in operation.get("parameters", [])}
        sent -= PAGED | OF_EVERY_METHOD
        wanted = {ARGUMENTS.get(one, one) for one in sent}
        if "requestBody" in operation and name != "preview_change":
            [schema] = {one["schema"]["$ref"] for one in operation["requestBody"]["content"].values()}
            members = document["components"]["schemas"][schema.split("/")[-1]]["properties"]
            # Entries are one argument, in whatever way they are sent; what was read and is sent back is no argument.
            read_only = {member for member, of in members.items() if of.get("readOnly")} | {
                "items",
                "complete",
                "next_cursor",
            }
            named = {"cidrs" if member == "entries" else ARGUMENTS.get(member, member) for member in members}
            wanted |= named - read_only
        if "confirm" in wanted and name not in CONFIRMED_BY_NAME:
            # What a change may do, in words of Python: only where it can do that.
            wanted |= {"allow_lock_out"} | ({"allow_empty"} if name not in ("add_entries", "edit_entry") else set())
        for method in methods_of(name) - PREVIEWS:
            taken = set(inspect.signature(getattr(Client, method)).parameters) - {"self"}
            if "details" in taken:
                taken = taken - {"details"} | EntryDetails.__annotations__.keys()
            assert taken == wanted, method


def test_a_preview_takes_what_its_change_takes() -> None:
    changes: dict[str, Callable[..., Any]] = {
        "add": Client.add_entries,
        "replace": Client.replace_entries,
        "edit": Client.edit_entry,
        "remove": Client.remove_entries,
        "restore": Client.restore,
        "undo": Client.undo,
    }
    conditions = {"confirm", "allow_empty", "allow_lock_out", "expect_version", "idempotency_key", "if_missing"}
    for name, change in changes.items():
        wanted = [one for one in inspect.signature(change).parameters if one not in conditions]
        taken = list(inspect.signature(getattr(Client, f"preview_{name}")).parameters)
        assert "days" in taken  # of the traffic that a preview looks at
        assert [one for one in taken if one != "days"] == wanted


def test_values_have_the_fields_of_the_documents_objects(api: Api) -> None:
    schemas = api.app.openapi()["components"]["schemas"]
    for name, value in VALUES.items():
        assert {one.name for one in fields(value)} == set(schemas[name]["properties"]) - PAGED, name


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The service on a port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(api.app, port=0, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_everything_can_be_done_with_it(api: Api) -> None:
    with served(api) as url, Client(url, api.token("admin", name="ops")) as client:
        assert client.healthz()
        assert client.readyz()
        assert "cidrgate_staleness_seconds" in client.metrics()
        assert client.who_am_i() == package.WhoAmI(name="ops", scopes=["admin"], address="127.0.0.1")
        account = client.create_account("a/b.", idempotency_key="k")
        assert client.create_account("a/b.", idempotency_key="k") == account
        assert client.create_subaccount("a/b.", "sub-2").parent == "a/b."
        assert [one.name for one in client.list_subaccounts("a/b.")] == ["sub-2"]
        assert [one.name for one in client.list_subaccounts("a/b.", containing="x")] == []
        assert [one.name for one in client.list_accounts()] == ["a/b.", "acct-1", "acct-2", "sub-1", "sub-2"]
        assert [one.name for one in client.list_accounts(containing="SUB")] == ["sub-1", "sub-2"]
        assert [one.name for one in client.list_accounts(starting_with="A")] == ["a/b.", "acct-1", "acct-2"]
        assert [one.name for one in client.list_subaccounts("a/b.", starting_with="S")] == ["sub-2"]
        assert [one.name for one in client.list_accounts(parent="acct-1")] == ["sub-1"]
        end = datetime.now(UTC) + timedelta(hours=1)
        added = client.add_entries(
            "a/b.",
            ["8.8.8.0/24", {"cidr": "1.1.1.1/32", "label": "dns", "expires_at": end}],
            label="x",
            allow_lock_out=True,
        )
        first, second = added.after
        assert (first.label, second.label, second.expires_at) == ("x", "dns", end)
        assert first.created_at.tzinfo is not None
        assert first.address_count == "256"
        held = client.list_entries("sub-2")
        assert (held.items, held.list_account, held.version, held.editable) == ([second, first], "a/b.", 1, False)
        assert held.etag == added.etag == '"v1"'
        assert client.get_entry("a/b.", second.id) == client.get_entry("a/b.", "1.1.1.1/32") == second
        edited = client.edit_entry("a/b.", second.id, ip_network("1.1.1.0/24"), expires_at=None, expect_version=1)
        assert (edited.after[0].label, edited.after[0].expires_at) == ("dns", None)
        assert client.edit_entry("a/b.", edited.after[0], label=None).after[0].label is None
        with pytest.raises(VersionConflictError) as refused:
            client.remove_entry("a/b.", first.id, expect_version=1)
        assert isinstance(refused.value, ApiError)
        assert (refused.value.status, refused.value.code, refused.value.account) == (412, "version_conflict", "a/b.")
        with pytest.raises(RuleError, match=r"add the length: 9\.9\.9\.9/32") as broken:
            client.add_entries("a/b.", "9.9.9.9, 8.8.8.8/32")
        assert [(one.code, one.position, one.conflicts) for one in broken.value.problems] == [
            ("invalid_format", 0, ()),
            ("subset_exists", 1, ("8.8.8.0/24",)),
        ]
        assert client.check("a/b.", ip_address("8.8.8.8"))
        assert not client.check("a/b.", "9.9.9.9")
        explained = client.explain("sub-2", "9.9.9.9")
        assert (bool(explained), explained.list_account, explained.entry) == (False, "a/b.", None)
        seen = client.preview_remove("a/b.", [first])
        assert (bool(seen), seen.loses_access, seen.caller and seen.caller.address) == (
            True,
            ["8.8.8.0/24"],
            "127.0.0.1",
        )
        seen = client.preview_add("a/b.", "9.9.9.9")
        assert not seen
        assert [(one.code, one.suggestions) for one in seen.errors] == [("invalid_format", ["9.9.9.9/32"])]
        assert [(one.code, one.text) for one in seen.problems] == [("invalid_format", "9.9.9.9")]
        assert client.preview_replace("a/b.", [], label="x").confirm == ["disable_enforcement"]
        assert client.preview_edit("a/b.", first.id, "8.8.8.0/25").loses_access == ["8.8.8.128/25"]
        assert client.preview_restore("a/b.", GREATEST_INTEGER).errors[0].code == "change_not_found"
        assert client.replace_entries("a/b.", client.list_entries("a/b.").items).version == 3, "nothing changed"
        assert client.remove_entries("a/b.", [first]).before == [first]
        replaced = client.replace_entries("a/b.", "9.9.9.0/24", label="y", expect_version=4)
        assert [one.cidr for one in replaced.after] == ["9.9.9.0/24"]
        history = list(client.list_history("a/b."))
        assert [one.action for one in history] == ["replace", "remove", "edit", "edit", "add", "create_account"]
        newer = list(client.list_history("a/b.", after=history[4].sequence, before=history[0].sequence))
        assert newer == history[1:4]
        assert list(client.list_changes(account="a/b.")) == history
        assert len(list(client.list_changes())) > len(history)
        restored = client.restore("a/b.", history[4].sequence)
        assert [one.cidr for one in restored.after] == ["1.1.1.1/32", "8.8.8.0/24"]
        assert client.remove_entry("a/b.", "1.1.1.1/32").entry_count == 1
        made = client.create_token("reader", ["account:a/b.:read"], expires_at=end)
        assert made.token is not None
        assert made.token not in repr(made)
        with Client(url, made.token) as reader:
            assert [one.name for one in reader.list_accounts()] == ["a/b.", "sub-2"]
            assert [one.name for one in reader.list_accounts(containing="SUB")] == ["sub-2"]
        assert client.get_token(made.id).expires_at == end
        assert client.revoke_token(made.id).revoked_at is not None
        assert [one.name for one in client.list_tokens()] == ["ops", "reader"]
        with pytest.raises(ApiError) as unknown:
            client.get_token(GREATEST_INTEGER)
        assert unknown.value.code == "token_not_found"
        described = client.get_problem_type(unknown.value.code)
        assert (described.type, described.title) == (unknown.value.problem.type, unknown.value.problem.title)


def test_entries_are_found_across_accounts_in_pages_as_the_library_finds_them(api: Api) -> None:
    manager = api.manager
    end = datetime.now(UTC) + timedelta(hours=1)
    manager.add("acct-1", ["8.8.8.0/24", "2606:4700::/32"], label="dns", expires_at=end)
    manager.add("acct-2", "8.8.0.0/16", enabled=False)
    # More than the two pages that the service sends at most.
    many = [f"20.0.{number // 256}.{number % 256}/32" for number in range(0, 4200, 2)]
    manager.import_accounts({f"many-{place}": many[place::50] for place in range(50)})
    with served(api) as url, Client(url, api.token("admin")) as client:
        for asked in ("8.8.8.8", ip_address("8.8.8.8"), ip_network("8.8.8.128/25"), "2606:4700::1", "9.9.9.9"):
            found = list(client.find_entries(asked))
            assert [one.id for one in found] == [one.entry.id for one in manager.find(asked)]
            assert [(one.allows, one.subaccount_count) for one in found] == [
                (one.allows, one.subaccounts) for one in manager.find(asked)
            ]
        first, second = client.find_entries("8.8.8.8")
        assert (first.account, first.label, first.expires_at, first.subaccount_count) == ("acct-1", "dns", end, 1)
        assert (second.account, second.enabled, second.allows) == ("acct-2", False, False)
        found = list(client.find_entries(overlaps=ip_network("20.0.0.0/16")))
        assert sorted(one.cidr for one in found) == sorted(many)
        assert len({one.id for one in found}) == len(many)
        assert list(client.find_entries(overlaps="9.0.0.0/8")) == []
        for wrong in ({}, {"covers": "8.8.8.8", "overlaps": "8.8.8.8"}, {"covers": "8.8.8.8/24"}):
            with pytest.raises(ApiError) as refused:
                list(client.find_entries(**wrong))
            assert refused.value.status == 422
    with served(api) as url, Client(url, api.token("account:acct-1:read")) as own, pytest.raises(ApiError) as refused:
        list(own.find_entries("8.8.8.8"))
    assert refused.value.status == 403


def test_a_policy_is_set_with_it_and_a_wide_network_confirmed(api: Api) -> None:
    with served(api) as url, Client(url, api.token("admin")) as client:
        assert (client.get_policy().version, client.get_policy().effective["max_entries"]) == (0, 50)
        client.add_entries("acct-1", "8.8.8.8/32, 9.9.9.9/32", allow_lock_out=True)
        done = client.set_account_policy("acct-1", max_entries=1, expect_version=1)
        assert (done.account, done.version, done.over_limit) == ("acct-1", 2, ["acct-1"])
        assert client.get_account_policy("sub-1").effective["max_entries"] == 1
        with pytest.raises(VersionConflictError):
            client.set_account_policy("acct-1", expect_version=1)
        assert client.set_policy(widest_ipv4=16).stored["widest_ipv4"] == 16
        client.set_account_policy("acct-1")
        with pytest.raises(UnconfirmedError) as wide:
            client.add_entries("acct-1", "20.0.0.0/8")
        assert wide.value.confirm == ("wide_entry",)
        client.add_entries("acct-1", "20.0.0.0/8", confirm=wide.value.confirm)
        assert client.check("sub-1", "20.1.1.1")


def test_an_error_of_the_service_is_the_librarys_error_too(api: Api) -> None:
    with served(api) as url, Client(url, api.token("admin")) as client:
        with pytest.raises(AccountNotFoundError) as account:
            client.list_entries("nobody")
        assert account.value.account == "nobody"
        with pytest.raises(EntryNotFoundError) as entry:
            client.get_entry("acct-1", 99)
        assert (entry.value.entry, isinstance(entry.value, LookupError)) == (99, True)
        with pytest.raises(EntryNotFoundError, match=r"does not list '9\.9\.9\.9/32'"):
            client.remove_entry("acct-1", "9.9.9.9/32")
        with pytest.raises(SubaccountError) as inherited:
            client.add_entries("sub-1", "8.8.8.0/24")
        assert (inherited.value.account, inherited.value.parent) == ("sub-1", "acct-1")
        with pytest.raises(WouldLockOutCallerError) as lock_out:
            client.add_entries("acct-1", "8.8.8.0/24")
        assert isinstance(lock_out.value, UnconfirmedError)
        assert lock_out.value.confirm == ("lock_out",)
        assert lock_out.value.address in lock_out.value.consequence
        client.add_entries("acct-1", "8.8.8.0/24", confirm=lock_out.value.confirm)
        with pytest.raises(WouldDisableEnforcementError):
            client.replace_entries("acct-1", [])
        for error in (account.value, entry.value, lock_out.value):
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), again.problem) == (type(error), str(error), error.problem)
            assert vars(again) == vars(error)


def test_there_is_a_class_for_every_code_that_the_library_shares() -> None:
    for kind in PROBLEM_TYPES:
        # A class that groups others is only raised as one of them.
        if kind.error is None or kind.error in (
            errors.NotFoundError,
            errors.ConflictError,
            errors.UnconfirmedChangeError,
        ):
            assert kind.code not in ApiError.kinds
            continue
        made = ApiError.kinds[kind.code]
        assert made.__name__ == f"Api{kind.error.__name__}"
        assert issubclass(made, ApiError)
        assert issubclass(made, kind.error)
        for base in (ValueError, LookupError):
            assert issubclass(made, base) == issubclass(kind.error, base)
    assert all(issubclass(kind, CidrgateError) for kind in ApiError.kinds.values())


LISTED = Entry(
    id=7, account="a", cidr="8.8.8.0/24", label="dns", created_at=datetime(2026, 1, 2, tzinfo=UTC), created_by="me"
)
NEW = {"cidr": "8.8.8.0/24", **NewEntry.of(LISTED).details()}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("8.8.8.0/24, 1.1.1.1/32", {"cidrs": "8.8.8.0/24, 1.1.1.1/32"}),
        (["8.8.8.0/24", "1.1.1.1/32\n9.9.9.9/32, "], ["8.8.8.0/24", "1.1.1.1/32", "9.9.9.9/32"]),
        (ip_network("8.8.8.0/24"), ["8.8.8.0/24"]),
        ([ip_network("2606:4700::/32"), ip_address("8.8.8.8")], ["2606:4700::/32", "8.8.8.8/32"]),
        (NewEntry("8.8.8.0/24"), ["8.8.8.0/24"]),
        ({"cidr": "8.8.8.0/24", "label": "dns"}, {"entries": [{"cidr": "8.8.8.0/24", "label": "dns"}]}),
        (
            [LISTED],
            {"entries": [NEW]},
        ),
        ((one for one in ["8.8.8.0/24"]), ["8.8.8.0/24"]),
        ([], {"entries": []}),
    ],
)
def test_entries_may_be_given_in_every_form_that_the_library_takes(given: Any, sent: Any) -> None:
    expected = sent if isinstance(sent, dict) else {"entries": [{"cidr": cidr} for cidr in sent]}
    assert submission(given, {}) == expected


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("8.8.8.0/24, 1.1.1.1/32", {"entries": [{"cidr": "8.8.8.0/24"}, {"cidr": "1.1.1.1/32"}]}),
        ([], {"entries": []}),
        (NewEntry("8.8.8.0/24", label="dns"), {"entries": [{"cidr": "8.8.8.0/24", "label": "dns"}]}),
        ({"cidr": "8.8.8.0/24", "label": "dns"}, {"entries": [{"cidr": "8.8.8.0/24", "label": "dns"}]}),
        ({"parent": "acct-1"}, {"parent": "acct-1"}),
        ({"entries": ip_network("8.8.8.0/24"), "parent": None}, {"entries": [{"cidr": "8.8.8.0/24"}], "parent": None}),
        (DeclaredAccount(entries=[LISTED]), {"entries": [NEW]}),
        (DeclaredAccount(entries=""), {"entries": []}),
        (DeclaredAccount(parent="acct-1"), {"parent": "acct-1"}),
        (DeclaredAccount(), {}),
    ],
)
def test_an_account_may_be_declared_in_every_form_that_the_library_takes(given: Any, sent: Any) -> None:
    assert declared_accounts({"a": given}) == {"a": sent}


def test_what_is_no_declaration_is_refused_before_it_is_sent() -> None:
    client = mocked(lambda _: httpx.Response(500))
    wrongs: list[Any] = [None, [("a", [])], "8.8.8.0/24", {"a": None}, {"a": 7}, {"a": {"entries": 7}}]
    for wrong in wrongs:
        with pytest.raises(TypeError, match=r"mapping from accounts|the entries of an account|an entry must be"):
            client.apply_lists(wrong)


ONE_FOR_SEVERAL: dict[str, tuple[str, Callable[[Client, Any], object]]] = {
    "create_token": ("scopes", lambda client, one: client.create_token("x", one)),
    "create_link": ("scopes", lambda client, one: client.create_link("x", one)),
    "recommend, forced": ("forced", lambda client, one: client.recommend("a", forced=one)),
    "recommend, excluded": ("excluded", lambda client, one: client.recommend("a", excluded=one)),
    "remove_entries": ("entries", lambda client, one: client.remove_entries("a", one)),
}


@pytest.mark.parametrize(("name", "call"), ONE_FOR_SEVERAL.values(), ids=ONE_FOR_SEVERAL)
def test_one_text_or_network_does_not_count_as_several(name: str, call: Callable[[Client, Any], object]) -> None:
    client = mocked(lambda _: httpx.Response(500))
    for one in ("admin", b"admin", ip_network("8.8.8.0/24"), ip_network("2606:4700::/32")):
        with pytest.raises(TypeError, match=f"(?i){name}"):
            call(client, one)


def test_what_is_no_entry_is_refused() -> None:
    for wrong in (7, None, [7], [None], [b"8.8.8.0/24"]):
        with pytest.raises(TypeError):
            submission(wrong, {})  # type: ignore[arg-type]


def mocked(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://x/below/", "t", http=httpx.Client(transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST)
def test_a_text_of_a_subclass_of_str_is_sent_as_its_text(make: Callable[[str], str]) -> None:
    def sent(make: Callable[[str], str]) -> list[tuple[str, str, bytes]]:
        requests: list[tuple[str, str, bytes]] = []

        def answer(request: httpx.Request) -> httpx.Response:
            requests.append((request.method, str(request.url), request.content))
            return httpx.Response(403, json={"title": "refused", "status": 403, "code": "forbidden"})

        client = mocked(answer)
        account, address, network = make("a.ß/b"), make("8.8.8.8"), make("8.8.8.0/24")
        calls: list[Callable[[], object]] = [
            lambda: client.get_account(account),
            lambda: client.explain(account, address),
            lambda: client.check(account, address),
            lambda: list(client.list_subaccounts(account)),
            lambda: list(client.find_entries(covers=address)),
            lambda: list(client.find_entries(overlaps=network)),
            lambda: list(client.list_accounts(parent=account, starting_with=account)),
            lambda: client.create_account(account, parent=account),
            lambda: client.add_entries(account, network),
            lambda: client.replace_entries(account, [network]),
            lambda: client.edit_account(account, name=account),
        ]
        for call in calls:
            with pytest.raises(CidrgateError):
                call()
        assert len(requests) == len(calls)
        return requests

    assert sent(make) == sent(str)


def test_an_answer_that_is_not_the_services_is_an_error_too() -> None:
    answers: list[tuple[bytes, dict[str, str]]] = [
        (b"<html>", {}),
        (b"[]", {}),
        (b'{"code": 1}', {"Retry-After": "7"}),
        (b'{"type": "about:blank", "title": "Bad Gateway", "status": 502, "detail": "no"}', {}),
    ]
    for body, headers in answers:
        client = mocked(lambda _: httpx.Response(502, content=body, headers=headers))  # noqa: B023
        with pytest.raises(ApiError, match="the answer 502") as error:
            client.who_am_i()
        assert error.value.retry_after == (7.0 if headers else None)
        assert error.value.code == "http_error"
    for body in (b"<html>", b"[]", b""):
        client = mocked(lambda _: httpx.Response(200, content=body))  # noqa: B023
        with pytest.raises(ApiError, match="the answer 200 is no"):
            client.who_am_i()


def test_members_and_codes_of_a_later_service_are_accepted() -> None:
    problem = {
        "type": "/problems/new_code",
        "title": "New",
        "status": 409,
        "detail": "it is new",
        "code": "new_code",
        "errors": [{"code": "new", "detail": "wrong", "more": {}}],
        "new_member": 1,
    }
    client = mocked(lambda _: httpx.Response(409, json=problem, headers={"X-Request-ID": "req-42"}))
    with pytest.raises(ApiError, match="it is new") as error:
        client.who_am_i()
    assert (type(error.value), error.value.code, error.value.request_id) == (ApiError, "new_code", "req-42")
    assert [(one.code, one.detail) for one in error.value.problem.errors] == [("new", "wrong")]


def test_an_httpx_client_of_the_caller_stays_as_it_is() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"name": "ops", "scopes": [], "address": None})

    own = httpx.Client(
        base_url="http://elsewhere/",
        headers={"Authorization": "own", "X-Own": "1"},
        transport=httpx.MockTransport(answer),
    )
    with Client("http://x/below/", "t", http=own) as client:
        client.who_am_i()
        assert repr(client) == "Client('http://x/below')"
    assert not own.is_closed
    assert (str(own.base_url), own.headers["Authorization"]) == ("http://elsewhere/", "own")
    assert (str(seen[0].url), seen[0].headers["Authorization"]) == ("http://x/below/v1/me", "Bearer t")
    assert seen[0].headers["X-Own"] == "1"
    with Client("http://x", "t") as owned:
        inside = owned._http
    assert inside.is_closed


class Between(httpx.Client):
    """Does something after each response that a test is about; `loses` says whether that response is lost then."""

    def __init__(self, does: Callable[[], object], *, after: str, loses: bool = False) -> None:
        super().__init__(timeout=15)
        self._does, self._after, self._loses = does, after, loses
        self.calls = 0

    def send(self, request: httpx.Request, **named: Any) -> httpx.Response:
        response = super().send(request, **named)
        if request.method == self._after and (not self._loses or self.calls == 0):
            self.calls += 1
            self._does()
            if self._loses:
                raise httpx.ReadError("connection reset")
        return response


def test_a_list_that_changes_between_its_pages_is_read_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.client.api._PAGE", 2)
    manager = api.manager
    manager.add("acct-1", [f"8.8.{number}.0/24" for number in range(5)])
    removals = iter(["8.8.0.0/24", "8.8.3.0/24"])

    def remove() -> None:
        for cidr in removals:
            manager.remove("acct-1", cidr)
            return

    with served(api) as url:
        for account in ("acct-1", "sub-1"):
            with Between(remove, after="GET") as http:
                held = Client(url, api.token("admin"), http=http).list_entries(account)
            assert [one.cidr for one in held.items] == [one.cidr for one in manager.entries("acct-1")]
            assert (held.version, held.etag) == (3, '"v3"')
        with Client(url, api.token("admin")) as client:
            replaced = client.replace_entries("acct-1", held.items, expect_version=held.version, allow_lock_out=True)
        assert (replaced.before, replaced.after) == ([], [])


def test_a_list_that_never_stays_the_same_is_an_error_that_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cidrgate.client.api._PAGE", 2)
    api.manager.add("acct-1", [f"8.8.{number}.0/24" for number in range(5)])
    labels = map(str, range(100))
    between = Between(lambda: api.manager.edit("acct-1", "8.8.0.0/24", label=next(labels)), after="GET")
    with served(api) as url, between, pytest.raises(VersionConflictError, match="has changed since") as error:
        Client(url, api.token("admin"), http=between).list_entries("acct-1")
    assert (error.value.account, isinstance(error.value, ApiError)) == ("acct-1", True)
    assert between.calls == 10, "five times two pages"


def test_a_change_whose_response_is_lost_is_made_once(api: Api) -> None:
    manager, credentials = api.manager, api.credentials
    manager.add("acct-1", "8.8.8.0/24")
    wanted = ["8.8.8.0/24", "9.9.9.0/24"]

    def undone() -> None:
        manager.remove("acct-1", "9.9.9.0/24", actor="security")

    other = credentials.create_token("other", [Scope("admin")]).token
    with served(api) as url, ExitStack() as stack:

        def losing(does: Callable[[], object], method: str) -> Client:
            http = stack.enter_context(Between(does, after=method, loses=True))
            return Client(url, api.token("admin"), http=http)

        for expected in (None, {"acct-1": manager.account("acct-1").version + 2}):
            made = losing(undone, "PUT").apply_lists({"acct-1": wanted}, allow_lock_out=True, expect_versions=expected)
            assert ([one.cidr for one in made.changes[0].after], made.problems) == (["9.9.9.0/24"], [])
            assert [one.cidr for one in manager.entries("acct-1")] == ["8.8.8.0/24"]
        session = credentials.session(credentials.begin_session(other, lifetime=3600))
        assert session is not None
        assert losing(int, "DELETE").end_session(session.id).id == session.id
        assert losing(int, "DELETE").revoke_token(other.id).id == other.id
    assert [one.action for one in manager.changes()].count("revoke_token") == 1


def test_a_connection_that_fails_is_an_error_of_the_package() -> None:
    def failing(*failures: Exception | None) -> Client:
        waiting = list(failures)

        def answer(_: httpx.Request) -> httpx.Response:
            failure = waiting.pop(0)
            if failure is not None:
                raise failure
            return httpx.Response(200, json={})

        return mocked(answer)

    reads: list[Callable[[Client], Any]] = [Client.who_am_i, Client.metrics, Client.readyz, Client.healthz]
    for read in reads:
        for failure in (httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.DecodingError("no gzip")):
            with pytest.raises(ApiConnectionError, match="could not be reached") as error:
                read(failing(failure))
            assert error.value.__cause__ is failure
            assert not isinstance(error.value, OutcomeUnknownError)
    with pytest.raises(ApiConnectionError) as unsent:
        failing(httpx.ConnectError("refused")).create_account("a")
    assert not isinstance(unsent.value, OutcomeUnknownError)
    for first in (httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("closed")):
        with pytest.raises(OutcomeUnknownError, match="may be made or not") as lost:
            failing(first, httpx.ConnectError("refused")).create_account("a")
        assert isinstance(lost.value, ApiConnectionLostError)
    with pytest.raises(ApiConnectionError):
        Client("http://[", "t").who_am_i()
    with pytest.raises(ApiConnectionError):
        Client("ftp://x", "t").create_account("a")


def answers_of(*responses: httpx.Response | Exception) -> Client:
    waiting = list(responses)

    def answer(_: httpx.Request) -> httpx.Response:
        response = waiting.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    return mocked(answer)


def problem_response(status: int, code: str) -> httpx.Response:
    body = {"type": f"/problems/{code}", "title": "T", "status": status, "detail": "what is wrong", "code": code}
    return httpx.Response(status, json=body | {"errors": []})


LOST = [
    httpx.ReadTimeout("slow"),
    httpx.Response(502, text="<h1>Bad Gateway</h1>"),
    httpx.Response(504, json={"message": "upstream timed out"}),
    problem_response(503, "outcome_unknown"),
]
"""What leaves the outcome of a change open."""


@pytest.mark.parametrize("first", LOST, ids=str)
@pytest.mark.parametrize(
    "second",
    [
        httpx.Response(504),
        problem_response(503, "store_unavailable"),
        problem_response(500, "internal_error"),
        problem_response(503, "outcome_unknown"),
        problem_response(401, "unauthorized"),
        problem_response(403, "address_not_allowed"),
        problem_response(429, "too_many_failures"),
    ],
    ids=str,
)
def test_a_second_attempt_that_tells_nothing_of_the_first_leaves_the_outcome_open(
    first: httpx.Response | Exception, second: httpx.Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.client.api._PAUSE", 0.0)
    with pytest.raises(OutcomeUnknownError):
        answers_of(first, second).create_account("a")


@pytest.mark.parametrize("first", LOST, ids=str)
def test_a_second_attempt_that_finds_the_first_tells_what_became_of_it(
    first: httpx.Response | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.client.api._PAUSE", 0.0)
    made = {"name": "a", "parent": None, "entry_count": 0, "enforced": False, "version": 0}
    done = httpx.Response(201, json=made | {"created_at": "2026-01-02T00:00:00+00:00"})
    assert answers_of(first, problem_response(409, "idempotency_in_progress"), done).create_account("a").name == "a"
    with pytest.raises(ApiError) as refused:
        answers_of(first, problem_response(409, "account_exists")).create_account("a")
    assert not isinstance(refused.value, OutcomeUnknownError)


def test_what_is_no_address_is_not_asked_about() -> None:
    wrongs: list[Any] = [None, 7, b"\x08\x08\x08\x08", ["8.8.8.8"]]
    for wrong in wrongs:
        for ask in (Client.check, Client.explain):
            with pytest.raises(TypeError, match="an address must be"):
                ask(answers_of(), "acct-1", wrong)


def test_a_denial_in_front_of_the_service_is_told_with_its_id() -> None:
    for api in an_api("memory://", Settings(allow=("203.0.113.0/24",))):
        with served(api) as url, Client(url, api.token("admin")) as client:
            with pytest.raises(ApiError) as denied:
                client.who_am_i()
            problem = denied.value.problem
            assert (denied.value.code, problem.address) == ("address_not_allowed", "127.0.0.1")
            assert denied.value.request_id == problem.request_id
            assert client.get_problem_type("address_not_allowed").status == 403


def test_a_confirmation_is_a_name_and_nothing_else() -> None:
    for old in (True, False, "lock_out"):
        with pytest.raises(TypeError, match="collection of names"):
            mocked(lambda _: httpx.Response(500)).remove_entry("acct-1", 1, confirm=old)  # type: ignore[arg-type]
    for one in (7, "8.8.8.0/24"):
        with pytest.raises(TypeError, match="as a collection"):
            mocked(lambda _: httpx.Response(500)).remove_entries("acct-1", one)  # type: ignore[arg-type]


def test_problems_as_json_are_those_of_the_library() -> None:
    broken = errors.Problem(
        code="subset_exists",
        text="8.8.8.8/32",
        position=3,
        conflicts=("8.8.8.0/24",),
        hint="remove it",
        more_conflicts=2,
        suggestions=("8.8.8.0/24", "1.1.1.1/32, 9.9.9.9/32"),
    )
    record = {"type": "", "title": "", "status": 422, "detail": "", "code": "rules_broken"}
    made = problem_of(json.loads(json.dumps({**record, "errors": [problem_record(broken)]})))
    assert made.rules() == [broken]
