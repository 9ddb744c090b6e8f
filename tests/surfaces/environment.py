"""The environment variables: one for each option that has one, and those that stand for no option."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import typer.main

from cidrgate.cli.app import app
from tests.surfaces.cli import commands

__all__ = ["describe"]

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\bCIDRGATE_[A-Z][A-Z_]*[A-Z]\b")


def describe() -> str:
    """The description of the environment."""
    root: Any = typer.main.get_command(app)
    shared = {one.name for one in root.params}
    lines = set()
    for name, command in [("every command", root), *commands()]:
        for one in command.params:
            variable = getattr(one, "envvar", None)
            if isinstance(variable, str) and (command is root or one.name not in shared):
                lines.add(f"{variable}: {name} {one.opts[0]}")
    named = {line.partition(":")[0] for line in lines}
    lines |= {f"{variable}: no option" for variable in _read() - named}
    return "\n".join(sorted(lines)) + "\n"


def _read() -> set[str]:
    """The names of variables that stand in the code or in the reference."""
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    return set(_VARIABLE.findall(page)) | {
        node.value
        for path in (ROOT / "src" / "cidrgate").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _VARIABLE.fullmatch(node.value)
    }
