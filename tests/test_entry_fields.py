"""No field of an entry is forgotten: each is stored, logged, restored, imported, exported, sent and shown.

A field that a surface lacks fails here, with the file to change. What is drawn for a new one is in
`tests/entry_details.py`.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_type_hints

import httpx
import pytest
from typer.main import get_command

from cidrgate import Change, Entry, EntryDetails, EntryEdit, NewEntry, RuleManager
from cidrgate.cli.app import app
from cidrgate.cli.details import DETAIL_OPTIONS
from cidrgate.cli.history import described, said_of
from cidrgate.cli.list_files import ListFormat, read_rows, written
from cidrgate.cli.lists import _table
from cidrgate.cli.output import value_text
from cidrgate.client import Client, EntryInfo
from cidrgate.serialization import entry_record
from cidrgate.service import Settings, create_app
from cidrgate.service.api.schemas import DetailsModel
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.console.details import LAID_OUT, detail_text
from cidrgate.service.console.formatting import change_sentence
from cidrgate.service.console.lists import HEADINGS
from cidrgate.values import DETAILS as ENTRY_DETAILS
from tests.app_client import AppClient
from tests.command_line import typed
from tests.docs.pages import PAGES, ROOT, prose
from tests.entry_details import VALUES, first_values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
DETAILS = sorted(EntryDetails.__annotations__)
FULL = Entry(id=7, account="acct-1", cidr="8.8.8.0/24", created_at=AT, created_by="me", **first_values())
FIELDS = [one.name for one in fields(Entry)]

UNSET: dict[str, Any] = {detail.name: None if detail.nullable else detail.default for detail in ENTRY_DETAILS}
"""What a detail is after somebody has taken it away."""


def test_a_detail_is_declared_alike_for_every_value() -> None:
    assert [detail.name for detail in ENTRY_DETAILS] == list(EntryDetails.__annotations__), (
        "cidrgate/values.py: EntryDetails"
    )
    types = get_type_hints(Entry)
    assert get_type_hints(EntryDetails) == {name: types[name] for name in EntryDetails.__annotations__}
    for kind in (NewEntry, EntryEdit):
        assert [one.name for one in fields(kind)] == ["cidr", *EntryDetails.__annotations__], (
            f"cidrgate/values.py: {kind.__name__}"
        )
    for detail in ENTRY_DETAILS:
        assert VALUES[detail.name][0] != detail.default, (
            f"tests/entry_details.py: {detail.name} must not be its default"
        )
        for value in VALUES[detail.name]:
            assert type(value) is detail.kind


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True, follow=False) as opened:
        opened.create_account("acct-1")
        yield opened


def altered(entry: Entry, **said: Any) -> Entry:
    return replace(entry, **said)


def details(manager: RuleManager, account: str = "acct-1") -> list[dict[str, Any]]:
    return [dict(NewEntry.of(entry).details()) for entry in manager.entries(account)]


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_is_stored_edited_logged_and_restored(manager: RuleManager, name: str) -> None:
    first, second = VALUES[name]
    [added] = manager.add("acct-1", "8.8.8.0/24", **first_values()).after
    assert details(manager) == [first_values()]
    [edited] = manager.edit("acct-1", added.id, EntryEdit(**{name: second})).after
    assert edited == altered(added, **{name: second})
    assert manager.entries("acct-1") == [edited], "the update of entries forgets it: cidrgate/stores/entry_rows.py"
    of_editing, of_adding = manager.history("acct-1", limit=2)
    if second == UNSET[name]:
        manager.edit("acct-1", added.id, **{name: first})
    assert manager.edit("acct-1", added.id, **{name: UNSET[name]}).after == (altered(added, **{name: UNSET[name]}),)
    assert manager.entries("acct-1")[0] == altered(added, **{name: UNSET[name]})
    [of_clearing] = manager.history("acct-1", limit=1)
    assert (of_adding.after, of_editing.before, of_editing.after) == ((added,), (added,), (edited,))
    assert of_clearing.after == (altered(added, **{name: UNSET[name]}),)
    manager.restore("acct-1", to_sequence=of_editing.sequence)
    assert manager.entries("acct-1") == [edited]
    manager.replace("acct-1", [NewEntry("8.8.8.0/24", **{name: first})])
    assert manager.entries("acct-1") == [added]
    manager.replace("acct-1", ["8.8.8.0/24"])
    assert manager.entries("acct-1") == [added], "an entry that stays keeps what nobody says"


def test_every_detail_is_imported_in_bulk(manager: RuleManager) -> None:
    new = NewEntry("8.8.8.0/24", **first_values())
    report = manager.import_accounts({"acct-2": [new, NewEntry("9.9.9.9/32")]}, actor="me")
    assert not report.problems
    assert [NewEntry.of(entry).details() for entry in manager.entries("acct-2")] == [
        new.details(),
        NewEntry("9.9.9.9/32").details(),
    ]
    assert manager.history("acct-2")[0].after == tuple(manager.entries("acct-2"))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_sent_as_json(name: str) -> None:
    assert name in entry_record(FULL), f"add {name} to EntryInfo in cidrgate/serialization.py"
    value = getattr(FULL, name)
    assert entry_record(FULL)[name] == (value.isoformat() if isinstance(value, datetime) else value)
    assert json.dumps(entry_record(FULL))
    assert name in {one.name for one in fields(EntryInfo)}


@pytest.mark.parametrize("form", list(ListFormat))
def test_every_detail_is_exported_and_imported(form: ListFormat) -> None:
    bare = altered(FULL, id=8, cidr="9.9.9.9/32", **UNSET)
    text = "".join(written([[FULL, bare]], form))
    assert [row.entry for row in read_rows(text.splitlines(keepends=True), form)] == [
        NewEntry.of(FULL),
        NewEntry.of(bare),
    ], "cidrgate/cli/list_files.py"


@pytest.fixture
def api() -> Iterator[AppClient]:
    with RuleManager.open("memory://", follow=False) as opened:
        opened.create_account("acct-1")
        token = Credentials(opened._store).create_token("ops", [Scope.parse("admin")]).secret
        yield AppClient(create_app(opened, Settings()), headers={"Authorization": f"Bearer {token}"})


def as_json(values: Any) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_comes_through_the_api(api: AppClient, name: str) -> None:
    assert name in DetailsModel.model_fields, f"add {name} to DetailsModel in cidrgate/service/api/schemas.py"
    first, second = ({name: value} for value in VALUES[name])
    path = "/v1/accounts/acct-1/entries"
    sent = [{"cidr": "8.8.8.0/24"}, {"cidr": "9.9.9.9/32", **as_json(second)}]
    added = api.post(path, json={"entries": sent, **as_json(first)}).json()["after"]
    found = api.get(path).json()["items"]
    assert found == added
    assert [_parsed(entry[name], first[name]) for entry in found] == [first[name], second[name]]
    edited = api.patch(f"{path}/{found[0]['id']}", json=as_json(second)).json()["after"]
    assert _parsed(edited[0][name], second[name]) == second[name]
    change = {"change": "edit", "entry_id": found[0]["id"], **as_json(first)}
    seen = api.post("/v1/accounts/acct-1/preview", json=change).json()["after"]
    assert _parsed(seen[0][name], first[name]) == first[name]


def _parsed(value: Any, example: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(example, datetime) else value


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_is_sent_by_the_client(name: str) -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        change = {"account": "acct-1", "version": 1, "etag": "", "enforced": True, "entry_count": 1, "before": []}
        return httpx.Response(200, json={**change, "after": [entry_record(FULL)]})

    with Client("http://x", "t", http=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        said: Any = {name: VALUES[name][0]}
        change = client.add_entries("acct-1", ["8.8.8.0/24", {"cidr": "9.9.9.9/32", **said}], **said)
        client.replace_entries("acct-1", "8.8.8.0/24", **said)
        client.edit_entry("acct-1", 7, **said)
    expected = as_json(said)[name]
    assert [one[name] for one in sent] == [expected] * 3
    assert sent[0]["entries"][1][name] == expected
    assert getattr(change.after[0], name) == VALUES[name][0]


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_is_an_option_of_the_command_line(name: str, tmp_path: Path) -> None:
    assert name in DETAIL_OPTIONS, f"add a row for {name} to DETAIL_OPTIONS in cidrgate/cli/details.py"
    commands: Any = get_command(app)
    for command in ("add", "edit", "replace"):
        options = {parameter.name for parameter in commands.commands[command].params}
        assert DETAIL_OPTIONS[name][0].parameter in options
    database = f"{tmp_path}/lists.db"
    assert typed(["account", "create", "acct-1", "-d", database]).exit_code == 0
    for command, value in zip(("add", "edit"), VALUES[name], strict=True):
        [*switch] = [option for option in DETAIL_OPTIONS[name] if option.read is None and option.value == value]
        text = value.isoformat() if isinstance(value, datetime) else str(value)
        said = [switch[0].flags[0]] if switch else [DETAIL_OPTIONS[name][0].flags[0], text]
        done = typed([command, "acct-1", "8.8.8.0/24", *said, "-d", database])
        assert done.exit_code == 0, done.output
        with RuleManager.open(f"sqlite:///{database}", follow=False) as opened:
            assert getattr(opened.entries("acct-1")[0], name) == value, "cidrgate/cli/details.py"


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "account"])
def test_a_field_is_shown_in_the_table_of_a_list(name: str) -> None:
    [cells] = _table([FULL]).rows
    value = getattr(FULL, name)
    assert value_text(value) in cells, f"add a column for {name} to _COLUMNS in cidrgate/cli/lists.py"


@pytest.mark.parametrize("name", DETAILS)
def test_a_change_of_a_detail_shows_in_a_history(name: str) -> None:
    before, after = FULL, altered(FULL, **{name: VALUES[name][1]})
    old, new = described(
        Change(sequence=1, at=AT, actor="me", account="acct-1", action="edit", before=(before,), after=(after,))
    ).split(" -> ")
    assert old != new, f"a change of {name} does not show: said_of in cidrgate/cli/history.py"
    assert len(said_of(FULL)) == len(DETAILS)


@pytest.fixture
def console() -> Iterator[tuple[RuleManager, AppClient]]:
    """A person who has signed in to the console, and who sees a list with one entry."""
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24", **first_values())
        token = Credentials(manager._store).create_token("ops", [Scope.parse("admin")]).secret
        with AppClient(create_app(manager, Settings())) as client:
            client.post("/console/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
            yield manager, client


def sent(page: str, path: str, **changed: str) -> dict[str, str]:
    """What the browser sends of the form of a page to a path, after a person has changed some fields."""
    [form] = re.findall(rf'<form method="post" action="[^"]*/console/{path}".*?</form>', page, re.DOTALL)
    fields = dict(re.findall(r'<input [^>]*?name="(\w+)"[^>]*? value="([^"]*)"', form))
    for name, options in re.findall(r'<select [^>]*?name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        fields[name] = re.findall(r'value="([^"]*)"(?= selected)', options)[0]
    assert changed.keys() <= fields.keys() | {"cidrs"}, (
        f"the page has no field for {changed.keys() - fields.keys()}: cidrgate/service/console/details.py"
    )
    return {name: html.unescape(value) for name, value in fields.items()} | changed


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("id", "account")])
def test_a_field_is_shown_by_the_console(console: tuple[RuleManager, AppClient], name: str) -> None:
    manager, client = console
    detail = {detail.name: detail for detail in ENTRY_DETAILS}.get(name)
    first, second = VALUES[name] if detail else (None, None)
    shown = []
    for value in (first, second):
        said: Any = {name: value} if detail else {}
        manager.edit("acct-1", "8.8.8.0/24", **said)
        page = client.get("/console/list?account=acct-1").text
        [row] = re.findall(r'<tr id="entry-.*?</tr>', page, re.DOTALL)
        shown.append(re.sub(r"<[^>]+>", " ", row).split())
        assert row.count("data-label=") + 1 == len(HEADINGS) == page.count('<th scope="col">') - 1
    if detail:
        assert shown[0] != shown[1], f"show {name} in cidrgate/service/console/templates/row.html"
    else:
        row_text = (files("cidrgate.service.console") / "templates" / "row.html").read_text()
        assert f"entry.{name}" in row_text, f"show {name} in cidrgate/service/console/templates/row.html"


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_is_edited_and_added_in_the_console(console: tuple[RuleManager, AppClient], name: str) -> None:
    manager, client = console
    [entry] = manager.entries("acct-1")
    value = VALUES[name][1]
    if isinstance(value, datetime):
        value = value.replace(second=0)  # of which the field knows minutes only
    detail = next(detail for detail in ENTRY_DETAILS if detail.name == name)
    field = {LAID_OUT.get(name, name): detail_text(detail, value)}
    page = client.get(f"/console/list/edit?account=acct-1&entry={entry.id}").text
    assert client.post("/console/list/edit", data=sent(page, "list/edit", **field)).status_code == 200
    assert manager.entries("acct-1") == [altered(entry, **{name: value})], "cidrgate/service/console/drafts.py"
    sentence = change_sentence(manager.history("acct-1", limit=1)[0])
    assert detail.title.lower() in sentence, "change_sentence in cidrgate/service/console/formatting.py"
    page = client.get("/console/list/add?account=acct-1").text
    told = field | ({"ends": "at"} if name == "expires_at" else {})
    data = sent(page, "list/add", cidrs="1.1.1.0/24", **told)
    assert client.post("/console/list/add", data=data).status_code == 200
    added = manager.entries("acct-1")[0]
    assert (added.cidr, getattr(added, name)) == ("1.1.1.0/24", value), "cidrgate/service/console/drafts.py"
    others = {other.name: other.default for other in ENTRY_DETAILS if other.name != name}
    assert {other: getattr(added, other) for other in others} == others


def test_an_edit_in_the_console_that_touches_nothing_changes_nothing(
    console: tuple[RuleManager, AppClient],
) -> None:
    manager, client = console
    before = manager.entries("acct-1")
    page = client.get(f"/console/list/edit?account=acct-1&entry={before[0].id}").text
    assert client.post("/console/list/edit", data=sent(page, "list/edit")).status_code == 200
    assert manager.entries("acct-1") == before
    assert manager.account("acct-1").version == 1


def test_no_text_lists_the_details() -> None:
    """Such a list would be forgotten when a detail is added; the table of the details is made from the code."""
    listed = re.compile(r"\blabels?\b`?(?:,| and| or)[^.\n|]{0,20}\b(?:expiry|expiries|expires_at)\b")
    texts = [
        *(path for path in (ROOT / "src/cidrgate").rglob("*.py") if path.name != "values.py"),
        *(path for path in PAGES if path.name not in ("README.md", "CHANGELOG.md")),
    ]
    found = {
        str(path.relative_to(ROOT)): [
            line for line in prose(path.read_text()).splitlines() if listed.search(line) and "![" not in line
        ]
        for path in texts
    }
    assert not {path: lines for path, lines in found.items() if lines}, "say 'the details' instead"
