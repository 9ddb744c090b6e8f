"""The layers of the package: an import points down, and no two files import each other in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"

LAYERS = (
    ("errors", "values", "url_paths"),
    ("event_log", "process"),
    ("_engine", "expiry"),
    ("arrow",),
    ("rules",),
    ("foresight",),
    ("problem_types", "serialization"),
    ("lists",),
    ("formatters",),
    ("stores",),
    ("replica",),
    ("traffic",),
    ("manager",),
    ("gate",),
    ("replay",),
    ("middleware",),
    ("authorize",),
    ("service",),
    ("client",),
    ("cli",),
    ("", "__main__"),
)
"""Folders and modules of the package from the ground up; those of one line may use one another. "" is the package."""

ALONE = {"client": {"client", "errors", "serialization", "url_paths", "values"}}
"""What uses nothing of the server's side: it goes where the rest is not installed."""

FLOOR = {name: floor for floor, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    """The file of each module of the package, by its full name."""
    found = {}
    for path in (SOURCE / "cidrgate").rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, for types alone and inside of functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # The version is a fact of the metadata, and no code of the package's root.
            whole = {f"{node.module}.{name.name}" for name in node.names if name.name != "__version__"}
            found |= {name if name in MODULES else node.module for name in whole}
    return {name for name in found if name.split(".")[0] == "cidrgate"}


def layer(module: str) -> str:
    """The folder or module of the package's root in which a module lives."""
    return [*module.split("."), ""][1]


def test_every_module_has_a_layer() -> None:
    assert {layer(module) for module in MODULES} | {"_engine"} == set(FLOOR)


def test_an_import_points_down() -> None:
    upward = {
        f"{module} -> {used}"
        for module, path in MODULES.items()
        for used in imports(path)
        if FLOOR[layer(used)] > FLOOR[layer(module)]
    }
    assert upward == set()


def test_what_stands_alone_imports_nothing_else() -> None:
    for name, allowed in ALONE.items():
        used = {layer(one) for module, path in MODULES.items() if layer(module) == name for one in imports(path)}
        assert used <= allowed


def test_no_two_files_import_each_other_in_a_circle() -> None:
    uses = {module: imports(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    while True:
        leaves = {module for module, used in uses.items() if not used & set(uses)}
        if not leaves:
            break
        uses = {module: used for module, used in uses.items() if module not in leaves}
    assert uses == {}


def test_the_root_holds_little() -> None:
    root = {path.stem for path in (SOURCE / "cidrgate").glob("*.py")} - {"__init__"}
    assert root == {"__main__", "errors", "event_log", "problem_types", "serialization", "url_paths", "values"}


def test_the_map_names_every_layer() -> None:
    page = (SOURCE.parent / "docs" / "development.md").read_text()
    folders = {name for name in FLOOR if (SOURCE / "cidrgate" / name).is_dir()} - {""}
    files = {f"{name}.py" for name in FLOOR if (SOURCE / "cidrgate" / f"{name}.py").is_file()} - {"__main__.py"}
    assert [name for name in sorted({f"{folder}/" for folder in folders} | files) if f"`{name}`" not in page] == []
