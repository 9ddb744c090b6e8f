"""What the pages of the console say about who may call, compared with how the lists decide."""

from __future__ import annotations

import functools
import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING

import pytest

from cidrgate.rules.decisions import enforced, has_list
from cidrgate.service import Settings
from tests.app_client import AppClient
from tests.service.conftest import an_api
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate import RuleManager
    from cidrgate.errors import Confirmation
    from cidrgate.values import Account, Entry, Mode
    from tests.service.conftest import Api

OWN, PRIVATE = "9.9.9.9", "10.1.2.3"
_UNTIL = datetime(2199, 1, 31, 18, tzinfo=UTC)
_GUARDS: list[Confirmation] = ["disable_enforcement", "lock_out"]
MODES: dict[str, tuple[Mode, datetime | None]] = {
    "enforced": ("enforce", None),
    "reporting": ("report_only", None),
    "reporting-until": ("report_only", _UNTIL),
    "paused": ("off", None),
    "paused-until": ("off", _UNTIL),
}
LISTS = ("empty", "closed", "expired", "disabled", "covering", "elsewhere", "closed-elsewhere")
CASES = [f"{mode}.{entries}" for mode, entries in product(MODES, LISTS)]


CHANGED = [case for case in CASES if "-until" not in case]
CHANGES: dict[str, tuple[str, dict[str, str]]] = {
    "add-elsewhere": ("list/add", {"cidrs": "5.5.5.0/24"}),
    "add-own": ("list/add", {"cidrs": "9.9.9.9/32"}),
    "edit": ("list/edit", {"cidr": "5.5.5.0/24", "enabled": "yes"}),
    "remove": ("list/remove", {}),
    "enable": ("list/enable", {"enabled": "yes"}),
    "disable": ("list/enable", {"enabled": "no"}),
    "enforce": ("list/mode", {"mode": "enforce"}),
    "report": ("list/mode", {"mode": "report_only", "ends": "never"}),
    "pause": ("list/mode", {"mode": "off", "ends": "4"}),
}
"""Changes by a form: its path, and what a person fills in."""


def named(case: str, change: str | None = None) -> str:
    """The account of a case, or of a change of it: a name without words that pages use."""
    return f"acct-{CASES.index(case)}" + ("" if change is None else f"-{[*CHANGES].index(change)}")


def _fill(manager: RuleManager, name: str, case: str) -> None:
    mode, entries = case.split(".")
    manager.create_account(name, closed=entries.startswith("closed"))
    match entries:
        case "expired":
            manager.add(name, "9.9.9.0/24", expires_at=soon())
        case "disabled":
            manager.add(name, "9.9.9.0/24", enabled=False)
        case "covering":
            manager.add(name, "9.9.9.0/24")
        case "elsewhere" | "closed-elsewhere":
            manager.add(name, "8.8.8.0/24")
    decides, until = MODES[mode]
    manager.set_mode(name, decides, until=until, confirmed=_GUARDS)


@pytest.fixture(scope="module")
def lists() -> Iterator[Api]:
    """A service with a list for each case, and another one for each change of it."""
    for api in an_api("memory://", Settings(login_failures=10_000)):
        for case in CASES:
            for change in (None, *(CHANGES if case in CHANGED else ())):
                _fill(api.manager, named(case, change), case)
        states = api.manager.list_states()
        entries = [entry for name in states for entry in api.manager.entries(name) if entry.expires_at is not None]
        eventually(functools.partial(_all_expired, entries))
        yield api


def _all_expired(entries: list[Entry]) -> bool:
    return all(entry.is_expired(datetime.now(UTC)) for entry in entries)


@dataclass
class Truth:
    """How a list decides.

    Attributes:
        name: The account.
        owner: The same.
        entries: The list.
        address: Where the person is.
    """

    manager: RuleManager
    name: str
    owner: Account
    entries: list[Entry]
    address: str

    @property
    def open_now(self) -> bool:
        """Whether addresses that no entry covers are allowed."""
        return not enforced(self.entries, self.owner, datetime.now(UTC))

    @property
    def open_always(self) -> bool:
        """Whether they are allowed in the mode `enforce` too."""
        return not has_list(self.entries, self.owner)

    def allows(self, address: str) -> bool:
        allowed = self.manager.explain(self.name, address).allowed
        assert self.manager.matcher.allows(self.name, address) == allowed
        return allowed

    def covers(self, address: str) -> bool:
        return self.manager.explain(self.name, address).reason == "matched"

    @property
    def closed(self) -> bool:
        return self.owner.closed

    @property
    def mode(self) -> Mode:
        return self.owner.mode_at()


CLAIMS: dict[str, Callable[[Truth], bool]] = {
    r"(?<!Not )Enforced\b": lambda truth: not truth.open_now,
    r"Not enforced|Open to all": lambda truth: truth.open_now and truth.mode == "enforce",
    r"Paused|is paused": lambda truth: truth.mode == "off",
    r"Only reports|only reports": lambda truth: truth.mode == "report_only",
    r"until 2199-01-31 18:00 UTC": lambda truth: truth.owner.mode_until == _UNTIL,
    r"(?:The list is|list is|acct-\S+ is) empty\b": lambda truth: not truth.entries,
    r"is empty, so it is not enforced": lambda truth: truth.mode == "enforce" and truth.open_always,
    r"[Ee]very address (?:is allowed|may call)": lambda truth: truth.open_now,
    r"calls from every address get 403 Forbidden|The list is closed": lambda truth: truth.closed and not truth.open_now,
    r"it denies every address": lambda truth: truth.closed and not truth.entries,
    r"from the first entry on|[Ww]ith the first entry": lambda truth: truth.open_always,
    r"so the API answers 403 Forbidden": lambda truth: not truth.open_now,
    r"once (?:it|the list) is enforced": lambda truth: truth.open_now and truth.mode != "enforce",
    r"once (?:it|the list) is enforced, calls from \w+ are denied": lambda truth: not truth.open_always,
    r"not covered": lambda truth: not truth.covers(truth.address),
    r": covered by": lambda truth: truth.covers(truth.address),
    r"It is allowed(?: only)? because": lambda truth: truth.allows(truth.address),
    r"Calls from it are denied|From this one they are denied": lambda truth: not truth.allows(truth.address),
}
"""Every statement about who may call, and whether it is true."""

NEUTRAL = (
    r"^(?:\S+ is (?:allowed|denied)|(?:Every address|A part|No address) of \S+ is allowed)$",  # each test compares it
    r"It is covered by|Covered are the addresses|No entry of",  # so are these
    r"no list can contain it",
)
"""Sentences that may stand without one of these."""

_STATEMENT = re.compile(
    r"\b(?:den(?:y|ies|ied)|allow(?:s|ed)?|403|enforced?|empty|closed|paused?|covered)\b", re.IGNORECASE
)


def words(page: str) -> str:
    """The text of the main part of a page."""
    [main] = re.findall(r"<main.*?</main>", page, re.DOTALL)
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))
    return re.sub(r" ([.,:;])", r"\1", text)


def check(text: str, truth: Truth) -> int:
    """Compare every statement of a text with the list; how many there are."""
    said = [claim for claim in CLAIMS if re.search(claim, text)]
    wrong = [claim for claim in said if not CLAIMS[claim](truth)]
    for sentence in re.split(r"(?<=[.?]) (?=[A-Z])", text):
        known = any(re.search(one, sentence) for one in (*said, *NEUTRAL))
        assert known or not _STATEMENT.search(sentence), f"put {sentence!r} into the table of claims"
    assert not wrong, f"{truth.name}, {truth.address}: {wrong} in {text}"
    return len(said)


def visitor(api: Api, account: str, address: str, *scopes: str) -> AppClient:
    client = AppClient(api.app, client=(address, 50_000), follow_redirects=False)
    token = api.token(*(scopes or (f"account:{account}:write",)))
    signed_in = client.post("/console/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
    assert signed_in.status_code == 303
    return client


def truth_of(api: Api, name: str, address: str = OWN) -> Truth:
    owner, entries = api.manager.listing(name)
    return Truth(api.manager, name, owner, entries, address)


@pytest.mark.parametrize("case", CASES)
def test_the_page_of_the_list(lists: Api, case: str) -> None:
    name = named(case)
    for address in (OWN, PRIVATE):
        text = words(visitor(lists, name, address).get(f"/console/list?account={name}").text)
        truth = truth_of(lists, name, address)
        assert check(text, truth), text
        covered = truth.covers(address)
        assert ("It is allowed" in text) == (truth.allows(address) and not covered and address == OWN), text
        assert ("are denied" in text.partition("once")[0]) == (not truth.allows(address)), text
        assert ("The list is empty" in text) == (not truth.entries), text


@pytest.mark.parametrize("case", CASES)
def test_the_test_of_an_address(lists: Api, case: str) -> None:
    name = named(case)
    client = visitor(lists, name, OWN)
    for asked in ("9.9.9.1", "8.8.8.1", "7.7.7.7", "2606:4700::1"):
        text = words(client.get("/console/test", params={"account": name, "address": asked}).text)
        truth = truth_of(lists, name)
        assert check(text, truth), text
        verdict = "allowed" if truth.allows(asked) else "denied"
        assert f"{asked} is {verdict}" in text
        assert ("It is covered by" in text) == truth.covers(asked), text
        assert ("so the API answers 403" in text) == (not truth.allows(asked)), text
        assert ("every address is allowed" in text) == (truth.open_now and not truth.covers(asked)), text


@pytest.mark.parametrize("case", CASES)
def test_the_test_of_a_network(lists: Api, case: str) -> None:
    name = named(case)
    client = visitor(lists, name, OWN)
    for network, inside in (("9.9.9.0/24", ["9.9.9.1"]), ("8.0.0.0/7", ["8.8.8.1", "9.9.9.1", "8.1.1.1"])):
        text = words(client.get("/console/test", params={"account": name, "address": network}).text)
        truth = truth_of(lists, name)
        assert check(text, truth), text
        allowed = {truth.allows(address) for address in inside}
        amount = "A part" if len(allowed) == 2 else "Every address" if allowed == {True} else "No address"
        assert f"{amount} of {network} is allowed" in text, text
        assert ("so the API answers 403 Forbidden there" in text) == (False in allowed), text
        listed = {truth.covers(address) for address in inside}
        assert ("No entry of" in text) == (False in listed and not truth.open_always), text


def test_the_page_of_the_accounts(lists: Api) -> None:
    client = visitor(lists, named(CASES[0]), OWN, "admin")
    found, after = [], ""
    while True:
        page = client.get("/console/accounts", params={"after": after}).text
        rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", page, re.DOTALL)
        if not rows:
            break
        found += rows
        after = re.findall(r'">([^<]+)</a>', rows[-1])[0]
    assert len(found) == len(CASES) + len(CHANGED) * len(CHANGES)
    for row in found:
        [name] = re.findall(r'">([^<]+)</a>', row)
        assert check(words(f"<main>{row.replace(name, '')}</main>"), truth_of(lists, name))


PROBES = (OWN, "8.8.8.1", "7.7.7.7", "5.5.5.5")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", CHANGED)
def test_what_is_said_before_a_change(lists: Api, case: str, change: str) -> None:
    name = named(case, change)
    path, filled = CHANGES[change]
    truth = truth_of(lists, name)
    if path not in ("list/add", "list/mode"):
        if not truth.entries:
            return
        filled = {"entry": f"{truth.entries[0].id}", **filled}
    client = visitor(lists, name, OWN)
    [csrf] = set(re.findall(r'name="csrf" value="(\w+)"', client.get("/console/sessions").text))
    form = {"csrf": csrf, "account": name, "version": f"{truth.owner.version}", **filled}
    before = {address: truth.allows(address) for address in PROBES}
    asked = client.post(
        f"/console/{path}/check" if path in ("list/add", "list/edit") else f"/console/{path}", data=form
    )
    needed = re.findall(r'name="confirm" value="(\w+)"', asked.text)
    if "problem to solve" in asked.text:
        return
    if asked.status_code != 303:
        shown = dict(re.findall(r'name="(shown_for)" value="(\w+)"', asked.text))
        made = client.post(f"/console/{path}", data={**form, "confirm": needed, **shown})
        assert made.status_code == 303, words(made.text)
    then = truth_of(lists, name)
    after = {address: then.allows(address) for address in PROBES}
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", asked.text)))
    locked_out = before[OWN] and not after[OWN]
    assert ("Start enforcing the list" in text) == (truth.open_now and not then.open_now), text
    assert ("Lock my own address out" in text) == ("you would lock yourself out" in text) == locked_out, text
    if "Stop enforcing" in text:
        assert then.open_now, text
    if not truth.open_now and then.open_now:
        assert "Stop enforcing" in text, text
    if re.search(r"Your own address [\d.]+ is covered", text):
        assert then.covers(OWN), text
    if "Loses access" in text:
        assert any(before[one] and not after[one] for one in PROBES), text
