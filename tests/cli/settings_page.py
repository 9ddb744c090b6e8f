"""The tables of the environment variables, made from the commands: `python -m tests.cli.settings_page` writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from cidrgate.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PAGE", "SERVERS", "Option", "everywhere", "filled_page", "options"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "environment.md"

SERVERS = ("serve", "authorize")
"""The commands that somebody other than a person starts."""

_TABLE = re.compile(r"(<!-- options of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHARED = "every"
_OF_TYPER = ("help", "show_version", "install_completion", "show_completion")


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        flag: Its long name.
        variable: What stands for it in the environment; None if nothing does.
        default: What counts where neither is given; empty for nothing.
        meaning: What it is for.
    """

    flag: str
    variable: str | None
    default: str
    meaning: str


def options(command: Any) -> Iterator[Option]:
    """The options of a command, besides those that print something and end."""
    for parameter in command.params:
        if parameter.param_type_name != "option" or parameter.name in _OF_TYPER:
            continue
        flag = next(name for name in parameter.opts if name.startswith("--"))
        variable = parameter.envvar if isinstance(parameter.envvar, str) else None
        meaning = parameter.help.removesuffix(f" Also {variable}.")
        default = "" if parameter.default in (None, False, ()) else f"{parameter.default}".removesuffix(".0")
        default = "true" if parameter.default is True else default
        yield Option(flag, variable, default, meaning)


def everywhere() -> dict[str, list[Option]]:
    """The options of every command, under `every`, and those that each server has besides."""
    root: Any = typer.main.get_command(app)
    shared = list(options(root))
    flags = {option.flag for option in shared}
    found = {_SHARED: shared}
    for name in SERVERS:
        found[name] = [option for option in options(root.commands[name]) if option.flag not in flags]
    return found


def filled_page(text: str) -> str:
    """The page with its tables as they ought to be."""
    found = everywhere()

    def table(mark: re.Match[str]) -> str:
        rows = ["", "| option | variable | if not given | meaning |", "|---|---|---|---|"]
        for option in found[mark[2]]:
            default = f"`{option.default}`" if option.default else ""
            meaning = option.meaning.replace("|", "\\|")
            rows.append(f"| `{option.flag}` | `{option.variable}` | {default} | {meaning} |")
        return mark[1] + "\n".join(rows) + "\n\n" + mark[3]

    return _TABLE.sub(table, text)


if __name__ == "__main__":
    PAGE.write_text(filled_page(PAGE.read_text()))
