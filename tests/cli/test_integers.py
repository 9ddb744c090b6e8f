"""Every integer of the command line is its digits alone: each option of each command is walked over."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate.cli.app import app
from cidrgate.cli.integers import integer

if TYPE_CHECKING:
    import typer

LOOSE = ["1_3", "15.0", "+4", "-0", " 4", "4 ", "4\n", "04", "00", "1e1", "0x1", "\u0661", "\uff14", "", "9" * 5_000]


def parsers(group: typer.Typer) -> dict[str, Any]:
    """The parser of each option and argument that takes an integer, or None."""
    found = {}
    for command in group.registered_commands:
        for parameter in inspect.signature(command.callback or print).parameters.values():
            told = [*getattr(parameter.annotation, "__metadata__", ()), parameter.default]
            kinds = re.findall(r"\w+", str(parameter.annotation).partition(", <typer")[0])
            if "int" in kinds:
                [info] = [one for one in told if hasattr(one, "parser")]
                found[f"{command.name} {parameter.name}"] = info.parser
    for inner in group.registered_groups:
        found |= parsers(inner.typer_instance) if inner.typer_instance is not None else {}
    return found


PARSERS = parsers(app)


def test_each_command_is_walked_over() -> None:
    assert {"restore to_sequence", "undo sequence", "revoke token", "serve port", "history cursor"} <= PARSERS.keys()
    assert any("ids" in name or "remove" in name for name in PARSERS)
    assert len(PARSERS) > 20


@pytest.mark.parametrize("loose", LOOSE)
def test_an_integer_is_its_digits_alone(loose: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        integer(loose)
    for read in PARSERS.values():
        with pytest.raises(Exception, match="not a whole number"):
            read(loose)
