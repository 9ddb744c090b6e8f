"""The edges, each as one way to ask for any change: what it says when it is refused, and how it is confirmed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import httpx

from cidrgate import NewEntry, UnconfirmedChangeError
from cidrgate.client import ApiError, Client, UnconfirmedError
from cidrgate.errors import CidrgateError
from cidrgate.manager.outcomes import Guard
from cidrgate.service.auth.values import Scope
from tests.command_line import typed
from tests.guards.cases import CALLER, Asked, World
from tests.guards.operations import COMMANDS, LIBRARY, METHODS, PAGES, ROUTES

if TYPE_CHECKING:
    from tests.guards.operations import Rows

__all__ = ["EDGES", "PROBLEMS", "Edge", "Programs", "Refusal", "Rest"]


@dataclass(frozen=True)
class Refusal:
    """How an edge refused a change."""

    told: str
    confirm: tuple[str, ...] = ()


class Edge(Protocol):
    """One way to ask for changes.

    Attributes:
        rows: Its operations, by what they are called there.
        says: What it tells people to do about a guard, as a pattern.
        wrong: Confirmations that mean nothing, or something else, or meant something once.
    """

    rows: ClassVar[Rows]
    says: ClassVar[dict[str, str]]
    wrong: ClassVar[dict[str, list[Any]]]

    def excuse(self, guard: str, what: str) -> str | None:
        """Why a guard cannot be met here, though it can be elsewhere."""

    def ask(self, world: World, row: str, asked: Asked, confirm: Any = ()) -> Refusal | None:
        """Ask for a change."""


def edited(asked: Asked) -> dict[str, Any]:
    """What a change changes of an account."""
    return {"name": asked.new} if asked.what == "rename_account" else {"parent": asked.parent}


def entries_of(asked: Asked) -> list[NewEntry]:
    return [NewEntry(asked.cidrs)] if asked.cidrs else []


class Library:
    """Python, in the process that has the store."""

    rows: ClassVar[Rows] = LIBRARY
    says: ClassVar[dict[str, str]] = {
        Guard.DISABLE_ENFORCEMENT: r"allow_empty=True|pass confirmed=\{'disable_enforcement'\}",
        Guard.LOCK_OUT: r"list it too, or pass confirmed=\{'lock_out'\}",
        Guard.OTHER_LIST: r"pass confirmed=\{'other_list'\}",
        Guard.WIDE_ENTRY: r"8.0.0.0/7 is wider .* pass confirmed=\{'wide_entry'\}",
        "unknown_account": r"create it first",
        "subaccount": r"change 'acct-1' instead|choose 'acct-1' as the parent",
        "version": r"read it again",
    }
    wrong: ClassVar[dict[str, list[Any]]] = {
        Guard.DISABLE_ENFORCEMENT: [("lock_out",)],
        Guard.LOCK_OUT: [("disable_enforcement",)],
        Guard.OTHER_LIST: [("disable_enforcement", "lock_out")],
        Guard.WIDE_ENTRY: [("disable_enforcement", "lock_out", "other_list")],
    }

    def excuse(self, guard: str, what: str) -> str | None:
        return None

    def ask(self, world: World, row: str, asked: Asked, confirm: Any = ()) -> Refusal | None:
        # Whoever calls says where they are; what was confirmed is said as people say it.
        said = set(confirm) - {Guard.DISABLE_ENFORCEMENT}
        manager = world.manager.with_hooks(address=CALLER, confirmed=said)
        empty: dict[str, Any] = {"allow_empty": Guard.DISABLE_ENFORCEMENT in confirm}
        version: dict[str, Any] = {"expect_version": asked.version}
        mode: dict[str, Any] = {"confirmed": confirm, **version}
        account, which = asked.account, asked.entry
        try:
            match row.rpartition(".")[2]:
                case "add":
                    manager.add(account, asked.cidrs, **version)
                case "edit":
                    manager.edit(account, which, asked.cidrs, **version)
                case "remove":
                    manager.remove(account, which, **version, **empty)
                case "replace":
                    manager.replace(account, asked.cidrs, **version, **empty)
                case "restore":
                    manager.restore(account, to_sequence=asked.sequence, **version, **empty)
                case "set_mode":
                    manager.set_mode(account, asked.mode, **mode)
                case "pause":
                    manager.pause(account, for_=3600, **mode)
                case "resume":
                    manager.resume(account, **version)
                case "undo":
                    manager.undo(account, asked.sequence, **version, **empty)
                case "import_accounts":
                    report = manager.import_accounts({account: entries_of(asked)}, replace=True, **empty)
                    for problem in report.problems.values():
                        raise problem
                case "apply":
                    versions = {} if asked.version is None else {account: asked.version}
                    declared = {account: asked.cidrs.split()}
                    applied = manager.apply(declared, prune=True, expect_versions=versions, **empty)
                    for problem in applied.problems.values():
                        raise problem
                case "create_account":
                    manager.create_account(account, parent=asked.parent)
                case "rename_account":
                    manager.rename_account(account, asked.new, **version, confirmed=confirm)
                case "edit_account":
                    manager.edit_account(account, **edited(asked), **version, confirmed=confirm)
                case "delete_account":
                    manager.delete_account(account, **version, confirmed=confirm)
                case "create_token":
                    world.credentials.create_token("new", [Scope.parse(asked.scope)])
                case "create_token_in":
                    with world.manager._store.write() as transaction:
                        world.credentials.create_token_in(transaction, "new", [Scope.parse(asked.scope)])
                case "create_link":
                    world.credentials.create_link("new", [Scope.parse(asked.scope)], lifetime=timedelta(hours=12))
                case "create_link_in":
                    scopes, end = [Scope.parse(asked.scope)], datetime.now(UTC) + timedelta(hours=12)
                    with world.manager._store.write() as transaction:
                        world.credentials.create_link_in(transaction, "new", scopes, expires_at=end)
                case other:
                    raise AssertionError(other)
        except UnconfirmedChangeError as error:
            return Refusal(f"{error.account}: {error}", error.confirm)
        except CidrgateError as error:
            return Refusal(str(error))
        return None


class Commands:
    """The shell."""

    rows: ClassVar[Rows] = COMMANDS
    says: ClassVar[dict[str, str]] = {
        **Library.says,
        Guard.DISABLE_ENFORCEMENT: r"say (--empty|--confirm disable_enforcement)",
        Guard.OTHER_LIST: r"say --confirm other_list",
        Guard.WIDE_ENTRY: r"confirm(ed=\{'|\s+)wide_entry",
    }
    wrong: ClassVar[dict[str, list[Any]]] = {
        Guard.DISABLE_ENFORCEMENT: [],
        Guard.OTHER_LIST: [("lock_out",)],
        Guard.WIDE_ENTRY: [("lock_out",)],
    }

    def excuse(self, guard: str, what: str) -> str | None:
        if guard == Guard.LOCK_OUT:
            return "whoever types a command is at no address that calls the API"
        if guard == Guard.DISABLE_ENFORCEMENT and what == "import":
            return "a file has a network in every row, so that no list in it is empty: see the test of such rows"
        return None

    def ask(self, world: World, row: str, asked: Asked, confirm: Any = ()) -> Refusal | None:
        version = [] if asked.version is None else ["--expect-version", str(asked.version)]
        empty = ["--empty"] if Guard.DISABLE_ENFORCEMENT in confirm else []
        confirmed = [part for name in confirm for part in ("--confirm", str(name))]
        guards = [] if Guard.DISABLE_ENFORCEMENT in confirm else confirmed
        file = world.path.with_name("lists.csv")
        file.write_text(f"account,cidr\n{asked.account},{asked.cidrs}\n")
        declared = world.path.with_name("lists.json")
        declared.write_text(json.dumps({"accounts": {asked.account: {"entries": asked.cidrs.split()}}}))
        plan = world.path.with_name("plan.json")
        if asked.version is not None:
            planned_now = json.loads(typed(["plan", str(declared), "--prune", "--json", "-d", str(world.path)]).stdout)
            plan.write_text(json.dumps({**planned_now, "versions": {asked.account: asked.version}}))
        planned = [] if asked.version is None else ["--planned", str(plan)]
        arguments = {
            "apply": [str(declared), "--prune", "--yes", *planned, *empty, *guards],
            "add": [asked.account, asked.cidrs, *version, *guards],
            "edit": [asked.account, asked.entry, asked.cidrs, *version, *guards],
            "remove": [asked.account, asked.entry, *version, *empty],
            "replace": [asked.account, *([asked.cidrs] if asked.cidrs else []), *version, *empty, *guards],
            "restore": [asked.account, "--to-sequence", str(asked.sequence), *version, *empty],
            "mode": [asked.account, asked.mode, *version, *confirmed],
            "pause": [asked.account, "--for", "1h", *version, *confirmed],
            "resume": [asked.account, *version],
            "undo": [asked.account, str(asked.sequence), *version, *empty],
            "import": [str(file), "--replace", *guards],
            "account create": [asked.account, *([] if asked.parent is None else ["--parent", asked.parent])],
            "account rename": [asked.account, asked.new, *version, *confirmed],
            "account edit": [
                asked.account,
                *(["--no-parent"] if asked.parent is None else ["--parent", asked.parent]),
                *version,
                *confirmed,
            ],
            "account delete": [asked.account, *version, *confirmed],
            "token create": ["new", "--scope", asked.scope],
        }[row.removeprefix("entry ")]
        result = typed([*row.split(), *arguments, "-d", str(world.path)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        if result.exit_code == 0:
            return None
        assert result.exit_code in (3, 4, 5)
        again = typed([*row.split(), *arguments, "-d", str(world.path), "--json"])
        assert again.exit_code == result.exit_code, "it is refused each time"
        needed = tuple(guard.value for guard in Guard if PROBLEMS[guard] in again.stderr)
        return Refusal(result.stderr, needed)


PROBLEMS = {
    Guard.DISABLE_ENFORCEMENT: "would_disable_enforcement",
    Guard.LOCK_OUT: "would_lock_out_caller",
    Guard.OTHER_LIST: "would_use_other_list",
    Guard.WIDE_ENTRY: "would_add_wide_entry",
    "unknown_account": "account_not_found",
    "subaccount": "list_inherited",
    "version": "version_conflict",
}
HTTP_SAYS = {
    **Library.says,
    Guard.DISABLE_ENFORCEMENT: r"confirm=disable_enforcement",
    Guard.LOCK_OUT: r"confirm=lock_out",
    Guard.OTHER_LIST: r"confirm=other_list",
    Guard.WIDE_ENTRY: r"confirm=wide_entry",
    "unknown_account": r"there is no account 'nope'",
}


class Rest:
    """HTTP."""

    rows: ClassVar[Rows] = ROUTES
    says: ClassVar[dict[str, str]] = HTTP_SAYS
    wrong: ClassVar[dict[str, list[Any]]] = {
        Guard.DISABLE_ENFORCEMENT: [("lock_out",), ("true",), ("ends",), ("lock_out", "true")],
        Guard.LOCK_OUT: [("disable_enforcement",), ("true",), ("1",)],
        Guard.OTHER_LIST: [("disable_enforcement",), ("true",)],
        Guard.WIDE_ENTRY: [("lock_out",), ("true",)],
    }

    def excuse(self, guard: str, what: str) -> str | None:
        return None

    def ask(self, world: World, row: str, asked: Asked, confirm: Any = ()) -> Refusal | None:
        method, _, path = row.partition(" ")
        entry = world.id_of("acct-1" if asked.account == "sub-1" else asked.account, asked.entry) if asked.entry else 0
        account = asked.parent if path.endswith("subaccounts") else asked.account
        bodies: dict[str, object] = {
            "add": {"cidrs": asked.cidrs},
            "edit": {"cidr": asked.cidrs},
            "remove": None,
            "replace": {"cidrs": asked.cidrs},
            "restore": {"to_sequence": asked.sequence},
            "set_mode": {"mode": asked.mode},
            "undo": None,
            "create_account": {"name": asked.account, "parent": asked.parent},
            "create_token": {"name": "new", "scopes": [asked.scope]},
            "create_link": {"name": "new", "scopes": [asked.scope]},
            "rename_account": edited(asked),
            "move_account": edited(asked),
            "leave_parent": edited(asked),
            "delete_account": None,
            "apply": {
                "accounts": {asked.account: {"entries": [{"cidr": cidr} for cidr in asked.cidrs.split()]}},
                "expect_versions": {} if asked.version is None else {asked.account: asked.version},
            },
        }
        body = {"name": asked.account} if path.endswith("subaccounts") else bodies[asked.what]
        headers = {"Authorization": f"Bearer {world.token}"}
        if asked.version is not None and asked.what != "apply":
            headers["If-Match"] = f'"v{asked.version}"'
        url = path.replace("{account_name}", str(account)).replace("{entry_id}", str(entry))
        url = url.replace("{sequence}", str(max(asked.sequence, 1)))
        named = [f"entry_ids={entry}"] if path.endswith("entries") and asked.what == "remove" else []
        named += ["prune=true"] if asked.what == "apply" else []
        query = "&".join([*named, *(f"confirm={name}" for name in confirm)])
        answer = world.client.request(method, f"{url}?{query}" if query else url, json=body, headers=headers)
        problem = answer.json() if answer.content else {}
        if answer.is_success and asked.what == "apply" and problem["problems"]:
            [one] = problem["problems"]
            return Refusal(f"{one['code']}: {one['detail']}", tuple(one["confirm"]))
        if answer.is_success:
            return None
        assert answer.status_code in (404, 409, 412, 422)
        if answer.status_code == 422:
            said = ("'disable_enforcement', 'lock_out'", "an unknown parameter")
            assert any(words in problem["detail"] for words in said), problem
            return Refusal(problem["detail"])
        assert problem["code"] in PROBLEMS.values()
        assert problem["type"] == f"/problems/{problem['code']}"
        return Refusal(f"{problem['code']}: {problem['detail']}", tuple(problem["confirm"]))


class Programs:
    """The client for Python, through to a service."""

    rows: ClassVar[Rows] = METHODS
    says: ClassVar[dict[str, str]] = HTTP_SAYS
    wrong: ClassVar[dict[str, list[Any]]] = {
        Guard.DISABLE_ENFORCEMENT: [{"allow_lock_out": True}, {"confirm": ["lock_out"]}, {"confirm": ["true"]}],
        Guard.LOCK_OUT: [{"allow_empty": True}, {"confirm": ["disable_enforcement"]}, {"confirm": ["true"]}],
        Guard.OTHER_LIST: [{"confirm": ["disable_enforcement"]}, {"confirm": ["true"]}],
        Guard.WIDE_ENTRY: [{"allow_lock_out": True}, {"confirm": ["true"]}],
    }

    def excuse(self, guard: str, what: str) -> str | None:
        return None

    def ask(self, world: World, row: str, asked: Asked, confirm: Any = ()) -> Refusal | None:
        def bridge(request: httpx.Request) -> httpx.Response:
            answer = world.client.request(
                request.method, str(request.url), content=request.content, headers=dict(request.headers)
            )
            return httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

        entry = world.id_of("acct-1" if asked.account == "sub-1" else asked.account, asked.entry) if asked.entry else 0
        # A method has no word for what its change can never do.
        said: dict[str, Any] = dict(confirm) if isinstance(confirm, dict) else {"confirm": list(confirm)}
        if "allow_lock_out" in said and row in ("edit_account", "delete_account", "set_mode"):
            said = {"confirm": [Guard.LOCK_OUT]}
        if "allow_empty" in said and row in ("add_entries", "edit_entry", "set_mode"):
            said = {"confirm": [Guard.DISABLE_ENFORCEMENT]}
        if row == "apply_lists":
            said["expect_versions"] = {} if asked.version is None else {asked.account: asked.version}
        else:
            said["expect_version"] = asked.version
        http = httpx.Client(transport=httpx.MockTransport(bridge))
        with Client("http://testserver", world.token, http=http) as client:
            try:
                match row:
                    case "add_entries" | "replace_entries":
                        getattr(client, row)(asked.account, asked.cidrs, **said)
                    case "edit_entry":
                        client.edit_entry(asked.account, entry, asked.cidrs, **said)
                    case "remove_entry":
                        client.remove_entry(asked.account, entry, **said)
                    case "remove_entries":
                        client.remove_entries(asked.account, [entry], **said)
                    case "restore_list":
                        client.restore(asked.account, asked.sequence, **said)
                    case "set_mode":
                        client.set_mode(asked.account, asked.mode, **said)
                    case "edit_account":
                        client.edit_account(asked.account, **edited(asked), **said)
                    case "delete_account":
                        client.delete_account(asked.account, **said)
                    case "apply_lists":
                        declared = {asked.account: asked.cidrs.split()}
                        for one in client.apply_lists(declared, prune=True, **said).problems:
                            return Refusal(f"{one.code}: {one.detail}", tuple(one.confirm))
                    case "undo_change":
                        client.undo(asked.account, max(asked.sequence, 1), **said)
                    case "create_account":
                        client.create_account(asked.account, parent=asked.parent)
                    case "create_subaccount":
                        client.create_subaccount(str(asked.parent), asked.account)
                    case "create_token":
                        client.create_token("new", [asked.scope])
                    case "create_link":
                        client.create_link("new", [asked.scope])
                    case other:
                        raise AssertionError(other)
            except UnconfirmedError as error:
                return Refusal(f"{error.code}: {error}", error.confirm)
            except ApiError as error:
                return Refusal(f"{error.code}: {error}")
        return None


class Console:
    """The forms of people."""

    rows: ClassVar[Rows] = PAGES
    says: ClassVar[dict[str, str]] = {
        Guard.DISABLE_ENFORCEMENT: r"Stop enforcing: every address may call|Stop enforcing the list",
        Guard.LOCK_OUT: r"you would lock yourself out",
        Guard.WIDE_ENTRY: r"List the wide network",
        Guard.OTHER_LIST: r"Let another list decide for this account",
        "unknown_account": r"There is no account “nope”",
        "subaccount": r"inherits the list of “acct-1”. Change the list there|Choose “acct-1” as the parent",
        "version": r"has changed (this|the|this account, or its) list",
    }
    wrong: ClassVar[dict[str, list[Any]]] = {
        Guard.DISABLE_ENFORCEMENT: [("lock_out",), ("ends",), ("true",), ("enable_enforcement",)],
        Guard.LOCK_OUT: [("disable_enforcement",), ("true",), ("lock-out",)],
        Guard.WIDE_ENTRY: [("lock_out",), ("true",)],
        Guard.OTHER_LIST: [("disable_enforcement",), ("true",)],
    }

    def excuse(self, guard: str, what: str) -> str | None:
        if guard == Guard.DISABLE_ENFORCEMENT and what == "replace":
            return "entries give way to new ones here, and a form without new ones is refused: see the test of it"
        if guard == Guard.LOCK_OUT and what == "replace":
            return "an entry gives way only to a network that covers it: see the test of it"
        return None

    def ask(self, world: World, row: str, asked: Asked, confirm: Any = ()) -> Refusal | None:
        owner = "acct-1" if asked.account == "sub-1" else asked.account
        listed = {entry.cidr: entry.id for entry in world.manager.entries(owner)} if asked.what[:6] != "create" else {}
        version = world.manager.account(owner).version if asked.what[:6] != "create" else 0
        data: dict[str, Any] = {
            "csrf": world.csrf,
            "account": asked.account,
            "version": version if asked.version is None else asked.version,
            "cidrs": asked.cidrs,
            "cidr": asked.cidrs,
            "entry": listed.get(asked.entry, 0),
            "replaces": [listed[asked.instead]] if asked.instead else [],
            "at": asked.sequence,
        }
        if asked.what == "set_mode":
            data |= {"mode": asked.mode, "ends": "never"}
        if asked.what == "create_account":
            data = {"csrf": world.csrf, "name": asked.account, "parent": asked.parent}
        if asked.what == "create_token":
            data = {"csrf": world.csrf, "name": "new", "may": "write", "account": asked.scope.split(":")[1]}
        if row.startswith("/accounts/") and asked.what != "create_account":
            now = world.manager.account(asked.account)
            names = {"account": now.name, "name": asked.new or now.name, "parent": asked.parent or ""}
            seen = now.version if asked.version is None else asked.version
            if asked.what == "rename_account":
                names["parent"] = now.parent or ""
            data = {"csrf": world.csrf, "version": seen, **names}
        # Who runs the service is not asked about an own address: see the test of it.
        client = world.client
        if row.startswith("/list/"):
            client, data["csrf"] = world.customer, world.customer_csrf
        answer = client.post(f"/console{row}", data=data)
        if shown_for := re.search(r'name="shown_for" value="(\w+)"', answer.text):
            # That a list begins to be enforced the console alone asks; what else must be confirmed shall show.
            data |= {"shown_for": shown_for[1], "confirm": [*confirm, "enable_enforcement"]}
            answer = client.post(f"/console{row}", data=data)
        if answer.status_code in (200, 303):
            return None
        assert answer.status_code in (409, 422), answer.text
        needed = re.findall(r'type="checkbox" name="confirm" value="(\w+)"', answer.text)
        return Refusal(answer.text, tuple(name for name in needed if name != "enable_enforcement"))


EDGES: dict[str, Edge] = {
    "library": Library(),
    "cli": Commands(),
    "api": Rest(),
    "client": Programs(),
    "console": Console(),
}
