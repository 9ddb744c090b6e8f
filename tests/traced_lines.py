"""The plugin of coverage.py that knows the engine's lines; for `make coverage`.

Cython's own finds the C file that a `.pyx` or `.pxi` went into, but not that of a `.pxd`, where most of the engine is.
"""

from __future__ import annotations

import os
from typing import Any

from Cython.Coverage import Plugin

__all__ = ["coverage_init"]


class _Engine(Plugin):
    def _find_source_files(self, filename: str) -> Any:
        found = super()._find_source_files(filename)  # type: ignore[no-untyped-call]
        if found != (None, None) or not filename.endswith(".pxd"):
            return found
        self._find_c_source_files(os.path.dirname(filename), filename)  # type: ignore[no-untyped-call]  # noqa: PTH120
        known = (self._c_files_map or {}).get(filename)
        return (known[0], None) if known else found


def coverage_init(registry: Any, _options: dict[str, str]) -> None:
    """Register the plugin; coverage.py calls this."""
    plugin = _Engine()
    registry.add_file_tracer(plugin)
    registry.add_configurer(plugin)
