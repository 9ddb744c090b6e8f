"""Dry runs say who of those who called would be denied, and what is not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from tests.observed import store_observed

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate


@pytest.fixture
def called(cidrgate: Cidrgate) -> Cidrgate:
    """An account, its subaccount, and a dozen addresses that called."""
    cidrgate("add", "a", "8.8.8.0/24, 1.1.1.1/32", "--create")
    cidrgate("account", "create", "s", "--parent", "a")
    seen = [("a", f"8.8.8.{host}/32", host) for host in range(1, 13)]
    seen += [("s", "8.8.8.0/24", 5000), ("a", "9.9.9.9/32", 70_000)]
    with RuleManager.open(cidrgate.database, load=False) as manager:
        store_observed(manager, *seen)
    return cidrgate


DENIED = "in the last 30 days, 12 addresses and 1 network with 5,078 requests of 2 accounts would be denied:"


def test_a_dry_run_names_who_would_be_denied(called: Cidrgate) -> None:
    out = called("remove", "a", "8.8.8.0/24", "--dry-run").out.splitlines()
    begin = out.index(DENIED)
    assert out[begin + 1].split() == ["address", "account", "requests", "last", "request", "(UTC)"]
    assert [line.split()[:3] for line in out[begin + 2 : begin + 5]] == [
        ["8.8.8.0/24", "s", "5,000"],
        ["8.8.8.12", "a", "12"],
        ["8.8.8.11", "a", "11"],
    ]
    assert out[begin + 12 :] == ["and 3 more", "nothing was changed: this was a dry run"]
    record = called("remove", "a", "8.8.8.0/24", "--dry-run", "--json").record
    assert len(record["evaluation"]["newly_denied"]["named"]) == 13
    assert (record["evaluation"]["unknown"], record["evaluation_missing"]) == ([], None)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("add a 9.9.9.9/32", "1 address with 70,000 requests would be allowed that are denied now"),
        ("add a 4.4.4.4/32", "no request that was observed in the last 30 days would be newly denied"),
        ("edit a 8.8.8.0/24 8.8.8.0/25", "some requests of 1 network with 5,000 requests would be denied"),
        ("edit a 8.8.8.0/24 --label x", "every request would be decided as it is now"),
        ("replace a 1.1.1.1/32", DENIED),
        ("restore a --to-sequence 1 --empty", "1 address with 70,000 requests would be allowed"),
        ("undo a 2 --empty", "1 address with 70,000 requests would be allowed"),
        ("mode a off --confirm disable_enforcement", "1 address with 70,000 requests would be allowed"),
        ("pause a --for 1h --confirm disable_enforcement", "1 address with 70,000 requests would be allowed"),
        ("account edit s --no-parent --confirm disable_enforcement", "every request would be decided"),
    ],
)
def test_every_dry_run_that_changes_a_list_is_evaluated(called: Cidrgate, command: str, said: str) -> None:
    if command.startswith("account edit"):
        said = "no request that was observed"
    assert said in called(*command.split(), "--dry-run").out
    assert called(*command.split(), "--dry-run", "--json").record["evaluation"]["until"]
    made = called(*command.split(), "--json").record
    assert "evaluation" not in made


def test_what_a_part_of_a_network_did_is_not_known(called: Cidrgate) -> None:
    out = called("edit", "a", "8.8.8.0/24", "8.8.8.0/25", "--dry-run").out
    assert "not known: the change affects a part of networks" in out


def test_resuming_says_who_would_be_denied(called: Cidrgate) -> None:
    called("pause", "a", "--for", "1h", "--confirm", "disable_enforcement")
    assert "1 address with 70,000 requests would be denied:" in called("resume", "a", "--dry-run").out


def test_a_plan_is_evaluated_as_a_whole(called: Cidrgate) -> None:
    declared = json.dumps({"accounts": {"a": {"entries": ["1.1.1.1/32"]}, "b": {"entries": ["4.4.4.4/32"]}}})
    for command, status in ((["plan"], 2), (["apply", "--dry-run"], 0)):
        out = called(*command, "--prune", "-", stdin=declared, status=status).out
        assert DENIED in out
        assert "not known: no request for account 'b' was observed" in out
        record = called(*command, "--prune", "-", "--json", stdin=declared, status=status).record
        assert (record["evaluation"]["lists"], record["evaluation"]["newly_denied"]["requests"]) == (2, 5078)
    planned = called("plan", "--prune", "-", "--json", stdin=declared, status=2).out
    (called.database.parent / "plan.json").write_text(planned)
    made = called(
        "apply",
        "--prune",
        "--yes",
        "-",
        "--planned",
        str(called.database.parent / "plan.json"),
        "--json",
        stdin=declared,
    )
    assert made.record["applied"]
    assert "evaluation" not in made.record


def test_who_prunes_sees_who_would_be_denied_before_the_question(called: Cidrgate) -> None:
    declared = json.dumps({"accounts": {"a": {"entries": ["1.1.1.1/32"]}}})
    asked = called("apply", "--prune", "-", stdin=declared, status=3)
    assert DENIED.removesuffix(":") in asked.err


def test_a_dry_run_says_how_to_record_traffic(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    assert "start the processes that decide with --traffic" in cidrgate("add", "a", "9.9.9.9/32", "--dry-run").out
    record = cidrgate("mode", "a", "off", "--dry-run", "--json", "--confirm", "disable_enforcement").record
    assert record["evaluation"] is None
    assert "--traffic" in record["evaluation_missing"]


def test_a_deletion_says_what_gates_would_do_by_their_settings(called: Cidrgate) -> None:
    delete = ["account", "delete", "a", "--recursive", "--confirm", "disable_enforcement", "--dry-run"]
    out = called(*delete).out
    assert "5,078 requests of 2 accounts would be denied by gates that deny unknown accounts:" in out
    assert "1 address with 70,000 requests that are denied now would be allowed by gates that allow unknown" in out
    assert "not known: what gates answer for 2 of 2 accounts after the deletion: their setting for unknown" in out
    record = called(*delete, "--json").record["evaluation"]
    assert record["denied_if_unlisted"]["requests"] == 5078
    assert called.accounts() == ["a", "s"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("account delete a --recursive", "5,078 requests of 2 accounts would be denied by gates that deny unknown"),
        ("account rename a new", "12 addresses with 78 requests would be denied by gates that deny unknown accounts"),
        ("remove a 8.8.8.0/24 1.1.1.1/32", "1 address with 70,000 requests would be allowed that are denied now"),
        ("mode a off", "1 address with 70,000 requests would be allowed that are denied now"),
    ],
)
def test_who_has_to_confirm_a_dry_run_reads_its_evaluation_first(called: Cidrgate, command: str, said: str) -> None:
    refused = called(*command.split(), "--dry-run", status=3)
    evaluated, _, error = refused.err.partition("error: ")
    assert said in evaluated
    assert "--confirm disable_enforcement" in error or "--empty" in error
    assert refused.out == ""
    # A program gets only the error.
    refused = called(*command.split(), "--dry-run", "--json", status=3)
    assert list(json.loads(refused.err)) == ["error"]


def test_a_renaming_says_who_uses_the_old_name(called: Cidrgate) -> None:
    rename = ["account", "rename", "a", "new", "--confirm", "disable_enforcement", "--dry-run"]
    out = called(*rename).out
    assert "not known: what gates answer to requests with the old name 'a'" in out
    assert "12 addresses with 78 requests would be denied by gates that deny unknown accounts:" in out
    assert "1 address with 70,000 requests that are denied now would be allowed by gates that allow unknown" in out
    assert "as it is now" not in out
    assert called(*rename, "--json").record["evaluation"]["unknown"][0]["code"] == "unlisted"
