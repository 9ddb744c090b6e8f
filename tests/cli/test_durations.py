"""Every option that takes a length of time takes the same: seconds, or a number with its unit, and nothing else."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import pytest
from typer.main import get_command
from typer.models import OptionInfo

from cidrgate.cli.app import app
from cidrgate.cli.durations import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cidrgate

ROOT: Any = get_command(app)
WRONG = [
    "nan",
    "-nan",
    "inf",
    "-inf",
    "infinity",
    "-1",
    "-1s",
    "1e3",
    "0x10",
    "1_000",
    "",
    " ",
    "s",
    "5 m",
    "5min",
    "1,5",
    "٣",
]
NEEDED = {
    "add": ["a", "8.8.8.0/24"],
    "edit": ["a", "8.8.8.0/24"],
    "replace": ["a", "8.8.8.0/24"],
    "token create": ["x", "--scope", "admin"],
    "prune": ["--yes"],
    "erase": ["--yes"],
    "mode": ["a", "off"],
    "pause": ["a"],
}


def durations() -> Iterator[tuple[str, str]]:
    """Every option of every command whose value is a length of time."""
    for name, command in ROOT.commands.items():
        for below, one in getattr(command, "commands", {"": command}).items():
            for parameter in one.params:
                if parameter.metavar == "DURATION":
                    yield f"{name} {below}".strip(), parameter.opts[0]


FOUND = list(durations())


def test_every_option_in_seconds_is_among_them() -> None:
    flags = {flag for _, flag in FOUND}
    assert flags == {
        *("--expires-in", "--older-than", "--lock-timeout", "--for"),
        *("--log-every", "--max-staleness", "--ready-within"),
    }
    for command in ROOT.commands.values():
        for each in getattr(command, "commands", {"": command}).values():
            for parameter in inspect.signature(each.callback).parameters.values():
                kind, *told = (
                    get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else (None,)
                )
                if float in (kind, *get_args(kind)):
                    [option] = [one for one in told if isinstance(one, OptionInfo)]
                    assert option.parser is not None, f"{parameter}: a float may be nan; use cli/durations.py: seconds"


@pytest.mark.parametrize(("command", "flag"), FOUND, ids=[f"{command} {flag}" for command, flag in FOUND])
def test_what_is_no_length_of_time_is_refused(command: str, flag: str, cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    needed = NEEDED.get(command.removeprefix("entry "), ["x"] * 3)
    for wrong in WRONG:
        status = 1 if command == "plan" else 2  # with 2 it says that there is a difference
        said = cidrgate(*command.split(), *needed, f"{flag}={wrong}", status=status).err
        assert "length of time" in said or "no such" in said.lower(), (wrong, said)


@pytest.mark.parametrize("variable", ["CIDRGATE_SERVE_MAX_STALENESS", "CIDRGATE_SERVE_LOG_EVERY"])
def test_a_variable_is_read_alike(cidrgate: Cidrgate, variable: str) -> None:
    for wrong in ("nan", "-1", "soon"):
        said = " ".join(cidrgate("serve", "--port", "0", environment={variable: wrong}, status=2).err.split())
        assert variable in said


def test_a_unit_is_the_same_everywhere() -> None:
    for text, expected in (("15", 15), ("0.5", 0.5), ("90s", 90), ("5m", 300), ("1.5h", 5_400), ("12h", 43_200)):
        for command in ("serve", "authorize"):
            context = ROOT.commands[command].make_context("cidrgate", ["--ready-within", text, "--lock-timeout", text])
            assert context.params["ready_within"] == expected
            if expected <= 86_400:
                assert context.params["lock_timeout"] == expected
        if text[-1].isalpha():
            assert duration(text).total_seconds() == expected
