"""The package draws nothing from the generator that whoever imports it may have seeded, to get the same again."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import cidrgate
from cidrgate import RuleManager
from tests.waiting import eventually

OWN = {"Random", "SystemRandom"}
"""What makes a generator of one's own."""


def test_no_module_uses_the_shared_generator() -> None:
    used: list[str] = []
    for path in sorted(Path(cidrgate.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import) and any(name.name.partition(".")[0] == "random" for name in node.names):
                used.append(f"{path.name}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                used += [f"{path.name}:{node.lineno}" for name in node.names if name.name not in OWN]
    assert used == []


def test_following_leaves_the_shared_generator_as_it_was(shared_store_url: str) -> None:
    random.seed(7)
    before = random.getstate()
    with RuleManager.open(shared_store_url) as manager, RuleManager.open(shared_store_url) as other:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        eventually(lambda: not other.allows("acct-1", "9.9.9.9"))
    assert random.getstate() == before
