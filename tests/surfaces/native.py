"""The C header and its Cython declarations, without comments and layout, and what the installed engine answers."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import cidrgate
import cidrgate._engine as engine

__all__ = ["describe"]

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_BODY = re.compile(r"(?<=\)) \{\n.*?^\}$", re.DOTALL | re.MULTILINE)
_FOLDED = re.compile(r"\\\n\s*")


def describe() -> str:
    """The description of the native interface."""
    include = Path(cidrgate.get_include())
    header = _FOLDED.sub(" ", _BODY.sub(";", _COMMENT.sub("", (include / "cidrgate.h").read_text())))
    declared = re.sub(r"#[^\n]*", "", (include.parent / "api.pxd").read_text())
    version, size = _installed()
    return "\n".join(
        [
            f"ABI version {version}, {size // ctypes.sizeof(ctypes.c_void_p)} words of cidrgate_api",
            "",
            "cidrgate.h",
            *_lines(header),
            "",
            "cidrgate.api",
            *_lines(declared),
            "",
        ]
    )


def _lines(text: str) -> list[str]:
    return ["  " + " ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith('"""')]


def _installed() -> tuple[int, int]:
    """The version and the size that compiled callers compare."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    api = ctypes.cast(get(vars(engine)["_api"], b"cidrgate._engine._api"), ctypes.POINTER(ctypes.c_uint32))
    return api[0], api[1]
