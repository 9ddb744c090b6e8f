"""The keys of Django's `settings.CIDRGATE`, with what counts where a key is missing."""

from __future__ import annotations

from dataclasses import MISSING, fields

__all__ = ["describe"]


def describe() -> str:
    """The description of the settings."""
    from cidrgate.middleware.django import Settings

    lines = []
    for one in fields(Settings):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        shown = "required" if default is MISSING else f"= {default!r}"
        lines.append(f"{one.name.upper()}: {one.type} {shown}")
    return "\n".join(sorted(lines)) + "\n"
