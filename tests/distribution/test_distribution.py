"""The sdist and the wheel in `dist/`: what is in them, and whether each works in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cidrgate

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
QUESTION = Path(__file__).with_name("question.py")
MADE_BY_SETUPTOOLS = ("PKG-INFO", "setup.cfg")

# extra -> (what needs it, and then works with it). Each is tried before and after the extra is installed, in this
# order: no extra brings the libraries of a later one.
EXTRAS = {
    "client": "from cidrgate.client import Client; Client('http://127.0.0.1:1', 'token').close()",
    "postgres": """
from cidrgate import RuleManager, StoreError
try:
    RuleManager.open('postgresql://127.0.0.1:1/lists')
except StoreError as error:
    if 'pip install' in str(error):
        raise
else:
    raise SystemExit('there is a server on port 1')
""",
    "metrics": "from cidrgate.gate import GateMetrics; import cidrgate.manager.metrics; GateMetrics()",
    "traffic": """
from cidrgate import RuleManager
from cidrgate.traffic import Traffic
RuleManager.open('memory://', traffic=Traffic()).close()
""",
    "arrow": """
from cidrgate import Matcher
try:
    Matcher().allows_arrow(None)
except TypeError:
    pass
""",
    "cli": "import sys; sys.argv[1:] = ['version']; from cidrgate.cli import main; main()",
    "replay": """
from pathlib import Path
from tempfile import TemporaryDirectory
from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogSource, replay
with TemporaryDirectory() as folder:
    log = Path(folder, 'a.csv')
    log.write_text('account,address,time\\na,8.8.8.8,2026-01-01T00:00:00Z\\n')
    replay(LogSource(files=[str(log)], form=FORMATS['csv']), Matcher())
""",
    "authorize": "import cidrgate.authorize.server",
    "server": """
from cidrgate import RuleManager
from cidrgate.service import create_app
create_app(RuleManager.open('memory://'))
""",
}
# command -> extra: with the command line alone, these say which extra they need besides.
COMMANDS = {("authorize", "--unlisted", "deny"): "authorize", ("serve",): "server"}


def _only(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    if not found:
        pytest.skip(f"there is no {pattern} in {DIST}: `make dist` builds it")
    assert len(found) == 1, f"{DIST} holds several releases: {found}"
    return found[0]


@pytest.fixture(scope="module")
def sdist() -> Path:
    return _only("cidrgate-*.tar.gz")


@pytest.fixture(scope="module")
def wheel() -> Path:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return _only(f"cidrgate-*-{tag}-{tag}{sys.abiflags}-*.whl")


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def _tracked(folder: str = ".") -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a checkout by git: an sdist does not say what belongs to it")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", folder]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip("\0").split("\0"))


def test_the_sdist_holds_what_is_tracked_and_nothing_else(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    made = {name for name in names if name in MADE_BY_SETUPTOOLS or name.startswith("src/cidrgate.egg-info/")}
    assert names - made == _tracked() - {".gitignore"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    (engine,) = (name for name in names if name.endswith(".so"))
    assert engine.startswith("cidrgate/_engine.")
    assert names - {engine} == {name.removeprefix("src/") for name in _tracked("src/cidrgate")}
    for needed in ("py.typed", "_engine.pyi", "api.pxd", "include/cidrgate.h", "stores/migrations/env.py"):
        assert f"cidrgate/{needed}" in names
    assert any(name.startswith("cidrgate/service/console/templates/") for name in names)
    assert any(name.startswith("cidrgate/service/console/static/vendor/htmx") for name in names)


def test_the_metadata_name_every_licence_and_hold_their_texts(wheel: Path) -> None:
    metadata = _metadata(wheel)
    assert metadata["License-Expression"] == "Apache-2.0 AND 0BSD"
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        texts = {
            name: archive.read(f"{folder}/licenses/{name}").decode() for name in metadata.get_all("License-File", [])
        }
    assert {"LICENSE", "src/cidrgate/service/console/static/vendor/htmx.LICENSE.txt"} == set(texts)
    assert "Apache License" in texts["LICENSE"]


def test_the_version_is_said_in_one_place(wheel: Path, sdist: Path) -> None:
    assert _metadata(wheel)["Version"] == cidrgate.__version__
    assert sdist.name == f"cidrgate-{cidrgate.__version__}.tar.gz"


class _Environment:
    """An empty environment, and a folder outside of the checkout to run in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        venv.create(folder / "venv", with_pip=True)
        self._python = folder / "venv" / "bin" / "python"

    def install(self, requirement: str) -> None:
        done = self.run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CIDRGATE"))}
        command = [str(self._python), *arguments]
        return subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )


def test_an_installed_sdist_answers(sdist: Path, tmp_path: Path) -> None:
    environment = _Environment(tmp_path)
    environment.install(str(sdist))
    _answers(environment)


def test_an_installed_wheel_answers_and_names_each_missing_extra(wheel: Path, tmp_path: Path) -> None:
    environment = _Environment(tmp_path)
    environment.install(str(wheel))
    _answers(environment)
    declared = _metadata(wheel).get_all("Provides-Extra", [])
    assert set(declared) == {*EXTRAS, "all"}
    for extra, code in EXTRAS.items():
        _names_extra(environment.run("-c", code), extra)
        environment.install(f"cidrgate[{extra}] @ {wheel.as_uri()}")
        done = environment.run("-c", code)
        assert done.returncode == 0, (extra, done.stderr)
        if extra == "cli":
            for command, needed in COMMANDS.items():
                _names_extra(environment.run("-m", "cidrgate", *command), needed)


def _answers(environment: _Environment) -> None:
    done = environment.run(str(QUESTION))
    assert done.returncode == 0, done.stderr
    assert f"cidrgate {cidrgate.__version__} in " in done.stdout
    assert str(ROOT) not in done.stdout


def _names_extra(done: subprocess.CompletedProcess[str], extra: str) -> None:
    assert done.returncode != 0, f"nothing of {extra} was missing"
    assert f"pip install 'cidrgate[{extra}]'" in done.stderr.splitlines()[-1]
