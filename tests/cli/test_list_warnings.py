"""What commands say of a list after a change: the same as `list`, whatever its mode is and whether it is closed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cidrgate

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

_OFF = "--confirm disable_enforcement"
_DENIED, _ALLOWED = "every address is denied", "every address is allowed"
_END = "2199-01-31 18:00:00 UTC"
SETTINGS = {
    "open": "enforce",
    "closed": "enforce --closed",
    "reporting": f"report_only {_OFF}",
    "paused": f"off {_OFF}",
    "paused-until": f"off --until 2199-01-31T18:00+00:00 {_OFF}",
    "closed-paused-until": f"off --closed --until 2199-01-31T18:00+00:00 {_OFF}",
}
WARNINGS = {
    ("open", "remove"): f"a has no entries and is not enforced: {_ALLOWED}",
    ("closed", "remove"): f"a has no current entries and is closed: {_DENIED}",
    **dict.fromkeys([("open", "add"), ("open", "edit"), ("closed", "add"), ("closed", "edit")], ""),
    **{("reporting", change): f"a only reports: {_ALLOWED}" for change in ("add", "edit", "remove")},
    **{("paused", change): f"a is paused: {_ALLOWED}" for change in ("add", "edit", "remove")},
    **{
        (setting, change): f"a is paused until {_END}: {_ALLOWED}"
        for setting in ("paused-until", "closed-paused-until")
        for change in ("add", "edit", "remove")
    },
}
CHANGES = {
    "add": ["add", "a", "1.1.1.0/24"],
    "edit": ["edit", "a", "8.8.8.0/24", "--label", "office"],
    "remove": ["remove", "a", "8.8.8.0/24", "--empty"],
}


@pytest.mark.parametrize(("setting", "change"), WARNINGS)
def test_a_change_warns_as_the_list_does(cidrgate: Cidrgate, setting: str, change: str) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    cidrgate("mode", "a", *SETTINGS[setting].split())
    said = cidrgate(*CHANGES[change]).out.splitlines()
    listed = cidrgate("list", "a").out.splitlines()
    warning = WARNINGS[setting, change]
    assert [line for line in said if line.startswith("a ")] == ([warning] if warning else [])
    assert [line for line in listed if line.startswith("a ")] == ([warning] if warning else [])
    record, shown = cidrgate(*CHANGES["add"][:2], "9.9.9.0/24", "--json").record, cidrgate("list", "a", "--json").record
    assert (record["enforced"], record["mode"]) == (shown["enforced"], shown["mode"])
    assert record["entry_count"] == len(shown["items"])


def test_an_account_that_would_be_created_is_as_one_that_is(cidrgate: Cidrgate) -> None:
    cidrgate("add", "other", "8.8.8.0/24", "--create")
    parts: tuple[list[str], ...] = (
        ["--closed"],
        ["--display-name", "Acme"],
        ["--display-name", "Acme", "--closed"],
        ["--parent", "other"],
        [],
    )
    for options in parts:  # each has the name of an account that was deleted, and continues its versions
        create = ["account", "create", "a", *options, "--json"]
        tried, made = cidrgate(*create, "--dry-run").record, cidrgate(*create).record
        del made["created_at"]
        assert {member: tried[member] for member in made} == made
        cidrgate("account", "delete", "a", "--confirm", "disable_enforcement")


def test_a_list_that_only_reports_needs_no_way_in(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    assert "to allow it: cidrgate add a 9.9.9.9/32" in cidrgate("explain", "a", "9.9.9.9").out
    cidrgate("mode", "a", *SETTINGS["reporting"].split())
    assert "to list it: cidrgate add a 9.9.9.9/32" in cidrgate("explain", "a", "9.9.9.9").out


def test_the_state_of_a_list_is_made_in_one_place() -> None:
    """A state that is made by hand lacks what its defaults leave out: the end of a mode, or that a list is closed."""
    folder = Path(cidrgate.__file__).parent
    made = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if " ListState(" in path.read_text()}
    assert made == {"values.py"}, "use list_state or list_state_of"
