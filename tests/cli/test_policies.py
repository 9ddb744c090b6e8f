"""`policy show` and `policy set`: what applies, which lists it does not fit, and what a wide network must confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

DEFAULTS = {"max_entries": 50, "allow_special": False, "widest_ipv4": 8, "widest_ipv6": 16}
NOTHING = dict.fromkeys(DEFAULTS)


def shown(cidrgate: Cidrgate, *options: str) -> dict[str, Any]:
    return cidrgate("policy", "show", *options, "--json").record


@pytest.fixture(autouse=True)
def listed(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.8/32, 9.9.9.9/32", "--create")
    cidrgate("account", "create", "sub-1", "--parent", "acct-1")


def test_an_option_is_stored_for_the_store_or_for_an_account(cidrgate: Cidrgate) -> None:
    assert (shown(cidrgate)["stored"], shown(cidrgate)["effective"]) == (NOTHING, DEFAULTS)
    cidrgate("policy", "set", "--max-entries", "9", "--widest-ipv4", "4", "--allow-special")
    # Unlike a request, a command leaves the other options as they are.
    done = cidrgate("policy", "set", "--widest-ipv6", "20", "--unset", "widest-ipv4", "--json").record
    assert done["stored"] == {**NOTHING, "max_entries": 9, "allow_special": True, "widest_ipv6": 20}
    cidrgate("policy", "set", "--account", "acct-1", "--max-entries", "7", "--no-allow-special")
    for name in ("acct-1", "sub-1"):
        assert shown(cidrgate, "--account", name)["effective"] == {
            **DEFAULTS,
            "max_entries": 7,
            "widest_ipv6": 20,
        }
    table = cidrgate("policy", "show", "--account", "acct-1").out.splitlines()
    assert [line.split() for line in table if line.startswith("max_entries")] == [
        ["max_entries", "7", "the", "account"]
    ]
    assert "limit" in cidrgate("add", "acct-1", ", ".join(f"7.7.7.{one}/32" for one in range(6)), status=3).err
    cidrgate("add", "acct-1", ", ".join(f"7.7.7.{one}/32" for one in range(5)))
    row = cidrgate("history", "acct-1", "--json").record["items"][1]
    assert (row["action"], row["actor"], row["details"]["after"]["max_entries"]) == ("set_policy", "tester", 7)


@pytest.mark.parametrize("options", [(), ("--account", "acct-1")], ids=["store", "account"])
def test_lists_over_a_new_limit_are_named_and_stay(cidrgate: Cidrgate, options: tuple[str, ...]) -> None:
    before = cidrgate.listed("acct-1")
    said = "unchanged, until somebody removes entries: 1 list with more entries than the limit: acct-1"
    tried = cidrgate("policy", "set", *options, "--max-entries", "1", "--dry-run")
    assert said in tried.out.splitlines()
    assert shown(cidrgate, *options)["stored"] == NOTHING
    dry = cidrgate("policy", "set", *options, "--max-entries", "1", "--dry-run", "--json").record
    assert (dry["dry_run"], dry["over_limit"]) == (True, ["acct-1"])
    assert said in cidrgate("policy", "set", *options, "--max-entries", "1").out.splitlines()
    assert cidrgate.listed("acct-1") == before
    assert "limit" in cidrgate("add", "acct-1", "7.7.7.7/32", status=3).err
    cidrgate("remove", "acct-1", "9.9.9.9/32")


def test_lists_with_ranges_that_are_not_allowed_any_more_are_named(cidrgate: Cidrgate) -> None:
    cidrgate("policy", "set", "--allow-special")
    cidrgate("add", "acct-1", "10.0.0.0/24")
    out = cidrgate("policy", "set", "--no-allow-special").out
    assert "1 list with special-purpose ranges that are not allowed any more: acct-1" in out


def test_an_expected_version_is_checked(cidrgate: Cidrgate) -> None:
    assert shown(cidrgate)["version"] == 0
    first = cidrgate("policy", "set", "--max-entries", "9", "--expect-version", "0")
    refused = cidrgate("policy", "set", "--max-entries", "8", "--expect-version", "0", "--json", status=5)
    assert refused.error["code"] == "version_conflict"
    assert shown(cidrgate)["stored"]["max_entries"] == 9
    # What is to be stored contradicts nothing that is stored.
    assert first.err == cidrgate("policy", "set", "--max-entries", "8", "--expect-version", "1").err == ""


@pytest.mark.parametrize(
    ("options", "words", "status"),
    [
        ((), "nothing to change", 2),
        (("--allow-special", "--no-allow-special"), "not both", 2),
        (("--max-entries", "9", "--unset", "max-entries"), "not both", 2),
        (("--unset", "deny"), "there is no option 'deny'", 2),
        (("--widest-ipv4", "33"), "33", 2),
        (("--account", "nobody", "--max-entries", "9"), "no account 'nobody'", 4),
        (("--account", "sub-1", "--max-entries", "9"), "uses the list of 'acct-1'", 3),
    ],
)
def test_what_is_typed_wrongly_changes_nothing(
    cidrgate: Cidrgate, options: tuple[str, ...], words: str, status: int
) -> None:
    assert words in cidrgate("policy", "set", *options, status=status).err
    assert shown(cidrgate)["version"] == 0


@pytest.mark.parametrize("options", [(), ("--account", "acct-1")], ids=["store", "account"])
def test_a_wide_network_is_confirmed_as_the_policy_says(cidrgate: Cidrgate, options: tuple[str, ...]) -> None:
    refused = cidrgate("add", "acct-1", "20.0.0.0/7", status=3)
    assert "20.0.0.0/7" in refused.err
    assert "--confirm wide_entry" in refused.err
    assert len(cidrgate.listed("acct-1")) == 2
    tried = cidrgate("add", "acct-1", "20.0.0.0/7", "--dry-run", status=3)
    assert tried.err.startswith("no traffic is stored")  # who calls is said before it is confirmed
    assert tried.err.endswith(refused.err)
    cidrgate("add", "acct-1", "20.0.0.0/7", "--confirm", "wide_entry")
    cidrgate("policy", "set", *options, "--widest-ipv4", "24")
    cidrgate("add", "acct-1", "30.0.0.0/23", status=3)
    assert len(cidrgate.listed("acct-1")) == 3
    cidrgate("policy", "set", *options, "--widest-ipv4", "4")
    cidrgate("add", "acct-1", "48.0.0.0/4")
