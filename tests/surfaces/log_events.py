"""The log: the name of each event with the fields of its line of JSON, and the levels of decisions."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.event_log import Event, JsonFormatter
from tests.surfaces.shapes import merged, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe"]

SOURCE = Path(__file__).parents[2] / "src" / "cidrgate"
_ARGUMENTS = frozenset({"logger", "exc_info", "attributes", "details"})
"""Arguments of `log_event` that are no fields."""


def describe() -> str:
    """The description of the log."""
    fields: dict[str, set[str]] = {name: set() for name in get_args(Event)}
    for name, given in _calls():
        fields[name] |= given
    lines = [
        f"{name}: {', '.join(sorted(given)) or 'no fields besides those of every line'}"
        for name, given in fields.items()
    ]
    shapes = _decisions()
    written = {name for name, _ in shapes}
    lines = sorted(line for line in lines if line.partition(":")[0] not in written)
    lines += [f"{event} at level {level}: {json.dumps(shapes[event, level])}" for event, level in sorted(shapes)]
    return "\n".join(lines) + "\n"


def _calls() -> Iterator[tuple[str, set[str]]]:
    """The events that the code logs, with their fields; `*` stands for an event that is chosen elsewhere."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "log_event":
                given = {one.arg for one in node.keywords if one.arg is not None and one.arg not in _ARGUMENTS}
                for name in _names(node.args[1], tree):
                    yield name, given


def _names(argument: ast.expr, tree: ast.Module) -> set[str]:
    if isinstance(argument, ast.Constant):
        return {str(argument.value)}
    # An event that is chosen at run time is one of those that its module names.
    named = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return named & {str(name) for name in get_args(Event)}


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def _decisions() -> dict[tuple[str, str], object]:
    """The lines about decisions, as a gate writes them."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    written = _Lines()
    logger = logging.getLogger("cidrgate.decisions")
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(written)
    try:
        for report_only in (False, True):
            gate = Gate(
                matcher,
                unlisted="deny",
                log="all",
                report_only=report_only,
                resolver=ClientIPResolver(trusted_proxies=["127.0.0.1/32"]),
            )
            for account, header in (
                ("acct-1", b"8.8.8.8"),
                ("acct-1", b"9.9.9.9"),
                ("acct-1", b"9.9.9.9"),
                (None, b"x"),
            ):
                gate.decide(account, "127.0.0.1", [(b"x-forwarded-for", header)])
            gate.flush_log()
    finally:
        logger.removeHandler(written)
        logger.level, logger.propagate = before
    found: dict[tuple[str, str], object] = {}
    for line in written.lines:
        record = json.loads(line)
        key = record["event"], record["level"]
        found[key] = merged(found[key], shape(record)) if key in found else shape(record)
    return found
