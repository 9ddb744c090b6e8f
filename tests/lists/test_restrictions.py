"""What may restrict an entry of a foreign file is refused until the caller says what it is: columns and comments."""

import json
from collections.abc import Mapping

import pytest

from cidrgate.errors import RuleError
from cidrgate.lists.json_files import read_json
from cidrgate.lists.normalizing import normalized
from cidrgate.lists.plain_lists import read_plain_list
from cidrgate.lists.rows import ListFileError, Row
from cidrgate.lists.tables import read_table
from cidrgate.rules import split_submission, validate_replacement
from cidrgate.rules.policy import Policy
from cidrgate.service.console.pasting import pasted_networks

RESTRICTING_NAMES = (
    *("type", "Rule Type", "status", "state", "permission", "effect", "access", "verdict", "policy", "rule", "negate"),
    *("exclude", "excluded", "block", "isBlocked", "revoked", "revokedAt", "deleted", "deleted_at", "mode", "action"),
    *("valid until", "Expires", "isActive", "enabled_by", "denied", "suspended", "allow", "ends_at", "not_before"),
    *("ttl_seconds", "ttl", "lifetime", "duration", "days", "gültig bis", "gueltig_bis", "fecha_fin", "bloqueado"),
    *("gesperrt", "deprecated", "from", "direction", "port", "protocol", "environment", "service", "user", "netmask"),
    *("created_until", "entry_for", "tag_ttl", "date", "time", "x", "?", "7", "範囲"),
)
OTHER_NAMES = (
    *("note", "city", "region", "owner_email", "created_at", "id", "team", "ticket", "Notes", "Description", "Tags"),
    *("createdBy", "Last modified on (UTC)", "customer_name", "ticket-2", "network_name", "external_id", "last_used"),
)
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
@pytest.mark.parametrize("columns", ["account,cidr,note", "account,cidr,label,note"])
def test_a_value_that_may_restrict_is_refused_whatever_its_column_is_named(value: str, columns: str) -> None:
    more = "," * (columns.count(",") - 2)
    lines = [f"{columns}\n", f"a,9.9.9.0/24{more},fine\n", f"a,8.8.8.0/24{more},{value}\n"]
    with pytest.raises(ListFileError, match=r"the column 'note' may restrict .* in line 3, .*--columns ignore=note"):
        list(read_table(lines))
    assert len(list(read_table(lines, columns={"ignore": "note"}))) == 2
    assert len(list(read_table(lines, columns={"label": "note"}))) == 2
    assert "the field 'note'" in document("note", value).problem
    assert "the field 'note.id'" in document("note", {"id": [value]}).problem
    assert document("note", {"id": [value]}, {"ignore": "note"}).problem == ""
    assert document("note", {"id": [value]}, {"ignore": "note.id"}).problem == ""


def test_values_of_json_and_columns_without_a_name() -> None:
    assert "the field 'note' is false" in document("note", value=False).problem
    assert document("note", value=True).problem == ""
    assert "the field 'note.type'" in document("note", {"type": "z"}).problem
    with pytest.raises(ListFileError, match=r"the column 3 may restrict .* no name"):
        table("", "deny")


def test_all_columns_that_may_restrict_are_named_at_once() -> None:
    lines = ["account,cidr,ttl,note,valid until\n", "a,8.8.8.0/24,60,x,2027\n"]
    with pytest.raises(
        ListFileError, match=r"'ttl', 'valid until' may restrict .* --columns 'ignore=ttl\|valid until'"
    ):
        list(read_table(lines))
    assert len(list(read_table(lines, columns={"ignore": "ttl|valid until"}))) == 1


def test_an_object_around_a_field_that_counts_is_no_column() -> None:
    columns = {"account": "of.customer", "cidr": "wan.v4"}
    item = {"of": {"customer": "a"}, "wan": {"v4": "8.8.8.0/24"}}
    assert [row.problem for row in read_json([item], columns=columns)] == [""]
    [row] = read_json([item | {"wan": {"v4": "8.8.8.0/24", "ports": [22]}}], columns=columns)
    assert "the field 'wan.ports' may restrict" in row.problem
    assert [one.problem for one in read_json([item | {"x": {"y": 1}}], columns=columns | {"ignore": "x.y"})] == [""]


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


SIGNS = (" # ", "#", " ; ", ";", " // ", "\t//")


def commented(text: str, *, labels: bool = False) -> dict[str, list[Row]]:
    """Return the rows of each reader for a network with something behind it."""
    return {
        "plain": list(read_plain_list([f"{text}\n"], "a", comments_as_labels=labels)),
        "table": list(read_table(["account,cidr,label\n", f'a,"{text}",\n'], comments_as_labels=labels)),
        "label": list(read_table(["account,cidr,label\n", f'a,"{text}",x\n'], comments_as_labels=labels)),
    }


@pytest.mark.parametrize("value", RESTRICTING_VALUES)
@pytest.mark.parametrize("sign", SIGNS)
def test_a_comment_that_may_restrict_is_refused_until_it_is_a_label(value: str, sign: str) -> None:
    for said in (value, f"[{value.strip()}]", f"Bern; {value}", f"status={value}"):
        text = f"8.8.8.0/24{sign}{said}"
        for reader, rows in commented(text).items():
            assert [row.entry.cidr for row in rows] == ["8.8.8.0/24"], reader
            assert "may restrict the entry" in rows[0].problem, reader
            assert "--comments-as-labels" in rows[0].problem, reader
        labels = commented(text, labels=True)
        assert [row.problem for row in labels["plain"] + labels["table"]] == ["", ""]
        assert "may restrict the entry" in labels["label"][0].problem


@pytest.mark.parametrize("value", [value for value in OTHER_VALUES if not value.isdigit()])
@pytest.mark.parametrize("sign", SIGNS)
def test_other_comments_are_ignored(value: str, sign: str) -> None:
    for rows in commented(f"8.8.8.0/24{sign}{value}").values():
        assert [(row.entry.cidr, row.problem) for row in rows] == [("8.8.8.0/24", "")]


def test_ignored_comments_are_counted_without_those_that_are_refused() -> None:
    notes: list[str] = []
    list(read_plain_list(["8.8.8.0/24 # Bern\n", "9.9.9.0/24 # revoked\n"], "a", notes=notes))
    assert notes == ["ignored 1 comment behind a network: --comments-as-labels makes labels of comments"]


MISTYPED = (
    *("9.9.9.9.9", "9.9.9.300", "1.0.0.300/24", "9.9.9.O/24", "9.9.9/24", "2606:4700:/32", "2606:4700::g/32"),
    *("2606:4700:1:2:3:4:5:6:7/64", "(9.9.9.300)", "9.9.300.*"),
)


@pytest.mark.parametrize("mistyped", MISTYPED)
@pytest.mark.parametrize("sign", [";", "; ", " ; ", " // ", "//"])
@pytest.mark.parametrize("labels", [False, True])
def test_a_mistyped_network_is_no_comment(mistyped: str, sign: str, labels: bool) -> None:
    for reader, rows in commented(f"8.8.8.0/24{sign}{mistyped}", labels=labels).items():
        assert any(mistyped.strip("()") in row.entry.cidr for row in rows), reader


@pytest.mark.parametrize("text", ["8.8.8.0//24", "8.8.8.0 // 24", "8.8.8.0//24 # Bern", "8.8.8.0 //24"])
def test_a_length_behind_two_slashes_is_no_comment(text: str) -> None:
    for rows in commented(text).values():
        assert ["//" in row.entry.cidr for row in rows] == [True]


@pytest.mark.parametrize(
    "comment",
    ["support 24/7", "since 2020-01-01", "01.02.2020", "10:30:00", "aa:bb:cc:dd:ee:ff", "v1.2", "std::x"],
)
@pytest.mark.parametrize("sign", [";", " // "])
def test_numbers_that_are_no_network_are_a_comment(comment: str, sign: str) -> None:
    for rows in commented(f"8.8.8.0/24{sign}{comment}").values():
        assert [(row.entry.cidr, row.problem) for row in rows] == [("8.8.8.0/24", "")]


@pytest.mark.parametrize("value", [*RESTRICTING_VALUES, *MISTYPED])
@pytest.mark.parametrize("sign", [*SIGNS, ",", " ", "|"])
def test_texts_without_comments_refuse_what_is_behind_a_network(value: str, sign: str) -> None:
    text = f"8.8.8.0/24{sign}{value}"
    with pytest.raises(RuleError):
        validate_replacement(split_submission(text), Policy())
    with pytest.raises(RuleError):
        normalized(text)
    pasted = pasted_networks(text)
    if pasted:
        with pytest.raises(RuleError):
            validate_replacement(split_submission(list(pasted)), Policy())
