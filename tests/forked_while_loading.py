"""A process that forks while a thread imports a part of the package: `python -m … URL WHAT MODULE PATIENCE`.

The import of MODULE takes a while, as on a slow disk. The child uses the same part and writes what it got.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import cidrgate
from cidrgate.process import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_SLOW = 1.0


def _opened(url: str) -> Callable[[], object]:
    manager = cidrgate.RuleManager.open(url, load=False)
    manager.create_account("acct-1")
    return lambda: len(manager.traffic("acct-1"))


WAYS: dict[str, Callable[[str], Callable[[], object]]] = {
    "a name of the package": lambda _: lambda: cidrgate.RuleManager.__name__,
    "a name of another part": lambda _: lambda: cidrgate.Gate.__name__,
    "the store": lambda url: lambda: cidrgate.RuleManager.open(url, load=False).close(),
    "a method": _opened,
}
"""What is prepared before there are threads, and then used by a thread and the child."""


class Slow:
    """Finds no module, and lets one be imported slowly."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.begun = threading.Event()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == self.module and not self.begun.is_set():
            self.begun.set()
            time.sleep(_SLOW)
        return None


def main() -> None:
    url, what, module, patience = sys.argv[1:]
    forking._PATIENCE, forking._SQLITE_PATIENCE = 0.05, float(patience)
    use, slow = WAYS[what](url), Slow(module)
    sys.meta_path.insert(0, slow)
    thread = threading.Thread(target=use)
    thread.start()
    assert slow.begun.wait(30), f"{module} is not imported"
    child = os.fork()
    if not child:
        try:
            print(f"made {use()}", flush=True)
        except cidrgate.StoreError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(0)
    thread.join()
    end = time.monotonic() + 30
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            print("hangs")
            break
        time.sleep(0.01)


if __name__ == "__main__":
    main()
