"""The REST API: its OpenAPI document without prose, which may change at any time, and the problems that it answers."""

from __future__ import annotations

import json
from typing import Any

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app

__all__ = ["describe", "document"]

_PROSE = frozenset({"description", "summary", "example", "examples", "title", "contact", "x-tagGroups"})
_NAMED = frozenset({"properties", "schemas", "responses", "headers", "parameters", "paths", "securitySchemes"})
"""Members whose own members have names that the API gives, such as a field `title`."""


def document() -> dict[str, Any]:
    """The OpenAPI document, as the service serves it."""
    with RuleManager.open("memory://", follow=False) as manager:
        found: dict[str, Any] = create_app(manager, Settings(authorize=True, unlisted="deny")).openapi()
    return found


def describe() -> str:
    """The description of the REST API."""
    found = document()
    found["info"].pop("version")  # each release has another
    found.pop("tags", None)
    return json.dumps(_without_prose(found), indent=1, sort_keys=True) + "\n"


def _without_prose(part: Any, *, names: bool = False) -> Any:
    if isinstance(part, list):
        return [_without_prose(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        name: _without_prose(value, names=name in _NAMED and not names)
        for name, value in part.items()
        if names or name not in _PROSE
    }
