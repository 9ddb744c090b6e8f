"""The tests of the engine on AArch64, emulated: `python -m tests.aarch64 [what pytest takes]`.

Nothing is installed. Debian's packages of Python for this processor are unpacked in `build/aarch64`, together with the
wheels that the tests need; a cross compiler builds the engine and pytricia for them. Every property is tried with few
examples, as an emulated processor is slow. Tests that compile a caller or a program are left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "aarch64"
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
NEEDED = f"apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user, for {COMPILER} and {EMULATOR}"

LIBRARIES = (
    *("libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libncursesw6"),
    *("libreadline8", "libsqlite3-0", "libssl3", "libstdc++6", "libtinfo6", "libuuid1", "zlib1g"),
)
WHEELS = ("duckdb", "hypothesis", "numpy", "pandas", "polars-runtime-32", "pyarrow")


def debian(*command: str) -> str:
    """Run a program of apt for the other processor, with lists and a cache of its own."""
    state = FOLDER / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
        "Dir::Cache": str(state / "cache"),
        "Acquire::Languages": "none",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    program, *arguments = command
    return subprocess.check_output([program, *given, *arguments], cwd=state, text=True)


def a_python() -> tuple[Path, str]:
    """Unpack Debian's Python; return the folder that is its root, and its version, such as 3.11."""
    root = FOLDER / "root"
    debian("apt-get", "-qq", "update")
    [number] = set(re.findall(r"Depends: .*\bpython(3\.\d+)-minimal", debian("apt-cache", "show", "python3-minimal")))
    names = [f"python{number}", f"python{number}-minimal"]
    names += [f"libpython{number}-{part}" for part in ("minimal", "stdlib", "dev")]
    for name in (*names, *LIBRARIES):
        debian("apt-get", "-qq", "download", name)
    for package in (FOLDER / "apt").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
        package.unlink()
    return root, number


def a_site(number: str) -> Path:
    """Unpack wheels of what the tests import, in the versions that are installed here; return the folder."""
    site, wheels = FOLDER / "site", FOLDER / "wheels"
    platforms = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 24, 26, 27, 28)]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--dest={wheels}"]
    names = [f"{name}=={version(name)}" for name in WHEELS]
    subprocess.run([*command, "--only-binary=:all:", f"--python-version={number}", *platforms, *names], check=True)
    subprocess.run(
        [*command, "--no-binary=:all:", "--no-build-isolation", f"pytricia=={version('pytricia')}"], check=True
    )
    for wheel in wheels.glob("*.whl"):
        with ZipFile(wheel) as opened:
            opened.extractall(site)
    return site


def compiled(sources: list[Path], folders: list[Path], root: Path, number: str, module: Path) -> None:
    """Build a module of Python."""
    includes = [root / "usr/include" / f"python{number}", root / "usr/include"]
    suffix = f".cpython-{number.replace('.', '')}-aarch64-linux-gnu.so"
    subprocess.run(
        [
            *(COMPILER, "-shared", "-fPIC", "-O3", "-w"),
            *(f"-I{folder}" for folder in folders),
            *(word for folder in includes for word in ("-isystem", str(folder))),
            *map(str, sources),
            *("-o", f"{module}{suffix}"),
        ],
        check=True,
    )


def main() -> int:
    """Prepare what is missing, and run the tests."""
    if not all(map(shutil.which, (COMPILER, EMULATOR, "apt-get", "dpkg-deb"))):
        sys.exit(f"This needs Debian, and {NEEDED}")
    root, number = a_python()
    site = a_site(number)
    [archive] = (FOLDER / "wheels").glob("pytricia*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(FOLDER, filter="data")
    pytricia = FOLDER / archive.name.removesuffix(".tar.gz")
    compiled(sorted(pytricia.glob("*.c")), [pytricia], root, number, site / "pytricia")
    package = FOLDER / "src" / "cidrgate"
    shutil.copytree(ROOT / "src" / "cidrgate", package, ignore=shutil.ignore_patterns("*.so"), dirs_exist_ok=True)
    compiled([ROOT / "ext/engine.c"], [ROOT / "ext", package / "include"], root, number, package / "_engine")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (FOLDER / "bin").mkdir(exist_ok=True)
    compiler = FOLDER / "bin" / "cc"  # what tests load
    compiler.write_text(f'#!/bin/sh\nexec {COMPILER} "$@"\n')
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{compiler.parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(map(str, (FOLDER / "src", ROOT, site, *here))),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_PROFILE": "traced",
    }
    # Tests that start Python start the one that the variable of its process names.
    python = root / "usr/bin/emulated"
    python.write_text(f'#!/bin/sh\nexec {EMULATOR} -L "{root}" -0 "$0" "{root}/usr/bin/python{number}" "$@"\n')
    python.chmod(0o755)
    left_out = "--ignore=tests/engine/test_native_interface.py", "-k", "not build_without_a_gil"
    chosen = sys.argv[1:] or ["tests/engine", *left_out]
    return subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "anyio", *chosen],
        cwd=ROOT,
        env=environment,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
