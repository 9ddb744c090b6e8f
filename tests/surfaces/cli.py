"""The command line: commands with their arguments and options, exit statuses, and the fields of `--json`.

What `--help` says about them is for people, and left out.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import typer.main

from cidrgate.cli.app import app
from tests.command_line import typed
from tests.surfaces.shapes import merged, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["commands", "describe", "parameter"]

_OF_TYPER = frozenset({"help", "install_completion", "show_completion"})

_TYPED: tuple[tuple[int, str], ...] = (
    (0, "account create acct-1"),
    (0, "account create sub-1 --parent acct-1"),
    (0, "account list"),
    (0, "list acct-1"),
    (0, "add acct-1 8.8.8.0/24,2606:4700::/32 --label office --expires-in 30d"),
    (0, "add acct-1 9.9.9.9/32"),
    (0, "edit acct-1 9.9.9.9/32 9.9.9.0/24 --dry-run"),
    (0, "edit acct-1 9.9.9.9/32 9.9.9.0/24"),
    (0, "list acct-1"),
    (0, "list sub-1"),
    (0, "account show acct-1"),
    (0, "entry show acct-1 8.8.8.0/24"),
    (0, "check acct-1 8.8.8.8"),
    (1, "check acct-1 1.1.1.1"),
    (2, "check unknown 1.1.1.1"),
    (1, "check acct-1 nowhere"),
    (0, "explain acct-1 8.8.8.8"),
    (0, "explain acct-1 8.8.9.8"),
    (3, "add acct-1 9.9.9.9/32,8.8.0.0/16,10.0.0.1"),
    (3, "remove acct-1 9.9.9.0/24 8.8.8.0/24 2606:4700::/32"),
    (4, "list unknown"),
    (4, "remove acct-1 1.1.1.0/24"),
    (5, "account create acct-1"),
    (5, "add acct-1 1.1.1.0/24 --expect-version 99"),
    (3, "add sub-1 1.1.1.0/24"),
    (0, "remove acct-1 9.9.9.0/24"),
    (0, "replace acct-1 9.9.9.0/24"),
    (0, "history acct-1"),
    (0, "restore acct-1 --to-sequence 3"),
    (5, "undo acct-1 1"),
    (0, "import {folder}/good.csv --create"),
    (7, "import {folder}/partial.csv"),
    (0, "export --output {folder}/lists.jsonl"),
    (0, "compile {folder}/lists.snapshot"),
    (0, "token create ops --scope admin"),
    (0, "token list"),
    (0, "token revoke 1"),
    (0, "session list"),
    (4, "session end 0000"),
    (4, "token revoke 99"),
    (0, "erase --older-than 365d --yes"),
    (0, "prune --older-than 90d --yes"),
    (0, "migrate"),
)
"""What is typed, after `--json`, with the status that it exits with; one line for each kind of record."""


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with its full name."""
    return _below(typer.main.get_command(app), "cidrgate")


def _below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    found = getattr(command, "commands", {})
    if not found:
        yield name, command
    for one, below in sorted(found.items()):
        yield from _below(below, f"{name} {one}")


def parameter(one: Any) -> str:
    """An argument or an option in one line."""
    if one.param_type_name == "argument":
        return f"{one.metavar or one.name.upper()}" + ("" if one.required else " (optional)")
    names = ", ".join((*one.opts, *one.secondary_opts))
    if not one.is_flag:
        names += f" {one.metavar or _kind(one)}"
    return (
        names
        + (" (required)" if one.required else "")
        + (" (repeatable)" if one.multiple else "")
        + ("" if one.default in (None, False, ()) else f" = {getattr(one.default, 'value', one.default)}")
        + (f" [{one.envvar}]" if isinstance(one.envvar, str) else "")
    )


def _kind(option: Any) -> str:
    annotation = getattr(getattr(option, "type_descriptor", None), "annotation", None)
    values = getattr(annotation, "__members__", None)
    if values is not None:
        return "|".join(str(one.value) for one in values.values())
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation)).upper()


def describe() -> str:
    """The description of the command line."""
    root: Any = typer.main.get_command(app)
    shared = {one.name for one in root.params}
    lines = [f"every command {line}" for line in _parameters(root)]
    for name, command in commands():
        lines.append(name)
        lines += [f"{name} {line}" for line in _parameters(command, shared)]
    lines += ["", *_records()]
    return "\n".join(lines) + "\n"


def _parameters(command: Any, without: set[str] | frozenset[str] = frozenset()) -> list[str]:
    own = [one for one in command.params if one.name not in without and one.name not in _OF_TYPER]
    arguments = [one for one in own if one.param_type_name == "argument"]
    options = [one for one in own if one.param_type_name != "argument"]
    return [*map(parameter, arguments), *sorted(map(parameter, options))]


def _records() -> list[str]:
    """The shape of what each command answers with `--json`, with its exit status."""
    found: dict[tuple[str, int, str], Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "good.csv").write_text("account,cidr\nacct-2,8.8.4.0/24\n")
        (Path(folder) / "partial.csv").write_text("account,cidr\nacct-2,8.8.6.0/24\nacct-3,10.0.0.0/8\n")
        names = [name.removeprefix("cidrgate ") for name, _ in commands()]
        for status, line in _TYPED:
            arguments = ["--json", "--database", f"{folder}/lists.db", *line.format(folder=folder).split(" ")]
            done = typed(arguments)
            assert done.exit_code == status, f"{line} exits with {done.exit_code}: {done.output} {done.stderr}"
            record = json.loads(done.stdout if done.stdout.strip() else done.stderr)
            code = record.get("error", {}).get("code", "")
            command = next(name for name in names if f"{line} ".startswith(f"{name} "))
            key, said = (command, done.exit_code, code), shape(record)
            found[key] = merged(found[key], said) if key in found else said
    return [
        f"{name} exits with {status}{code and f', {code}'}: {json.dumps(said)}"
        for (name, status, code), said in sorted(found.items())
    ]
