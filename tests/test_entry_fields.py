"""No field of an entry is forgotten: each is stored, logged, restored, imported, exported, sent and shown.

A field that a surface lacks fails here, with the file to change. What is drawn for a new one is in
`tests/entry_details.py`.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.testclient import TestClient
from typer.main import get_command

from cidrgate import Change, Entry, EntryDetails, EntryEdit, NewEntry, RuleManager
from cidrgate.cli.app import app
from cidrgate.cli.details import DETAIL_OPTIONS
from cidrgate.cli.history import described, said_of
from cidrgate.cli.list_files import ListFormat, read_rows, written
from cidrgate.cli.lists import _table
from cidrgate.client import Client, EntryInfo
from cidrgate.serialization import entry_record
from cidrgate.service import Settings, create_app
from cidrgate.service.api.schemas import DetailsModel
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.console import drafts
from cidrgate.service.console.drafts import Edit
from cidrgate.service.console.lists import HEADINGS
from tests.entry_details import VALUES, first_values

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
DETAILS = sorted(EntryDetails.__annotations__)
FULL = Entry(id=7, account="acct-1", cidr="8.8.8.0/24", created_at=AT, created_by="me", **first_values())
FIELDS = [one.name for one in fields(Entry)]

FORM_FIELDS = {"label": "label", "expires_at": "ends_at"}
"""The field of the console's form for each detail."""


def test_a_detail_is_declared_alike_for_every_value() -> None:
    assert [one.name for one in fields(NewEntry)] == ["cidr", *EntryDetails.__annotations__], (
        "cidrgate/values.py: NewEntry"
    )
    assert [one.name for one in fields(EntryEdit)] == ["cidr", *EntryDetails.__annotations__], (
        "cidrgate/values.py: EntryEdit"
    )
    assert set(EntryDetails.__annotations__) < set(FIELDS), "cidrgate/values.py: Entry"


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
    assert manager.edit("acct-1", added.id, **{name: None}).after == (altered(added, **{name: None}),)
    assert manager.entries("acct-1")[0] == altered(added, **{name: None})
    *_, of_adding, of_editing, of_clearing = manager.history("acct-1")
    assert (of_adding.after, of_editing.before, of_editing.after) == ((added,), (added,), (edited,))
    assert of_clearing.after == (altered(added, **{name: None}),)
    manager.restore("acct-1", at=of_editing.sequence)
    assert manager.entries("acct-1") == [edited]
    manager.replace("acct-1", [NewEntry("8.8.8.0/24", **{name: first})])
    assert manager.entries("acct-1") == [added]
    manager.replace("acct-1", ["8.8.8.0/24"])
    assert manager.entries("acct-1") == [added], "an entry that stays keeps what nobody says"


def test_every_detail_is_imported_in_bulk(manager: RuleManager) -> None:
    new = NewEntry("8.8.8.0/24", **first_values())
    report = manager.import_accounts({"acct-2": [new, NewEntry("9.9.9.9/32")]}, actor="me")
    assert not report.problems
    assert [NewEntry.of(entry) for entry in manager.entries("acct-2")] == [new, NewEntry("9.9.9.9/32")]
    assert manager.history("acct-2")[-1].after == tuple(manager.entries("acct-2"))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_sent_as_json(name: str) -> None:
    assert name in entry_record(FULL), f"add {name} to EntryInfo in cidrgate/serialization.py"
    value = getattr(FULL, name)
    assert entry_record(FULL)[name] == (value.isoformat() if isinstance(value, datetime) else value)
    assert json.dumps(entry_record(FULL))
    assert name in {one.name for one in fields(EntryInfo)}


@pytest.mark.parametrize("form", list(ListFormat))
def test_every_detail_is_exported_and_imported(form: ListFormat) -> None:
    bare = altered(FULL, id=8, cidr="9.9.9.9/32", **dict.fromkeys(DETAILS))
    text = "".join(written([[FULL, bare]], form))
    assert [row.entry for row in read_rows(text.splitlines(keepends=True), form)] == [
        NewEntry.of(FULL),
        NewEntry.of(bare),
    ], "cidrgate/cli/list_files.py"


@pytest.fixture
def api() -> Iterator[TestClient]:
    with RuleManager.open("memory://", follow=False) as opened:
        opened.create_account("acct-1")
        token = Credentials(opened.store).create_token("ops", [Scope.parse("admin")]).secret
        yield TestClient(create_app(opened, Settings()), headers={"Authorization": f"Bearer {token}"})


def as_json(values: Any) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_comes_through_the_api(api: TestClient, name: str) -> None:
    assert name in DetailsModel.model_fields, f"add {name} to DetailsModel in cidrgate/service/api/schemas.py"
    first, second = ({name: value} for value in VALUES[name])
    path = "/v1/accounts/acct-1/entries"
    cidrs = ["8.8.8.0/24", {"cidr": "9.9.9.9/32", **as_json(second)}]
    added = api.post(path, json={"cidrs": cidrs, **as_json(first)}).json()["after"]
    found = api.get(path).json()["items"]
    assert found == added
    assert [_parsed(entry[name], first[name]) for entry in found] == [first[name], second[name]]
    edited = api.patch(f"{path}/{found[0]['id']}", json=as_json(second)).json()["after"]
    assert _parsed(edited[0][name], second[name]) == second[name]
    change = {"change": "edit", "entry": found[0]["id"], **as_json(first)}
    seen = api.post("/v1/accounts/acct-1/preview", json=change).json()["after"]
    assert _parsed(seen[0][name], first[name]) == first[name]


def _parsed(value: Any, example: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(example, datetime) else value


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_is_sent_by_the_client(name: str) -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        change = {"account": "acct-1", "version": 1, "enforced": True, "entries": 1, "before": []}
        return httpx.Response(200, json={**change, "after": [entry_record(FULL)]})

    with Client("http://x", "t", http=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        said: Any = {name: VALUES[name][0]}
        change = client.add_entries("acct-1", ["8.8.8.0/24", {"cidr": "9.9.9.9/32", **said}], **said)
        client.replace_entries("acct-1", "8.8.8.0/24", **said)
        client.edit_entry("acct-1", 7, **said)
    expected = as_json(said)[name]
    assert [one[name] for one in sent] == [expected] * 3
    assert sent[0]["cidrs"][1][name] == expected
    assert getattr(change.after[0], name) == VALUES[name][0]


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_is_an_option_of_the_command_line(name: str) -> None:
    assert name in DETAIL_OPTIONS, f"add a row for {name} to DETAIL_OPTIONS in cidrgate/cli/details.py"
    commands: Any = get_command(app)
    for command in ("add", "edit", "replace"):
        options = {parameter.name for parameter in commands.commands[command].params}
        assert DETAIL_OPTIONS[name][0].parameter in options


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "account"])
def test_a_field_is_shown_in_the_table_of_a_list(name: str) -> None:
    [cells] = _table([FULL]).rows
    value = getattr(FULL, name)
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
    assert text in cells, f"add a column for {name} to _COLUMNS in cidrgate/cli/lists.py"


@pytest.mark.parametrize("name", DETAILS)
def test_a_change_of_a_detail_shows_in_a_history(name: str) -> None:
    before, after = FULL, altered(FULL, **{name: VALUES[name][1]})
    old, new = described(Change(1, AT, "me", "acct-1", "edit", (before,), (after,))).split(" -> ")
    assert old != new, f"a change of {name} does not show: said_of in cidrgate/cli/history.py"
    assert len(said_of(FULL)) == len(DETAILS)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("id", "account")])
def test_a_field_is_shown_by_the_console(name: str) -> None:
    row = (files("cidrgate.service.console") / "templates" / "row.html").read_text()
    assert f"entry.{name}" in row, f"show {name} in cidrgate/service/console/templates/row.html"
    assert row.count("data-label=") == len(HEADINGS), (
        "a cell of row.html has no heading in HEADINGS of console/lists.py"
    )


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_can_be_edited_in_the_console(name: str) -> None:
    assert name in FORM_FIELDS, f"give the console's forms a field for {name}, and name it here"
    for template in ("edit.html", "add.html"):
        text = (files("cidrgate.service.console") / "templates" / template).read_text()
        assert f'name="{FORM_FIELDS[name]}"' in text, (
            f"no field for {name} in cidrgate/service/console/templates/{template}"
        )


@pytest.mark.parametrize("name", DETAILS)
def test_a_detail_that_a_form_sends_is_stored(name: str) -> None:
    for sent in (drafts._edit, drafts._addition):
        assert FORM_FIELDS[name] in inspect.signature(sent).parameters, "cidrgate/service/console/drafts.py"
    value = VALUES[name][1]
    if isinstance(value, datetime):
        value = value.replace(second=0)  # of which the field knows minutes only
    with RuleManager.open("memory://", follow=False) as opened:
        opened.create_account("acct-1")
        [added] = opened.add("acct-1", "8.8.8.0/24", **first_values()).after
        Edit.begin(altered(added, **{name: value}), 1).change(added, "me", version=1)(opened)
        assert opened.entries("acct-1") == [altered(added, **{name: value})], (
            "Edit in cidrgate/service/console/drafts.py"
        )


def test_an_edit_in_the_console_that_touches_nothing_changes_nothing() -> None:
    with RuleManager.open("memory://", follow=False) as opened:
        opened.create_account("acct-1")
        [added] = opened.add("acct-1", "8.8.8.0/24", **first_values()).after
        Edit.begin(added, 1).change(added, "me", version=1)(opened)
        assert opened.entries("acct-1") == [added]
