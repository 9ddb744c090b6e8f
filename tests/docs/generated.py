"""The tables of the documentation that are made from the code: `python -m tests.docs.generated` writes them.

Each stands between `<!-- NAME -->` and `<!-- end -->`. A test fails while a page differs from what the code says.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

import tests.edges
from cidrgate.problem_types import PROBLEM_TYPES
from cidrgate.rules import RULES, Policy
from cidrgate.values import DETAILS
from tests.cli import settings_page
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["PAGES", "outdated", "write"]


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _rules() -> str:
    return _table(["code", "the problem", "the hint"], [[f"`{rule.code}`", rule.when, rule.told] for rule in RULES])


def _policy() -> str:
    return _table(
        ["field", "default", "meaning"],
        [[f"`{one.name}`", str(one.default), one.metadata["help"]] for one in fields(Policy)],
    )


def _errors() -> str:
    rows = [
        [f"`{one.error.__name__}`", f"`{one.code}`", str(one.status or "none"), one.meaning, one.advice]
        for one in PROBLEM_TYPES
        if one.error is not None
    ]
    return _table(["class", "code", "HTTP status", "meaning", "what to do"], rows)


def _problems() -> str:
    rows = [[f"`{one.code}`", str(one.status), one.meaning, one.advice] for one in PROBLEM_TYPES if one.error is None]
    return _table(["code", "HTTP status", "meaning", "what to do"], rows)


def _details() -> str:
    names = {str: "text", bool: "true or false", int: "a whole number", datetime: "a time with a time zone"}
    return _table(
        ["detail", "value", "if nobody says", "meaning"],
        [[f"`{one.name}`", names[one.kind], f"{one.default}", one.meaning] for one in DETAILS],
    )


_OTHER_FRAMEWORKS = [("Litestar", "the ASGI middleware", "litestar.md", "`request.state.cidrgate`")]
"""Frameworks with a page of their own that another edge guards."""


def _frameworks() -> list[tuple[str, str, str, str]]:
    """The title, the shape, the page and the verdict of every framework with a page."""
    own = [(edge.title, edge.shape, edge.page, edge.verdict) for edge in tests.edges.EDGES if edge.page is not None]
    return sorted([*own, *_OTHER_FRAMEWORKS], key=lambda one: one[0].lower())


def _edges() -> str:
    return _table(
        ["framework", "the edge", "page"],
        [[title, shape, f"[howto/{page}](howto/{page})"] for title, shape, page, _ in _frameworks()],
    )


def _verdicts() -> str:
    others = [(edge.title, edge.verdict) for edge in tests.edges.EDGES if edge.page is None]
    found = sorted(
        [*others, *((title, verdict) for title, _, _, verdict in _frameworks())], key=lambda one: one[0].lower()
    )
    return _table(["in", "the verdict"], found)


def _links(folder: str) -> str:
    return ", ".join(f"[{title}]({folder}{page})" for title, _, page, _ in _frameworks())


def _howtos() -> str:
    pages = "\n".join(page.removesuffix(".md") for _, _, page, _ in _frameworks())
    return f"```{{toctree}}\n:maxdepth: 1\n:caption: In a framework\n\n{pages}\n```"


def _api_of_edges() -> str:
    """Directives for each public name of each edge."""
    found = []
    for edge in sorted(tests.edges.EDGES, key=lambda one: one.title.lower()):
        path = ROOT / "src" / "cidrgate" / "middleware" / f"{edge.module}.py"
        if not path.exists():
            continue  # `python -m tests.edges` says so
        body = ast.parse(path.read_text()).body
        names = next(
            ast.literal_eval(node.value)
            for node in body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        kinds = {node.name: node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        # Aliases of types have one name in several edges, and the guards describe what they stand for.
        aliases = {
            ast.unparse(node.target)
            for node in body
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias"
        }
        names = [name for name in names if name not in aliases]
        found.append(f"## {edge.title}\n\n```{{eval-rst}}\n{_directives(edge.module, names, kinds)}\n```")
    return "\n\n".join(found)


def _directives(module: str, names: Sequence[str], kinds: dict[str, ast.ClassDef | ast.FunctionDef]) -> str:
    found = []
    for name in names:
        kind = kinds.get(name)
        if kind is None:
            directive, methods = "autodata", False
        elif isinstance(kind, ast.FunctionDef):
            directive, methods = "autofunction", False
        else:
            directive = "autoexception" if name.endswith("Error") else "autoclass"
            methods = any(isinstance(one, ast.FunctionDef) and one.name[0] != "_" for one in kind.body)
        found.append(f".. {directive}:: cidrgate.middleware.{module}.{name}\n" + ("   :members:\n" if methods else ""))
    return "\n".join(found).rstrip("\n")


def _with_frameworks(text: str) -> str:
    """`pyproject.toml` with the frameworks of the edges, which tests and the documentation need."""
    needed = sorted((edge.requires for edge in tests.edges.EDGES if edge.requires), key=str.lower)
    group = "edges = [\n" + "".join(f'    "{one}",\n' for one in needed) + "]\n"
    return re.sub(r"^edges = \[\n.*?^\]\n", group, text, flags=re.MULTILINE | re.DOTALL)


TABLES: dict[str, Callable[[], str]] = {
    "the rules": _rules,
    "the fields of Policy": _policy,
    "the errors": _errors,
    "the problems of requests": _problems,
    "the details of an entry": _details,
    "the edges": _edges,
    "the verdicts": _verdicts,
    "the pages of frameworks": _howtos,
    "the names of edges": _api_of_edges,
}
"""The text of each table, by the name in the page."""


def _filled(text: str) -> str:
    """The text of a page with its tables as they ought to be."""
    for name, table in TABLES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        rows = table().replace("\\", r"\\")
        text = marked.sub(rf"\g<1>\n{rows}\n\n\g<2>", text)
    return text


def _with_middleware(text: str) -> str:
    """The README, which names the frameworks in a paragraph."""

    def paragraph(mark: re.Match[str]) -> str:
        said = f"- **Edges.** Middleware for {_links('docs/howto/')}, and any ASGI or WSGI {' '.join(mark[1].split())}"
        filled = textwrap.fill(said, 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
        return filled + "\n"

    return re.sub(r"^- \*\*Edges\.\*\* .*?WSGI\s+(application\..*?)\n(?=- )", paragraph, text, flags=re.M | re.S)


def _with_links(text: str) -> str:
    """The index, whose links to frameworks stand in a row of a table."""
    links = f"{_links('howto/')}; [how the client address is found](edges.md)"
    return re.sub(r"^(\| \*\*guard an application\*\* \| ).*( \|)$", rf"\g<1>{links}\g<2>", text, flags=re.MULTILINE)


PAGES: dict[str, Callable[[str], str]] = {
    "docs/rules.md": _filled,
    "docs/reference/errors.md": _filled,
    "docs/reference/settings.md": _filled,
    "docs/howto/library.md": _filled,
    "docs/reference/environment.md": settings_page.filled_page,
    "docs/edges.md": _filled,
    "docs/howto/index.md": _filled,
    "docs/index.md": _with_links,
    "docs/reference/api/middleware.md": _filled,
    "README.md": _with_middleware,
    "pyproject.toml": _with_frameworks,
}
"""For each page with tables, what fills them."""


def outdated() -> list[str]:
    """The pages that differ from what the code says."""
    return [page for page, fill in PAGES.items() if (text := (ROOT / page).read_text()) != fill(text)]


def write() -> None:
    """Write the pages as they ought to be."""
    for page in outdated():
        (ROOT / page).write_text(PAGES[page]((ROOT / page).read_text()))
        print(f"written: {page}")


if __name__ == "__main__":
    write()
