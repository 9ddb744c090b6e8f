"""A rule is one row of `RULES`: whatever else names the rules says the same."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, get_args

import pytest

from cidrgate import NewEntry, Policy, Problem, RuleError
from cidrgate.errors import ProblemCode
from cidrgate.rules import RULES, Rule, checks, validate_addition
from cidrgate.service.api.schemas import ProblemErrorModel
from cidrgate.service.console.formatting import PROBLEM_TITLES
from tests.docs.pages import PAGES, ROOT
from tests.golden_rules import BROKEN, golden_validate

OF_LATER: Any = "of_a_later_version"
"""The code of a rule that a later version adds."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_each_rule_finds_what_breaks_it(rule: Rule) -> None:
    assert rule.code in BROKEN, f"add a submission that breaks {rule.code} to BROKEN in tests/golden_rules.py"
    text, existing, policy = BROKEN[rule.code]
    assert [code for code, _, _ in golden_validate([text], existing, policy)[0]] == [rule.code], (
        f"write the rule {rule.code} a second time in golden_validate of tests/golden_rules.py"
    )
    with pytest.raises(RuleError) as caught:
        validate_addition([NewEntry(text)], existing, policy)
    assert [problem.code for problem in caught.value.problems] == [rule.code]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.in_engine], ids=lambda rule: rule.code)
def test_the_engine_accepts_nothing_that_breaks_a_rule_of_its_own(rule: Rule) -> None:
    text, existing, policy = BROKEN[rule.code]
    assert checks._NOTHING_SPECIAL.canonical([*existing, text], policy.max_entries) is None, (
        f"PlainLists accepts what breaks {rule.code}: leave in_engine away in its row of RULES, so that it is checked"
    )


def test_a_rule_that_the_engine_does_not_know_is_checked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(piece: checks.Piece, _policy: Policy) -> Problem | None:
        return piece.problem(OF_LATER, [], "list less") if piece.cidr.endswith("/8") else None

    rule = Rule(OF_LATER, "Too wide", "it is wider than it may be", "how long it must be", check)
    monkeypatch.setattr(checks, "_OF_PIECES", (*checks._OF_PIECES, (rule, check)))
    monkeypatch.setattr(checks, "_AFTER_ENGINE", ((rule, check),))
    assert validate_addition([NewEntry("8.8.8.0/24")], ["9.0.0.0/8"], Policy()) == ["8.8.8.0/24"]
    with pytest.raises(RuleError) as caught:
        validate_addition([NewEntry("8.0.0.0/8")], ["9.9.9.0/24"], Policy())
    assert [problem.code for problem in caught.value.problems] == [OF_LATER]


def test_no_problem_has_a_code_that_is_no_rule() -> None:
    named = {
        code
        for path in (ROOT / "src/cidrgate").rglob("*.py")
        for code in re.findall(r'(?:\bProblem\(\s*code=|\.problem\(\s*)"(\w+)"', path.read_text())
    }
    assert named == {rule.code for rule in RULES}


def test_what_lists_the_rules_lists_them_all() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert list(get_args(ProblemCode)) == codes, "ProblemCode in cidrgate/errors.py"
    assert list(PROBLEM_TITLES) == codes
    assert all(rule.title and rule.when and rule.told for rule in RULES)
    assert ProblemErrorModel.model_json_schema()["properties"]["code"]["x-extensible-enum"][: len(codes)] == codes
    assert BROKEN.keys() == set(codes), "BROKEN in tests/golden_rules.py"


def test_no_text_counts_the_rules() -> None:
    """A number of the rules in a text would be forgotten when a rule is added."""
    counted = re.compile(r"\b(?:five|six|seven|eight|[5-8]) (?:\w+ )?(?:rules|checks)\b", re.IGNORECASE)
    texts = [*PAGES, *(path for suffix in ("py", "html") for path in (ROOT / "src/cidrgate").rglob(f"*.{suffix}"))]
    found = {str(path.relative_to(ROOT)): counted.findall(path.read_text()) for path in texts}
    assert not {path: said for path, said in found.items() if said}, "say 'the rules', without their number"


def test_an_option_of_the_policy_says_what_its_option_is() -> None:
    for option in fields(Policy):
        assert option.metadata.get("help"), f"say in cidrgate/rules/policy.py what {option.name} is for"
        assert isinstance(option.metadata.get("option"), dict)
