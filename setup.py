"""Builds the native engine; everything else about the package is in `pyproject.toml`."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

if sys.platform == "win32":
    sys.exit("cidrgate supports POSIX systems (Linux, macOS): on Windows, use it in the Windows Subsystem for Linux")

# Where lines are to be traced, for `make coverage`: a copy of `ext`, so that no other build takes its C file.
TRACED = os.environ.get("CIDRGATE_TRACED_SOURCES")
SOURCES = TRACED or "ext"

(engine,) = cythonize(
    [
        Extension(
            "cidrgate._engine",
            [f"{SOURCES}/_engine.pyx"],
            include_dirs=[SOURCES, "ext"],  # the second one for what lies beside `ext`
            define_macros=[("CYTHON_TRACE_NOGIL", "1")] if TRACED else [],
            depends=[
                *sorted(str(path) for kind in ("pxi", "pxd", "h") for path in Path(SOURCES).glob(f"*.{kind}")),
                "src/cidrgate/include/cidrgate.h",
            ],
            # No flag names instructions of a processor: `ext/engine.c` chooses them by the target of the compiler.
            extra_compile_args=["-O1" if TRACED else "-O3"],
        )
    ],
    include_path=[SOURCES],
    force=bool(TRACED),  # the copy may hold a C file already, without traces
    compiler_directives={
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "cdivision": True,
        "initializedcheck": False,
        "binding": False,
        # A docstring begins with the signature in the form that `inspect.signature` and `help` read. It costs nothing
        # at a call, unlike functions with `binding`.
        "embedsignature": True,
        "embedsignature.format": "clinic",
        "freethreading_compatible": True,
        "linetrace": bool(TRACED),
    },
)
# What Cython wrote is compiled as a part of this file, which chooses the instructions of the target.
engine.depends += engine.sources
engine.sources = [f"{SOURCES}/engine.c"]

setup(ext_modules=[engine])
