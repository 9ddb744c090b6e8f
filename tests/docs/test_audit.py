"""The page about the change log maps every member and every action to OCSF, and its function makes valid events."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest

from cidrgate import Action, Change, Entry, Origin, OriginKind
from cidrgate.serialization import change_record
from tests.docs.pages import ROOT, table

if TYPE_CHECKING:
    from collections.abc import Callable

ocsf_json_schema = pytest.importorskip("ocsf_json_schema", reason="pip install ocsf-json-schema")

PAGE = (ROOT / "docs" / "audit.md").read_text()
VERSION = "1.5.0"
CLASSES = {"3002": "authentication", "3004": "entity_management", "6003": "api_activity"}


def code(text: str) -> str:
    return text.strip("`")


ACTIVITIES = {code(action): (uid, activity) for action, uid, activity in table(PAGE, "| action | class | activity |")}
MEMBERS = {code(member): re.findall(r"`([^`]+)`", told) for member, told in table(PAGE, "| member | attribute |")}


@pytest.fixture(scope="module")
def ocsf() -> dict[str, Any]:
    schema: dict[str, Any] = ocsf_json_schema.get_ocsf_schema(version=VERSION)
    return schema


@pytest.fixture(scope="module")
def event_of() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The function of the page."""
    [source] = re.findall(r"<!-- the mapping -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    made: Callable[[dict[str, Any]], dict[str, Any]] = names["ocsf_event"]
    return made


def test_the_page_maps_every_action_and_every_member() -> None:
    assert ACTIVITIES.keys() == set(get_args(Action))
    wanted = {one.name for one in fields(Change)} - {"origin"} | {f"origin.{one.name}" for one in fields(Origin)}
    assert MEMBERS.keys() == wanted | {"details.count"}
    kinds = table(PAGE, "| `kind` | who | `id` | `via` |")
    assert {code(row[0]) for row in kinds} == set(get_args(OriginKind))


def test_what_the_tables_name_is_in_ocsf(ocsf: dict[str, Any]) -> None:
    for action, (uid, activity) in ACTIVITIES.items():
        number, _, name = activity.partition(" ")
        assert ocsf["classes"][CLASSES[uid]]["attributes"]["activity_id"]["enum"][number]["caption"] == name, action
    for member, paths in MEMBERS.items():
        for path in paths:
            assert any(_exists(ocsf, name, path) for name in CLASSES.values()), (member, path)
    for uid, name in CLASSES.items():
        assert ocsf["classes"][name]["uid"] == int(uid)


def _exists(ocsf: dict[str, Any], name: str, path: str) -> bool:
    attributes = ocsf["classes"][name]["attributes"]
    for part in path.split("."):
        found = attributes.get(part)
        if found is None:
            return False
        attributes = ocsf["objects"].get(found.get("object_type"), {}).get("attributes", {})
    return True


def _origins() -> list[Origin | None]:
    full = [
        Origin(kind=kind, id="7", via="link:0a", on_behalf_of="alice", address="2606:4700::1", request_id="r")
        for kind in get_args(OriginKind)
    ]
    return [None, *full, *(Origin(kind=kind) for kind in get_args(OriginKind))]


@pytest.mark.parametrize("action", get_args(Action))
def test_each_row_is_a_valid_event(
    action: Action, ocsf: dict[str, Any], event_of: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    uid, activity = ACTIVITIES[action]
    schema = ocsf_json_schema.OcsfJsonSchemaEmbedded(ocsf).get_class_schema(class_name=CLASSES[uid])
    validator = jsonschema.Draft202012Validator(schema)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    entry = Entry(id=7, account="acct-1", cidr="8.8.8.0/24", label=None, created_at=at, created_by="me")
    for origin in _origins():
        for account, details in (("acct-1", None), (None, {"count": 3}), ("acct-1", {"before": {"mode": "off"}})):
            change = Change(
                sequence=12,
                at=at,
                actor=None if account is None else "me",
                account=account,
                action=action,
                before=(),
                after=(entry,),
                details=details,
                origin=origin,
            )
            event = event_of(json.loads(json.dumps(change_record(change))))
            validator.validate(event)
            assert (event["class_uid"], event["activity_id"]) == (int(uid), int(activity.split(" ")[0]))


def test_an_action_of_a_later_version_is_other(event_of: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    change = Change(sequence=1, at=at, actor=None, account="a", action="add", before=(), after=())
    assert event_of({**change_record(change), "action": "new"})["activity_id"] == 99
