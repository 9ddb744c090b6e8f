"""Plans in files: what `cidrgate plan --json` wrote, which `apply --planned` compares with what it would do."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import CommandError
from cidrgate.rules.limits import some_of
from cidrgate.values import DETAILS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cidrgate.manager import ApplyReport

__all__ = ["versions_of_plan"]

_MOST_NAMED = 5
"""How many accounts a message names."""


def versions_of_plan(text: str, name: str, now: ApplyReport) -> Mapping[str, int]:
    """Return the versions that a plan saw, if what would be done now is what it says.

    An account whose version has changed since is not compared: `apply` refuses it by its version.

    Args:
        text: The plan, as JSON.
        name: The name of its file.
        now: What would be done now.

    Raises:
        CommandError: If it is no plan, or one of other accounts or of other changes.
    """
    try:
        record = json.loads(text)
        versions = dict(record["versions"])
        if any(type(version) is not int for version in versions.values()):
            raise TypeError("a version is no integer")
        planned = _effects(record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CommandError(
            f"{name} is not a plan: write one with `cidrgate plan FILE --json > {quote(name)}`"
        ) from None
    if versions.keys() != now.versions.keys():
        raise CommandError(f"{name} is the plan of another file: plan this one again")
    wanted = _effects(now.record())
    same = [account for account, version in now.versions.items() if version == versions[account]]
    others = [account for account in same if planned.get(account) != wanted.get(account)]
    if others:
        raise CommandError(
            f"{name} plans something else for {some_of(others, _MOST_NAMED)} than would be done now: plan this file "
            "again, with the same options"
        )
    return versions


def _effects(record: Mapping[str, Any]) -> dict[str, object]:
    """Return what a plan does to each account that it changes or refuses, in a form to compare."""
    changes = {
        one["account"]: (
            one["created"],
            one["parent"],
            sorted(map(_entry, one["before"])),
            sorted(map(_entry, one["after"])),
            sorted(one["kept"]),
            sorted(one["confirm"]),
        )
        for one in record["changes"]
    }
    return {**changes, **dict.fromkeys(record["refused"], "refused")}


def _entry(entry: Mapping[str, Any]) -> str:
    """Return an entry as text. A new one has no id yet, and is created when the plan is applied."""
    listed = entry["id"] if entry["id"] > 0 else None
    return json.dumps([entry["cidr"], listed, *(entry[detail.name] for detail in DETAILS)])
