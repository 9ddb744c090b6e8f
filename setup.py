"""Builds the native engine; everything else about the package is in `pyproject.toml`."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

(engine,) = cythonize(
    [
        Extension(
            "cidrgate._engine",
            ["ext/_engine.pyx"],
            include_dirs=["ext"],
            depends=[
                *sorted(str(path) for kind in ("pxi", "pxd", "h") for path in Path("ext").glob(f"*.{kind}")),
                "src/cidrgate/include/cidrgate.h",
            ],
            extra_compile_args=["-O3"],
        )
    ],
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
# What Cython wrote is compiled as a part of this file, which chooses the instructions of the target.
engine.depends += engine.sources
engine.sources = ["ext/engine.c"]

setup(ext_modules=[engine])
