"""A store with lists, and for each guard and each kind of change a case in which the change meets the guard."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cidrgate import RuleManager
from cidrgate.manager.outcomes import Guard
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.app_client import AppClient
from tests.new_stores import copy_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cidrgate.values import Mode

__all__ = ["CALLER", "GUARDS", "OTHER", "OWN", "Asked", "Case", "World", "a_world", "sequence_of"]

CALLER = "8.8.8.8"
OWN, OTHER = "8.8.8.0/24", "9.9.9.0/24"
WIDE = "8.0.0.0/7"


@dataclass(frozen=True)
class Asked:
    """One change, as it is asked for at any edge."""

    what: str
    account: str = "acct-1"
    cidrs: str = ""
    entry: str = ""
    instead: str = ""
    sequence: int = 0
    version: int | None = None
    scope: str = ""
    parent: str | None = None
    mode: Mode = "off"
    new: str = ""


@dataclass
class World:
    """A store with lists and a service on it.

    Attributes:
        path: The store's file.
        manager: The lists.
        client: A browser at `CALLER` that is signed in, and a program when it sends the token.
        token: Of an admin.
        csrf: What the browser's forms carry.
        customer: Another browser there, of somebody who may change the three lists and nothing else.
        customer_csrf: What its forms carry.
    """

    path: Path
    manager: RuleManager
    client: AppClient
    token: str
    csrf: str
    customer: AppClient
    customer_csrf: str

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.manager._store)

    def id_of(self, account: str, cidr: str) -> int:
        return next(entry.id for entry in self.manager.entries(account) if entry.cidr == cidr)

    def everything(self) -> object:
        """Whatever a change could change."""
        accounts = self.manager.accounts()
        with self.manager._store.read() as transaction:
            links = transaction.connection.exec_driver_sql("SELECT count(*) FROM links").scalar()
        lists = {account.name: self.manager.entries(account.name) for account in accounts}
        return accounts, lists, self.manager.history(), self.credentials.tokens(), links


Case: TypeAlias = Callable[[World], Asked]


def _filled(path: Path) -> None:
    with RuleManager.open(f"sqlite:///{path}", create=True) as manager:
        for name in ("acct-1", "acct-2", "acct-3"):
            manager.create_account(name)
        manager.create_account("sub-1", parent="acct-1")
        manager.add("acct-1", OWN)
        manager.add("acct-2", OTHER)
        manager.add("acct-2", OWN)


@contextmanager
def a_world(path: Path) -> Iterator[World]:
    """Lists: acct-1 has the caller's own network, acct-2 another one too, acct-3 none; and a subaccount."""
    with RuleManager.open(copy_of(_filled, path)) as manager:
        app = create_app(manager, Settings(login_failures=10_000))
        token = Credentials(manager._store).create_token("ops", [Scope("admin")]).secret
        scopes = [Scope("account", account, write=True) for account in ("acct-1", "acct-2", "acct-3")]
        own = Credentials(manager._store).create_token("customer", scopes).secret
        with (
            AppClient(app, client=(CALLER, 50000), follow_redirects=False) as client,
            AppClient(app, client=(CALLER, 50000), follow_redirects=False) as customer,
        ):
            yield World(path, manager, client, token, _signed_in(client, token), customer, _signed_in(customer, own))


def _signed_in(client: AppClient, token: str) -> str:
    """Sign in to the console, and return what its forms are sent with."""
    client.post("/console/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
    csrf: str
    [csrf] = set(re.findall(r'name="csrf" value="([0-9a-f]{64})"', client.get("/console/accounts?q=a").text))
    return csrf


def sequence_of(world: World, account: str, position: int) -> int:
    """Return the sequence of a change of an account; position 0 is the oldest."""
    return world.manager.history(account)[::-1][position].sequence


def ends(what: str) -> Case | str:
    """A change after which acct-1 is not enforced."""
    match what:
        case "remove":
            return lambda _: Asked(what, entry=OWN)
        case "replace" | "import" | "apply":
            return lambda _: Asked(what)
        case "restore":
            return lambda world: Asked(what, sequence=sequence_of(world, "acct-1", 0))
        case "set_mode" | "pause":
            return lambda _: Asked(what)
        case "resume":
            return "it begins enforcement"
        case "rename_account":
            return lambda _: Asked(what, "acct-2", new="acct-4")
        case "delete_account":
            return lambda _: Asked(what, "acct-2")
        case "leave_parent":
            return lambda _: Asked(what, "sub-1")
        case "move_account":
            return lambda _: Asked(what, "acct-2", parent="acct-3")
        case "undo":
            return lambda world: Asked(what, sequence=sequence_of(world, "acct-1", 1))
        case "add":
            return "after an addition there are entries"
        case "edit":
            return "an edit keeps the entry"
    return "it leaves every list as it is"


def locks_out(what: str) -> Case | str:
    """A change after which the caller is denied."""
    match what:
        case "add":
            return lambda _: Asked(what, "acct-3", OTHER)
        case "edit":
            return lambda _: Asked(what, "acct-2", "7.7.7.0/24", entry=OWN)
        case "remove":
            return lambda _: Asked(what, "acct-2", entry=OWN)
        case "replace":
            return lambda _: Asked(what, "acct-2", "7.7.7.0/24", instead=OWN)
        case "apply":
            return lambda _: Asked(what, "acct-2", OTHER)
        case "restore":
            return lambda world: Asked(what, "acct-2", sequence=sequence_of(world, "acct-2", 1))
        case "set_mode" | "resume":
            return lambda world: enforced_without_the_caller(world, what)
        case "pause":
            return "during a pause every address is allowed"
        case "undo":
            return lambda world: Asked(what, "acct-2", sequence=sequence_of(world, "acct-2", 2))
        case "import":
            return "many lists are imported for many customers: its caller is none of them"
        case "move_account":
            return "the other list is a guard too: see the test of both"
    return "it leaves every list as it is"


def enforced_without_the_caller(world: World, what: str) -> Asked:
    """Begin to enforce a list on which the caller is not."""
    world.manager.remove("acct-2", OWN)
    world.manager.set_mode("acct-2", "report_only", confirmed=["disable_enforcement"])
    return Asked(what, "acct-2", mode="enforce")


def uses_another_list(what: str) -> Case | str:
    """A change after which another list decides for acct-2; the caller stays allowed."""
    if what == "move_account":
        return lambda _: Asked(what, "acct-2", parent="acct-1")
    if what == "leave_parent":
        return "without a parent no list decides, and that is another guard"
    return "the account keeps its own list, or has none any more"


def is_wide(what: str) -> Case | str:
    """A change that lists a wide network, which has the caller in it."""
    match what:
        case "add":
            return lambda _: Asked(what, "acct-3", WIDE)
        case "edit":
            return lambda _: Asked(what, "acct-1", WIDE, entry=OWN)
        case "replace":
            return lambda _: Asked(what, "acct-1", WIDE, instead=OWN)
        case "import" | "apply":
            return lambda _: Asked(what, "acct-1", WIDE)
        case "restore" | "undo":
            return "what comes back was confirmed when it was listed first: see the test of both"
    return "it lists no network"


def of_an_unknown_account(what: str) -> Case | str:
    if what in ("create_token", "create_link"):
        return lambda _: Asked(what, scope="account:nope:write")
    return "it makes no credential"


def of_a_subaccount(what: str) -> Case | str:
    match what:
        case "add" | "import" | "apply":
            return lambda _: Asked(what, "sub-1", OTHER)
        case "edit" | "remove":
            return lambda _: Asked(what, "sub-1", OTHER, entry=OWN)
        case "replace":
            return lambda _: Asked(what, "sub-1", OTHER, instead=OWN)
        case "restore" | "undo":
            return lambda world: Asked(what, "sub-1", sequence=sequence_of(world, "acct-1", 1))
        case "set_mode" | "pause" | "resume":
            return lambda _: Asked(what, "sub-1")
        case "create_account":
            return lambda _: Asked(what, "sub-2", parent="sub-1")
        case "move_account":
            return lambda _: Asked(what, "acct-3", parent="sub-1")
        case "rename_account" | "leave_parent" | "delete_account":
            return "a subaccount has a name and an end of its own"
    return "a credential may be good for a subaccount, to look at"


def of_another_version(what: str) -> Case | str:
    """Harmless changes of acct-2, whose list was changed twice, by somebody who saw it changed once."""
    match what:
        case "add":
            return lambda _: Asked(what, "acct-2", "7.7.7.0/24", version=1)
        case "edit":
            return lambda _: Asked(what, "acct-2", "9.9.8.0/24", entry=OTHER, version=1)
        case "remove":
            return lambda _: Asked(what, "acct-2", entry=OTHER, version=1)
        case "replace":
            return lambda _: Asked(what, "acct-2", OWN, instead=OWN, version=1)
        case "restore" | "undo":
            return lambda world: Asked(what, "acct-2", sequence=sequence_of(world, "acct-2", 1), version=1)
        case "set_mode" | "pause" | "resume":
            return lambda _: Asked(what, "acct-2", version=1)
        case "apply":
            return lambda _: Asked(what, "acct-2", f"{OWN} {OTHER} 7.7.7.0/24", version=1)
        case "import":
            return "the lists of many accounts have no version together"
        case "rename_account":
            return lambda _: Asked(what, "acct-3", new="acct-4", version=1)
        case "move_account":
            return lambda _: Asked(what, "acct-3", parent="acct-1", version=1)
        case "leave_parent":
            return lambda _: Asked(what, "sub-1", version=1)
        case "delete_account":
            return lambda _: Asked(what, "acct-3", version=1)
    return "what it makes has no version yet"


GUARDS: dict[str, Callable[[str], Case | str]] = {
    Guard.DISABLE_ENFORCEMENT: ends,
    Guard.LOCK_OUT: locks_out,
    Guard.OTHER_LIST: uses_another_list,
    Guard.WIDE_ENTRY: is_wide,
    "unknown_account": of_an_unknown_account,
    "subaccount": of_a_subaccount,
    "version": of_another_version,
}
