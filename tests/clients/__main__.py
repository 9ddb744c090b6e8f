"""`make clients`: lint the OpenAPI document, and make clients of it, compile them and run them against a service."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.clients.toolchains import CACHE, HERE, MissingToolError, go, java, node_modules, python_tools, run
from tests.servers.running import free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHECKS", "Service", "main"]

GENERATED = CACHE / "generated"
_VALIDATOR = Path("/usr/share/gocode/src/gopkg.in/validator.v2")
"""The one module that the Go client needs, from Debian's golang-gopkg-validator.v2-dev."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service.

    Attributes:
        url: Its address.
        token: A token with the scope `admin`.
        document: The file with the OpenAPI document that it serves.
    """

    url: str
    token: str
    document: Path


@contextmanager
def serving() -> Iterator[Service]:
    """Run `cidrgate serve` on an empty store while the block runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cidrgate = [sys.executable, "-m", "cidrgate", "--database", str(folder / "lists.db")]
        made = run([*cidrgate, "--json", "token", "create", "clients", "--scope", "admin"])
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with running([*cidrgate, "serve", "--port", str(port)], folder, port):
            document = folder / "openapi.json"
            with urllib.request.urlopen(f"{url}/openapi.json") as answer:
                document.write_bytes(answer.read())
            yield Service(url, json.loads(made)["token"], document)


def spectral(service: Service) -> None:
    """Lint the OpenAPI document with Spectral; a warning fails too."""
    program = node_modules() / ".bin" / "spectral"
    run([program, "lint", service.document, "--ruleset", HERE / "spectral.yaml", "--fail-severity", "hint"])


def python_attrs(service: Service) -> None:
    """Python by openapi-python-client: httpx and attrs."""
    tools = python_tools()
    made = _emptied(GENERATED / "cidrgate_attrs")
    generator = [f"{tools / 'openapi-python-client'}", "generate", "--meta", "none", "--overwrite"]
    run([*generator, "--path", service.document, "--output-path", made])
    _run_python(tools, "python_attrs.py", service)


def python_pydantic(service: Service) -> None:
    """Python by openapi-generator: urllib3 and pydantic."""
    java()
    tools = python_tools()
    _emptied(GENERATED / "cidrgate_pydantic")
    _generate(tools, "python", GENERATED, service, "packageName=cidrgate_pydantic")
    _run_python(tools, "python_pydantic.py", service)


def typescript(service: Service) -> None:
    """TypeScript by openapi-typescript, with openapi-fetch."""
    modules = node_modules()
    folder = modules.parent
    for name in ("main.ts", "tsconfig.json"):
        shutil.copy(HERE / "typescript" / name, folder)
    run([modules / ".bin" / "openapi-typescript", service.document, "--output", folder / "schema.ts"])
    run([modules / ".bin" / "tsc", "--project", folder])
    run(["node", folder / "main.js", service.url, service.token])


def golang(service: Service) -> None:
    """Go by openapi-generator."""
    java()
    program = go()
    folder = CACHE / "go"
    made = _emptied(folder / "openapi")
    _generate(python_tools(), "go", made, service, "packageName=openapi", "withGoMod=false")
    shutil.rmtree(made / "test", ignore_errors=True)
    for name in ("main.go", "go.mod"):
        shutil.copy(HERE / "go" / name, folder)
    variables = {
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GOPATH": str(CACHE / "go-path"),
        "GOCACHE": str(CACHE / "go-cache"),
    }
    if _VALIDATOR.exists():
        copied = CACHE / "go-validator"
        shutil.copytree(_VALIDATOR, copied, dirs_exist_ok=True)
        (copied / "go.mod").write_text("module gopkg.in/validator.v2\n")
        run([program, "mod", "edit", f"-replace=gopkg.in/validator.v2={copied}"], folder=folder, **variables)
    else:
        try:
            run([program, "mod", "download"], folder=folder, **variables)
        except AssertionError as error:
            raise MissingToolError(
                f"needs the Go module proxy, or on Debian: apt-get install golang-gopkg-validator.v2-dev ({error})"
            ) from error
    run([program, "vet", "."], folder=folder, **variables)
    run([program, "build", "-o", "client", "."], folder=folder, **variables)
    run([folder / "client", service.url, service.token])


CHECKS: dict[str, Callable[[Service], None]] = {
    "spectral": spectral,
    "python-attrs": python_attrs,
    "python-pydantic": python_pydantic,
    "typescript": typescript,
    "go": golang,
}


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _generate(tools: Path, language: str, output: Path, service: Service, *properties: str) -> None:
    generator = [f"{tools / 'openapi-generator-cli'}", "generate", "-g", language]
    run([*generator, "-i", service.document, "-o", output, "--additional-properties", ",".join(properties)])


def _run_python(tools: Path, program: str, service: Service) -> None:
    """Check the types of a program with its client, as its author would, and run it."""
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    mypy += ["--cache-dir", f"{CACHE / 'mypy'}", "--python-executable", f"{tools / 'python'}"]
    run([*mypy, HERE / program], MYPYPATH=str(GENERATED))
    run([tools / "python", HERE / program, service.url, service.token], PYTHONPATH=str(GENERATED))


def main(names: list[str]) -> int:
    """Run the checks with these names, or all, and report each in a line; 1 if one failed."""
    failed = False
    with serving() as service:
        for name in names or CHECKS:
            check = CHECKS[name]
            began = time.monotonic()
            try:
                check(service)
            except MissingToolError as error:
                # On a user's machine a tool may be missing; in CI that would hide what never runs.
                failed |= bool(os.environ.get("CI"))
                outcome = f"skipped: {error}"
            except AssertionError as error:
                failed = True
                outcome = f"FAILED\n{error}"
            else:
                outcome = f"passed in {time.monotonic() - began:.0f} seconds"
            print(f"{name}: {(check.__doc__ or '').rstrip('.')}: {outcome}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
