"""The steps of deploy/Dockerfile, run without Docker: `make image-steps`.

What is copied is copied, what the build stage runs is run in a folder in place of the root, and what comes out of it is
started without anything of the build. Not run are the steps that need a Debian of their own: `apt-get` and `useradd`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.requests import ask

REPOSITORY = Path(__file__).parents[1]
STAGES = (REPOSITORY / "deploy" / "Dockerfile").read_text().replace("\\\n", "").split("\nFROM ")[1:]


def steps(stage: str, instruction: str) -> list[str]:
    """The arguments of an instruction of a stage, in order."""
    return [line.removeprefix(f"{instruction} ") for line in stage.splitlines() if line.startswith(f"{instruction} ")]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in the place of the image's root."""
    root = tmp_path_factory.mktemp("image")
    build, _ = STAGES
    source = root / "source"
    source.mkdir()
    for line in steps(build, "COPY"):
        *names, target = line.split()
        for name in names:
            found = REPOSITORY / name
            if found.is_dir():
                ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info", "_engine.c")
                shutil.copytree(found, source / target, ignore=ignored)
            else:
                shutil.copy(found, source / target)
    [command] = [step for step in steps(build, "RUN") if "apt-get" not in step]
    for place in ("/wheels", "/opt/cidrgate"):
        command = re.sub(rf"(?<![\w/]){place}", f"{root}{place}", command)
    (root / "opt").mkdir()
    # The image's `python` and `pip` are those of an environment without packages.
    subprocess.run([sys.executable, "-m", "venv", str(root / "python")], check=True)
    environment = {**os.environ, "PATH": f"{root}/python/bin:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["sh", "-ec", command], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    shutil.rmtree(root / "wheels")
    return root


def cidrgate(image: Path, *arguments: str) -> list[str]:
    [command] = steps(STAGES[1], "ENTRYPOINT")
    [name] = json.loads(command)
    return [str(image / "opt" / "cidrgate" / "bin" / name), *arguments]


def test_what_the_steps_make_has_no_tools_of_the_build(image: Path) -> None:
    python = str(image / "opt" / "cidrgate" / "bin" / "python")
    listed = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    found = set(subprocess.check_output([python, "-c", listed], text=True).split())
    assert {"cidrgate", "fastapi", "uvicorn", "psycopg", "psycopg-binary"} <= found
    assert not {"pip", "setuptools", "cython", "wheel", "pytest"} & found


def test_what_the_steps_make_serves(image: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CIDRGATE_", "PYTHON"))}
    for arguments in (["add", "acct-1", "8.8.8.0/24", "--create"], ["check", "acct-1", "8.8.8.8"]):
        subprocess.run(cidrgate(image, *arguments), cwd=tmp_path, env=environment, check=True, capture_output=True)
    [command] = steps(STAGES[1], "CMD")
    # Port 0, and this host instead of every address: the test shares the machine.
    environment |= {"CIDRGATE_SERVE_PORT": "0", "CIDRGATE_JSON": "1"}
    started = cidrgate(image, *json.loads(command))
    with subprocess.Popen(started, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        try:
            assert ask(int(url.rpartition(":")[2]), path="/readyz").status == 200
            health = [str(image / "opt" / "cidrgate" / "bin" / "python"), str(REPOSITORY / "deploy" / "healthcheck.py")]
            subprocess.run(health, env={**environment, "HEALTH_URL": f"{url}/healthz"}, check=True)
        finally:
            process.terminate()
            process.wait(20)
