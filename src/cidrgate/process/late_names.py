"""Names of a package that are loaded when they are first used (PEP 562), because what has them needs much."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cidrgate.process.forking import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["loaded_late"]


def loaded_late(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package. A fork waits for a thread that loads a name.

    Args:
        package: The name of the package.
        modules: The module that has each name, by name.

    Example:
        >>> find = loaded_late("a.package", {"Policy": "cidrgate.rules.policy"})
        >>> find("Policy").__name__
        'Policy'
    """

    def found(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with loading():
            return getattr(import_module(modules[name]), name)

    return found
