"""A rule is one row of `RULES`: whatever else names the rules says the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cidrgate import NewEntry, Policy, Problem, RuleError
from cidrgate.rules import RULES, Rule, checks, validate_addition
from cidrgate.service.api.schemas import RuleProblem
from cidrgate.service.console.formatting import PROBLEM_TITLES
from tests import golden_rules

ROOT = Path(__file__).parents[2]

BROKEN = {
    "invalid_format": ("8.8.8.8", []),
    "special_range": ("10.0.0.0/8", []),
    "duplicate_entry": ("8.8.8.0/24", ["8.8.8.0/24"]),
    "subset_exists": ("8.8.8.8/32", ["8.8.8.0/24"]),
    "superset_conflict": ("8.8.0.0/16", ["8.8.8.0/24"]),
    "limit_reached": ("9.9.9.0/24", ["8.8.8.0/24", "1.1.1.1/32"]),
}
"""For each rule a submission that breaks it alone, and the list that it meets."""

POLICY = Policy(max_entries=2)

TOO_WIDE: Any = "too_wide"
"""The code of a rule that a later version adds."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_rule_finds_what_breaks_it(rule: Rule) -> None:
    assert rule.code in BROKEN, f"add a submission that breaks {rule.code} to BROKEN in tests/rules/test_rules_table.py"
    text, existing = BROKEN[rule.code]
    with pytest.raises(RuleError) as caught:
        validate_addition([NewEntry(text)], existing, POLICY)
    assert [problem.code for problem in caught.value.problems] == [rule.code]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.in_engine], ids=lambda rule: rule.code)
def test_the_engine_accepts_nothing_that_breaks_a_rule_of_its_own(rule: Rule) -> None:
    text, existing = BROKEN[rule.code]
    assert checks._NOTHING_SPECIAL.canonical([*existing, text], POLICY.max_entries) is None, (
        f"PlainLists accepts what breaks {rule.code}: leave in_engine away in its row of RULES, so that it is checked"
    )


def test_a_rule_that_the_engine_does_not_know_is_checked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(piece: checks.Piece, _policy: Policy) -> Problem | None:
        return piece.problem(TOO_WIDE, [], "list less") if piece.cidr.endswith("/8") else None

    rule = Rule(TOO_WIDE, "Too wide", "it is wider than it may be", check)
    monkeypatch.setattr(checks, "_OF_PIECES", (*checks._OF_PIECES, (rule, check)))
    monkeypatch.setattr(checks, "_AFTER_ENGINE", ((rule, check),))
    assert validate_addition([NewEntry("8.8.8.0/24")], ["9.0.0.0/8"], POLICY) == ["8.8.8.0/24"]
    with pytest.raises(RuleError) as caught:
        validate_addition([NewEntry("8.0.0.0/8")], ["9.9.9.0/24"], POLICY)
    assert [problem.code for problem in caught.value.problems] == ["too_wide"]


def test_no_problem_has_a_code_that_is_no_rule() -> None:
    named = {
        code
        for path in (ROOT / "src/cidrgate").rglob("*.py")
        for code in re.findall(r'(?:\bProblem|\.problem)\(\s*"(\w+)"', path.read_text())
    }
    assert named == {rule.code for rule in RULES}


def test_what_lists_the_rules_lists_them_all() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert list(PROBLEM_TITLES) == codes
    assert all(rule.title and rule.when for rule in RULES)
    assert RuleProblem.model_json_schema()["properties"]["code"]["enum"] == codes
    oracle = Path(golden_rules.__file__).read_text()
    pages = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    for code in codes:
        assert f'"{code}"' in oracle, f"write the rule {code} a second time in tests/golden_rules.py"
        assert f"`{code}`" in pages, f"the documentation does not list the rule {code}"


def test_an_option_of_the_policy_says_what_its_option_is() -> None:
    for option in fields(Policy):
        assert option.metadata.get("help"), f"say in cidrgate/rules/policy.py what {option.name} is for"
        assert isinstance(option.metadata.get("option"), dict)
