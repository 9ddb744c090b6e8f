"""One word for one thing: what people read uses no word that the glossary replaces by another."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import typer

from cidrgate.cli.app import app
from tests.docs.pages import GLOSSARY, PAGES, ROOT, prose, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TEMPLATES = sorted((ROOT / "src/cidrgate/service/console/templates").glob("*.html"))
NOT = "| not | but |"
TERMS = "| term | meaning | where in code |"


@cache
def forbidden() -> re.Pattern[str]:
    """What the glossary replaces, as one expression; a line may end between two words."""
    words = [word.strip() for row in table(GLOSSARY.read_text(), NOT) for word in row[0].split(",")]
    assert len(words) > 50
    return re.compile(
        r"\b(" + "|".join(r"\s+".join(map(re.escape, word.split())) for word in words) + r")\b", re.IGNORECASE
    )


def found_in(text: str) -> list[str]:
    """Each forbidden word with its line."""
    return [f"line {text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}" for match in forbidden().finditer(text)]


class _Text(HTMLParser):
    """The text of a template and the attributes that people read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def handle_data(self, data: str) -> None:
        self.read.append(re.sub(r"\{[{%#].*?[}%#]\}", " ", data, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.read += [value or "" for name, value in attrs if name in ("title", "placeholder", "aria-label", "alt")]


def helps(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """The help of a command, of its options, and of the commands below."""
    yield path, "\n".join([command.help or "", *(getattr(one, "help", None) or "" for one in command.params)])
    for name, below in getattr(command, "commands", {}).items():
        yield from helps(below, f"{path} {name}")


HELPS = dict(helps(typer.main.get_command(app), "cidrgate"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_uses_the_words_of_the_glossary(page: Path) -> None:
    text = page.read_text()
    if page == GLOSSARY:
        text = text[: text.index("## Words we do not use")]
    assert found_in(prose(text)) == []


@pytest.mark.parametrize("path", HELPS)
def test_the_help_of_a_command_uses_the_words_of_the_glossary(path: str) -> None:
    assert found_in(HELPS[path]) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_page_of_the_console_uses_the_words_of_the_glossary(template: Path) -> None:
    parser = _Text()
    parser.feed(template.read_text())
    assert found_in(" ".join(parser.read)) == []


def test_words_are_found_in_prose_and_not_in_code() -> None:
    text = "A guard lets\nin.\n\n```python\nadmit()\n```\n`admit` and admitted\n"
    assert found_in(prose(text)) == ["line 1: 'lets\\nin'", "line 7: 'admitted'"]
    assert found_in("An entry is allowed, denied or expired. Letting go is no match.") == []


def test_each_place_and_name_of_the_glossary_is_in_the_code() -> None:
    code = "\n".join(
        path.read_text()
        for folder in ("src/cidrgate", "ext")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".pyx", ".pxi", ".pxd", ".h") and "static" not in path.parts
    )
    rows = table(GLOSSARY.read_text(), TERMS)
    assert len(rows) > 60
    for term, meaning, where in rows:
        assert meaning, term
        named = re.findall(r"`([^`]+)`", where)
        places = [name for name in named if "/" in name or name.endswith(".py")]
        assert all((ROOT / "src/cidrgate" / place).exists() or (ROOT / place).exists() for place in places), term
        names = [name for name in named if name not in places]
        missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", code)]
        assert missing == [], term
