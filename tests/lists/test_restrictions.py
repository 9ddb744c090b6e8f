"""Columns and fields of foreign files that may restrict an entry are refused until the caller says what they are."""

import json
from collections.abc import Mapping

import pytest

from cidrgate.lists.json_files import read_json
from cidrgate.lists.rows import ListFileError, Row
from cidrgate.lists.tables import read_table

RESTRICTING_NAMES = (
    *("type", "Rule Type", "status", "state", "permission", "effect", "access", "verdict", "policy", "rule", "negate"),
    *("exclude", "excluded", "block", "isBlocked", "revoked", "revokedAt", "deleted", "deleted_at", "mode", "action"),
    *("valid until", "Expires", "isActive", "enabled_by", "denied", "suspended", "allow", "ends_at", "not_before"),
)
OTHER_NAMES = ("note", "city", "region", "owner_email", "prototype", "created_at", "id", "team", "ticket", "statement")
RESTRICTING_VALUES = (
    *("deny", "DENY", "denied", "block", "Blocked", "disabled", "inactive", "revoked", "expired", "false", "FALSE"),
    *("no", " No ", "reject", "not allowed", "blocked since May", "suspended", "deleted", "off", "excluded"),
)
OTHER_VALUES = (
    "allow",
    "yes",
    "true",
    "active",
    "north",
    "office",
    "0",
    "1",
    "",
    "notes",
    "blockchain team",
    "Offenbach",
)


def table(name: str, value: str, columns: Mapping[str, str] | None = None) -> list[Row]:
    first = f"a,9.9.9.0/24,{'plain'}\n"
    return list(read_table([f"account,cidr,{name}\n", first, f"a,8.8.8.0/24,{value}\n"], columns=columns))


def document(name: str, value: object, columns: Mapping[str, str] | None = None) -> Row:
    item = json.loads(json.dumps({"account": "a", "cidr": "8.8.8.0/24", name: value}))
    [row] = read_json([item], columns=columns)
    return row


@pytest.mark.parametrize("name", RESTRICTING_NAMES)
def test_a_name_that_may_restrict_is_refused_until_it_is_ignored(name: str) -> None:
    with pytest.raises(ListFileError, match="may restrict entries"):
        table(name, "allow")
    assert "may restrict the entry" in document(name, "allow").problem
    ignoring = {"ignore": name}
    assert [row.entry.cidr for row in table(name, "deny", ignoring)] == ["9.9.9.0/24", "8.8.8.0/24"]
    assert document(name, "deny", ignoring).problem == ""


@pytest.mark.parametrize("value", RESTRICTING_VALUES)
@pytest.mark.parametrize("columns", ["account,cidr,x", "account,cidr,label,x"])
def test_a_value_that_may_restrict_is_refused_whatever_its_column_is_named(value: str, columns: str) -> None:
    more = "," * (columns.count(",") - 2)
    lines = [f"{columns}\n", f"a,9.9.9.0/24{more},fine\n", f"a,8.8.8.0/24{more},{value}\n"]
    with pytest.raises(ListFileError, match=r"the column 'x' may restrict .* in line 3, .*--columns ignore=x"):
        list(read_table(lines))
    assert len(list(read_table(lines, columns={"ignore": "x"}))) == 2
    assert len(list(read_table(lines, columns={"label": "x"}))) == 2
    assert "the field 'x'" in document("x", value).problem
    assert "the field 'x.y'" in document("x", {"y": [value]}).problem
    assert document("x", {"y": [value]}, {"ignore": "x"}).problem == ""
    assert document("x", {"y": [value]}, {"ignore": "x.y"}).problem == ""


def test_values_of_json_and_columns_without_a_name() -> None:
    assert "the field 'x' is false" in document("x", value=False).problem
    assert document("x", value=True).problem == ""
    assert "the field 'x.type'" in document("x", {"type": "z"}).problem
    with pytest.raises(ListFileError, match=r"the column 3 may restrict .* no name"):
        table("", "deny")


@pytest.mark.parametrize("name", OTHER_NAMES)
@pytest.mark.parametrize("value", OTHER_VALUES)
def test_other_columns_are_ignored(name: str, value: str) -> None:
    assert len(table(name, value)) == 2
    assert document(name, value).problem == ""


def test_the_way_out_is_quoted_for_a_shell() -> None:
    for problem in (document("valid until", "2020").problem, document("it's off", "blocked").problem):
        assert "--columns 'FIELD=" in problem
    with pytest.raises(ListFileError, match="--columns 'ignore=valid until' to import"):
        table("valid until", "2020")
