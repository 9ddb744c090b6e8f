"""What the workflows of the repository's host do: their form, what they run, and for which systems wheels are built."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
HOST = ROOT / ".github"
WORKFLOWS = sorted((HOST / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@(?:v\d+|release/v\d+|[0-9a-f]{40})")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _parsed(path: Path) -> Any:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
    return yaml.safe_load(path.read_text())


def _jobs(path: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = _parsed(path)["jobs"]
    return jobs


def _valid(schema: str, *paths: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema: pip install check-jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "wheels.yml"}


def test_they_are_valid() -> None:
    _valid("vendor.github-workflows", *WORKFLOWS)
    _valid("vendor.dependabot", HOST / "dependabot.yml")


def test_they_are_secure() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists():
        pytest.skip("needs zizmor: pip install zizmor")
    command = [str(zizmor), "--offline", "--no-progress", str(HOST)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_schema_refuses_what_is_no_workflow(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("name: CI\non: push\njobs: {all: {runs-on: ubuntu-24.04, step: []}}\n")
    with pytest.raises(AssertionError, match="step"):
        _valid("vendor.github-workflows", wrong)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_jobs_bounded(path: Path) -> None:
    for name, job in _jobs(path).items():
        assert job["timeout-minutes"] <= 90, name
        for step in job["steps"]:
            assert "uses" in step or "run" in step
            assert PINNED.fullmatch(step.get("uses", "a/b@v1")), step
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_only_publishing_may_write() -> None:
    for path in WORKFLOWS:
        assert _parsed(path)["permissions"] == {"contents": "read"}
        allowed = {name: job["permissions"] for name, job in _jobs(path).items() if "permissions" in job}
        assert allowed == ({"publish": {"id-token": "write"}} if path.name == "wheels.yml" else {})
    publish = _jobs(HOST / "workflows" / "wheels.yml")["publish"]
    assert publish["if"] == "github.event_name == 'push' && github.ref_type == 'tag'"
    assert set(publish["needs"]) == {"sdist", "wheels"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_they_run_is_in_the_repository(path: Path) -> None:
    scripts = "\n".join(step.get("run", "") for job in _jobs(path).values() for step in job["steps"])
    for name in re.findall(r"(?:\.ci|tests|benchmarks)/[\w./-]+", scripts):
        assert (ROOT / name).exists(), name
    for group in re.findall(r"--group (\S+)", scripts):
        assert group in PROJECT["dependency-groups"]
    targets = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\S+)", scripts, re.MULTILINE)) <= targets


def _wheels(platform: str, archs: str) -> set[str]:
    pytest.importorskip("cibuildwheel", reason="needs cibuildwheel: pip install cibuildwheel")
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"]
    done = subprocess.run(
        [*command, "--platform", platform, "--archs", archs],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return set(done.stdout.split())


def test_each_supported_python_has_a_wheel_on_each_supported_system() -> None:
    said = (
        re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", name) for name in PROJECT["project"]["classifiers"]
    )
    pythons = {f"cp3{match[1]}" for match in said if match} | {"cp314t"}
    assert len(pythons) >= 6
    expected = {
        f"{python}-{system}_{arch}"
        for python in pythons
        for system, archs in {
            "manylinux": ("x86_64", "aarch64"),
            "musllinux": ("x86_64", "aarch64"),
            "macosx": ("x86_64", "arm64"),
        }.items()
        for arch in archs
    }
    built = {(entry["system"], entry["archs"]) for entry in _matrix()}
    assert built == {
        ("ubuntu-24.04", "x86_64"),
        ("ubuntu-24.04-arm", "aarch64"),
        ("macos-15-intel", "x86_64"),
        ("macos-15", "arm64"),
    }
    found = set[str]()
    for system, arch in built:
        found |= _wheels("linux" if system.startswith("ubuntu") else "macos", arch)
    assert found == expected


def _matrix() -> list[dict[str, str]]:
    entries: list[dict[str, str]] = _jobs(HOST / "workflows" / "wheels.yml")["wheels"]["strategy"]["matrix"]["include"]
    return entries
