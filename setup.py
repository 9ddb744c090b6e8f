"""Builds the native engine; everything else about the package is in `pyproject.toml`."""

import platform
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# The instructions that numpy, which the engine needs anyway, asks of an x86-64 processor too.
X86_64_V2 = ["-msse4.2", "-mpopcnt"]

arguments = ["-O3"]
if platform.machine() in {"x86_64", "AMD64"} and platform.system() != "Windows":
    arguments += X86_64_V2

engine = Extension(
    "cidrgate._engine",
    ["ext/_engine.pyx"],
    include_dirs=["ext"],
    depends=[
        *sorted(str(path) for kind in ("pxi", "pxd", "h") for path in Path("ext").glob(f"*.{kind}")),
        "src/cidrgate/include/cidrgate.h",
    ],
    extra_compile_args=arguments,
)

setup(
    ext_modules=cythonize(
        [engine],
        include_path=["ext"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "binding": False,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    )
)
