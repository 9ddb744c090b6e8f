"""The references that are written by hand name everything that the code has, and nothing else."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest

from cidrgate import ClientIPResolver, Gate, Policy, RuleManager, errors
from cidrgate.middleware.django import Settings
from cidrgate.problem_types import PROBLEM_TYPES
from tests.docs.pages import ROOT, table

SETTINGS = (ROOT / "docs" / "reference" / "settings.md").read_text()
ERRORS = (ROOT / "docs" / "reference" / "errors.md").read_text()
INTERNAL = {
    "AccountsLockedError",
    "CidrgateError",
    "NotFoundError",
}
"""Errors that stay inside of an edge, or of which the page names the kinds."""


def section(text: str, title: str) -> str:
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def named(text: str, head: str) -> list[str]:
    return [name for row in table(text, head) for name in re.findall(r"`(\w+)`", row[0])]


@pytest.mark.parametrize(
    ("title", "of"),
    [
        ("Policy", Policy),
        ("RuleManager.open", RuleManager.open),
        ("Gate", Gate),
        ("ClientIPResolver", ClientIPResolver),
    ],
)
def test_each_argument_is_in_the_table(title: str, of: Any) -> None:
    part = section(SETTINGS, title)
    rows = table(part, "| argument | default | meaning |") or table(part, "| field | default | meaning |")
    assert [row[0].strip("`") for row in rows] == list(inspect.signature(of).parameters)


def test_each_key_of_django_is_in_the_table() -> None:
    assert sorted(named(section(SETTINGS, "Django"), "| key | meaning |")) == sorted(
        field.name.upper() for field in fields(Settings)
    )


def test_each_error_is_in_the_table_with_its_code_and_status() -> None:
    rows = table(ERRORS, "| class | code | HTTP status | meaning | what to do |")
    shown = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows}
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.CidrgateError) and name not in INTERNAL
    }
    assert set(shown) == set(kinds)
    statuses = {one.error: one.status for one in PROBLEM_TYPES}
    for name, kind in kinds.items():
        assert shown[name] == (kind.code, str(statuses[kind] or "none")), name
