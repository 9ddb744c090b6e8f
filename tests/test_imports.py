"""What is loaded when: a matcher and a gate load neither SQL nor NumPy nor HTTP, and every public name is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cidrgate

HEAVY = ("alembic", "fastapi", "numpy", "prometheus_client", "psycopg", "rich", "sqlalchemy", "typer", "uvicorn")

GATE = """
from cidrgate import Gate, Matcher, RuleManager
matcher = Matcher()
matcher.publish("acct-1", ["8.8.8.0/24"])
assert Gate(matcher, unlisted="deny", log="none").decide("acct-1", "8.8.8.8").allowed
"""

LOADED = [
    ("import cidrgate", set()),
    ("import cidrgate.errors, cidrgate.values, cidrgate.stores, cidrgate.replica, cidrgate.service", set()),
    (GATE, set()),
    ("from cidrgate.middleware.asgi import AllowlistMiddleware", set()),
    ("from cidrgate.middleware.wsgi import AllowlistMiddleware", set()),
    ("from cidrgate import PrefixTrie; PrefixTrie(['8.8.8.0/24']).contains_many(['8.8.8.8'])", {"numpy"}),
    ("from cidrgate import RuleManager; RuleManager.open('memory://').close()", {"alembic", "sqlalchemy"}),
    ("import cidrgate.cli.app", {"rich", "typer"}),
]


@pytest.mark.parametrize(("statement", "expected"), LOADED)
def test_nothing_is_loaded_before_it_is_used(statement: str, expected: set[str]) -> None:
    report = f"\nimport sys; print(*({HEAVY} & sys.modules.keys()))".replace(f"{HEAVY}", f"set({HEAVY})")
    done = subprocess.run([sys.executable, "-c", statement + report], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) <= expected


def test_every_public_name_is_there_and_typed() -> None:
    stub = ast.parse(Path(cidrgate.__file__).with_suffix(".pyi").read_text())
    typed = {name.asname for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert typed | {"__version__", "get_include"} == set(vars(cidrgate)["__all__"])
    assert set(vars(cidrgate)["__all__"]) <= set(dir(cidrgate))
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = __import__(node.module, fromlist=["*"])
            for name in node.names:
                assert getattr(cidrgate, name.name) is getattr(module, name.name)


@pytest.mark.parametrize("part", ["_engine", "errors", "gate", "manager", "rules", "stores", "values"])
def test_a_part_is_an_attribute_of_the_package(part: str) -> None:
    """As it was while `import cidrgate` loaded all of them; C code finds the engine so."""
    code = f"import sys, cidrgate; assert cidrgate.{part} is sys.modules['cidrgate.{part}']"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Trie'"):
        cidrgate.Trie  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from cidrgate import Trie  # type: ignore[attr-defined]  # noqa: F401
