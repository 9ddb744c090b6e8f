"""The rules against the golden rules, and every row of their table by example."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate import NewEntry, Policy, Problem, RuleError
from cidrgate.rules import split_submission, validate_addition, validate_edit, validate_replacement
from tests.golden_rules import PERMISSIVE, SPECIAL, golden_validate, policies

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLIC = ["8.0.0.0/8", "2600::/16", "1.1.0.0/16", "2a00::/12"]
ROOTS = [ip_network(text) for text in PUBLIC] + list(SPECIAL)


@st.composite
def cidrs(draw: st.DrawFn) -> str:
    """A network near a public root or a special block: inside it, around it, or itself; often sharing bits."""
    root = draw(st.sampled_from(ROOTS))
    longest = root.max_prefixlen
    length = draw(st.integers(max(0, root.prefixlen - 2), min(longest, root.prefixlen + 3)))
    if length <= root.prefixlen:
        return str(root.supernet(new_prefix=length))
    extra = draw(st.integers(0, 2 ** (length - root.prefixlen) - 1))
    return f"{root.network_address + (extra << (longest - length))}/{length}"


spoilt = st.sampled_from(["", "x", "8.8.8.8", "8.8.8.1/24", "8.8.8.0/33", "08.8.8.0/24", "8.8.8.0 /24", "::1%lo/128"])
mapped = st.sampled_from(["::ffff:8.8.8.0/120", "::ffff:0:0/96", "::fffe:0:0/95", "::ffff:10.0.0.0/104"])
texts = st.one_of(cidrs(), cidrs(), mapped, spoilt)


DISAGREE = "cidrgate/rules/checks.py and golden_validate in tests/golden_rules.py disagree"


def described(problems: list[Problem]) -> set[tuple[str, int, frozenset[str]]]:
    return {(problem.code, problem.position, frozenset(problem.conflicts)) for problem in problems}


def outcome(validation: Callable[[], list[str]]) -> tuple[list[str], list[Problem]]:
    """What a validation accepts, or the problems it finds."""
    try:
        return validation(), []
    except RuleError as error:
        return [], error.problems


def existing_list(candidates: list[str]) -> list[str]:
    """A valid list: candidates that break no rule with those before."""
    listed: list[str] = []
    for cidr in candidates:
        problems, canonical = golden_validate([cidr], listed, PERMISSIVE)
        if not problems:
            listed += canonical
    return listed


@given(st.lists(texts, min_size=1, max_size=8), st.lists(cidrs(), max_size=5), policies)
def test_addition_finds_what_the_golden_rules_find(pieces: list[str], candidates: list[str], policy: Policy) -> None:
    existing = existing_list(candidates)
    expected, canonical = golden_validate(pieces, existing, policy)
    accepted, problems = outcome(lambda: validate_addition([NewEntry(text) for text in pieces], existing, policy))
    assert described(problems) == expected, DISAGREE
    assert accepted == ([] if expected else canonical)
    assert [problem.position for problem in problems] == sorted(problem.position for problem in problems)
    assert all(problem.text == pieces[problem.position] and problem.hint for problem in problems)


@given(st.lists(texts, max_size=8), policies)
def test_replacement_is_an_addition_to_nothing(pieces: list[str], policy: Policy) -> None:
    expected, canonical = golden_validate(pieces, [], policy)
    accepted, problems = outcome(lambda: validate_replacement([NewEntry(text) for text in pieces], policy))
    assert described(problems) == expected, DISAGREE
    assert accepted == ([] if expected else canonical)


@given(texts, st.lists(cidrs(), max_size=5), policies)
def test_an_edit_meets_every_rule_but_the_limit(text: str, candidates: list[str], policy: Policy) -> None:
    others = existing_list(candidates)
    expected, canonical = golden_validate([text], others, replace(policy, max_entries=1_000))
    accepted, problems = outcome(lambda: [validate_edit(text, others, policy)])
    assert described(problems) == expected, DISAGREE
    assert accepted == ([] if expected else canonical)


def problems_of(text: str, existing: list[str] | None = None, policy: Policy | None = None) -> list[Problem]:
    with pytest.raises(RuleError) as caught:
        validate_addition(split_submission(text), existing or [], policy or Policy())
    return caught.value.problems


def test_a_wrong_format_is_reported_as_written_with_the_way_out() -> None:
    wrong, bare = problems_of("8.8.8.1/24, 9.9.9.0/24, 203.0.113.5")
    assert (wrong.code, wrong.text, wrong.position) == ("invalid_format", "8.8.8.1/24", 0)
    assert "write 8.8.8.0/24" in wrong.hint
    assert (bare.code, bare.text, bare.position) == ("invalid_format", "203.0.113.5", 2)
    assert "203.0.113.5/32" in bare.hint


def test_any_spelling_of_a_network_is_taken_and_made_canonical() -> None:
    submitted = split_submission([ip_network("8.8.8.0/24"), "2606:4700:0000:0:0:0:0:0/32, 2A00:1450::/32"])
    assert validate_addition(submitted, [], Policy()) == ["8.8.8.0/24", "2606:4700::/32", "2a00:1450::/32"]


def test_nothing_submitted_is_said_to_be_nothing() -> None:
    assert problems_of(" ,\n ") == [
        Problem(code="invalid_format", text="", position=0, conflicts=(), hint=problems_of("")[0].hint)
    ]
    assert "address/length" in problems_of("")[0].hint


def test_a_duplicate_names_the_entry_whatever_its_spelling() -> None:
    (problem,) = problems_of("2606:4700:0:0::/32", ["2606:4700::/32"])
    assert (problem.code, problem.conflicts) == ("duplicate_entry", ("2606:4700::/32",))


def test_a_subset_names_the_covering_entry() -> None:
    (problem,) = problems_of("8.8.8.0/24", ["8.0.0.0/8"])
    assert (problem.code, problem.conflicts) == ("subset_exists", ("8.0.0.0/8",))


def test_a_superset_names_every_entry_to_remove() -> None:
    (problem,) = problems_of("8.0.0.0/8", ["8.8.8.0/24", "9.9.9.0/24", "8.8.4.0/24"])
    assert (problem.code, problem.conflicts) == ("superset_conflict", ("8.8.4.0/24", "8.8.8.0/24"))
    assert "8.8.4.0/24, 8.8.8.0/24" in problem.hint


def test_a_special_range_is_named_with_its_document() -> None:
    (problem,) = problems_of("10.1.2.0/24")
    assert (problem.code, problem.conflicts) == ("special_range", ("10.0.0.0/8",))
    assert "Private-Use" in problem.hint
    assert "RFC 1918" in problem.hint


def test_a_mapped_network_is_sent_to_its_ipv4_form_where_that_may_be_listed() -> None:
    public, private = problems_of("::ffff:8.8.8.0/120, ::ffff:10.0.0.0/104")
    assert (public.code, public.conflicts) == (private.code, private.conflicts) == ("special_range", ("::ffff:0:0/96",))
    assert "write the IPv4 network 8.8.8.0/24" in public.hint
    assert "Private-Use (RFC 1918)" in private.hint
    assert "write" not in private.hint


def test_all_of_ipv4_is_special_for_its_reserved_parts() -> None:
    (problem,) = problems_of("0.0.0.0/0")
    assert problem.code == "special_range"
    assert {"10.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4"} <= set(problem.conflicts)


def test_the_limit_says_how_many_there_are_and_were_asked_for() -> None:
    existing = [f"8.8.{number}.0/24" for number in range(49)]
    (problem,) = problems_of("9.9.9.0/24, 9.9.8.0/24, 9.9.7.0/24", existing)
    assert (problem.code, problem.text, problem.position) == ("limit_reached", "9.9.8.0/24", 1)
    assert "49 of at most 50" in problem.hint
    assert "this submission adds 3" in problem.hint


def test_every_problem_of_a_submission_is_reported_at_once() -> None:
    found = problems_of("8.8.8.8, 10.0.0.0/8, 8.8.8.0/24\n8.8.0.0/16, 9.9.9.0/24, 9.9.9.0/24", ["8.8.8.0/24"])
    assert [(problem.position, problem.code) for problem in found] == [
        (0, "invalid_format"),
        (1, "special_range"),
        (2, "duplicate_entry"),
        (3, "superset_conflict"),
        (5, "duplicate_entry"),
    ]


def test_special_ranges_may_be_allowed() -> None:
    policy = Policy(allow_special=True)
    assert validate_addition(split_submission("10.0.0.0/8, ::ffff:8.8.8.0/120"), [], policy) == [
        "10.0.0.0/8",
        "8.8.8.0/24",
    ]


def test_a_policy_needs_a_limit_that_can_be_met() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Policy(max_entries=0)
    for wrong in (True, 2.5, "50", None):
        with pytest.raises(TypeError, match="whole number"):
            Policy(max_entries=wrong)  # type: ignore[arg-type]
