"""Compares the public surfaces with their snapshots, and both with the changelog: `python -m tests.surfaces`.

The section of the coming version in CHANGELOG.md ends with a comment that has a digest of each surface:

    <!-- surfaces
    rest 3f0c9a1be4d2
    -->

So a surface cannot change without a change of CHANGELOG.md, in the section in which users look for it.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

__all__ = ["CHANGELOG", "SURFACES", "Surface", "recorded", "section_of_coming_version", "undeclared"]

FOLDER = Path(__file__).parent
CHANGELOG = FOLDER.parents[1] / "CHANGELOG.md"

_SECTION = re.compile(r"^## (?P<title>[^\n]+)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_DIGESTS = re.compile(r"^<!-- surfaces\n(?P<lines>.*?)^-->$", re.MULTILINE | re.DOTALL)
_LONGEST_DIFFERENCE = 60


@dataclass(frozen=True, slots=True)
class Surface:
    """A public surface.

    Attributes:
        name: Its name in the changelog, and the name of its snapshot.
        title: What people call it.
        module: The module of this package that describes it.
        ending: The ending of the snapshot's name.
    """

    name: str
    title: str
    module: str
    ending: str = "txt"

    @property
    def file(self) -> Path:
        """Where its snapshot is."""
        return FOLDER / f"{self.name}.{self.ending}"

    def now(self) -> str:
        """Describe it as it is."""
        return str(import_module(f"tests.surfaces.{self.module}").describe())

    def agreed(self) -> str:
        """Return its snapshot; empty if there is none."""
        return self.file.read_text() if self.file.exists() else ""

    def difference(self) -> str:
        """Return what changed since the snapshot, as a diff; empty if nothing did."""
        lines = list(
            difflib.unified_diff(
                self.agreed().splitlines(), self.now().splitlines(), "the snapshot", "the code", lineterm="", n=1
            )
        )
        more = len(lines) - _LONGEST_DIFFERENCE
        return "\n".join([*lines[:_LONGEST_DIFFERENCE], *([f"and {more} lines more"] if more > 0 else [])])

    def digest(self) -> str:
        """Return the digest of its snapshot, for the changelog."""
        return hashlib.sha256(self.agreed().encode()).hexdigest()[:12]


SURFACES = (
    Surface("python", "Python API", "python_api"),
    Surface("rest", "REST API", "rest", "json"),
    Surface("cli", "command line", "cli"),
    Surface("environment", "environment", "environment"),
    Surface("django", "Django settings", "django_settings"),
    Surface("log", "log", "log_events"),
    Surface("metrics", "metrics", "metrics"),
    Surface("native", "C and Cython interface", "native"),
    Surface("files", "files", "files"),
)


def section_of_coming_version(changelog: str) -> tuple[str, str]:
    r"""Return the title and the text of the section of the version that comes next.

    Raises:
        ValueError: If the first section is that of a released version.

    Example:
        >>> section_of_coming_version("# Changes\n\n## 0.2.0 (unreleased)\n\n- new\n\n## 0.1.0 (2026-01-01)\n")
        ('0.2.0 (unreleased)', '\n- new\n\n')
    """
    found = _SECTION.search(changelog)
    if found is None or not found["title"].endswith("(unreleased)"):
        raise ValueError("CHANGELOG.md has no section of the coming version: begin it with `## VERSION (unreleased)`")
    return found["title"], found["text"]


def recorded(changelog: str) -> dict[str, str]:
    """Return the digest of each surface that the changelog has, from its latest section that has one."""
    digests: dict[str, str] = {}
    for section in _SECTION.finditer(changelog):
        for comment in _DIGESTS.finditer(section["text"]):
            for line in comment["lines"].splitlines():
                name, _, digest = line.partition(" ")
                digests.setdefault(name, digest)
    return digests


def undeclared(changelog: str) -> list[Surface]:
    """Return the surfaces whose snapshots the changelog does not know."""
    known = recorded(changelog)
    return [surface for surface in SURFACES if known.get(surface.name) != surface.digest()]
