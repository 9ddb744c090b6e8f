"""The log: the name of each event with the fields of its line of JSON, and the levels of decisions."""

from __future__ import annotations

import ast
import json
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, get_args

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.event_log import LOGGER, Event, JsonFormatter, event_name, log_event
from tests.surfaces.shapes import merged, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe"]

SOURCE = Path(__file__).parents[2] / "src" / "cidrgate"
_ARGUMENTS = frozenset({"logger", "exc_info", "attributes", "details"})
"""Arguments of `log_event` that are no fields."""


def describe() -> str:
    """The description of the log."""
    fields: dict[str, set[str]] = {event_name(name): set() for name in get_args(Event)}
    for name, given in _calls():
        fields[event_name(name)] |= given
    lines = [
        f"{name}: {', '.join(sorted(given)) or 'no fields besides those of every line'}"
        for name, given in fields.items()
    ]
    shapes = _decisions()
    written = {name for name, _ in shapes}
    lines = sorted(line for line in lines if line.partition(":")[0] not in written)
    lines += [f"{event} at level {level}: {json.dumps(shapes[event, level])}" for event, level in sorted(shapes)]
    return "\n".join([f"every line: {json.dumps(_every_line())}", *lines]) + "\n"


def _calls() -> Iterator[tuple[Event, set[str]]]:
    """The events that the code logs, with their fields."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "log_event":
                given = {one.arg for one in node.keywords if one.arg is not None and one.arg not in _ARGUMENTS}
                for name in _names(node.args[1], tree):
                    yield name, given


def _names(argument: ast.expr, tree: ast.Module) -> list[Event]:
    # An event that is chosen at run time is one of those that its module names.
    named = {
        node.value for node in ast.walk(argument if isinstance(argument, ast.Constant) else tree) if _is_text(node)
    }
    return [name for name in get_args(Event) if name in named]


def _is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _written(logger: logging.Logger) -> Iterator[list[str]]:
    """The lines that a logger writes in the block, and nobody else sees."""
    handler = _Lines()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)


def _every_line() -> object:
    """The members of every line, and those of a line with a traceback."""
    with _written(LOGGER) as lines:
        log_event(logging.ERROR, "follower_failed", "it failed", exc_info=OSError("because"), account="acct-1")
    return shape(json.loads(lines[0]))


def _decisions() -> dict[tuple[str, str], object]:
    """The lines about decisions, as a gate writes them."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    with _written(logging.getLogger("cidrgate.decisions")) as lines:
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
    found: dict[tuple[str, str], object] = {}
    for line in lines:
        record = json.loads(line)
        key = record["event"], record["level"]
        found[key] = merged(found[key], shape(record)) if key in found else shape(record)
    return found
