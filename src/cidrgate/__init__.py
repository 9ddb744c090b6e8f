"""Per-account IP allowlists: may this address act for this account?

`PrefixTrie` and `Matcher` are the native engine. `RuleManager` keeps lists valid and the matcher equal to the store.
`Gate` decides about requests. Each name is loaded when it is first used, so that a matcher alone loads no SQL.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

_PUBLIC = {
    "cidrgate._engine": ("PrefixTrie", "Matcher"),
    "cidrgate.manager.rule_manager": ("RuleManager",),
    "cidrgate.rules.policy": ("Policy",),
    "cidrgate.values": ("Decision", "Entry", "NewEntry", "EntryEdit", "EntryDetails", "Account", "Change"),
    "cidrgate.errors": (
        "Problem",
        "CidrgateError",
        "RuleError",
        "InvalidAddressError",
        "InvalidAccountError",
        "InvalidTextError",
        "AccountExistsError",
        "AccountNotFoundError",
        "EntryNotFoundError",
        "SubaccountError",
        "VersionConflictError",
        "UnconfirmedChangeError",
        "WouldDisableEnforcementError",
        "WouldLockOutCallerError",
        "InvalidExpiryError",
        "HistoryError",
        "StoreError",
        "StoreNotFoundError",
        "StoreBusyError",
        "OutcomeUnknownError",
        "SnapshotError",
        "ProxyProtocolError",
    ),
    "cidrgate.gate.client_ip": ("ClientIPResolver", "ClientAddress"),
    "cidrgate.gate.gate": ("Gate",),
    "cidrgate.gate.verdict": ("Verdict",),
    "cidrgate.gate.account_sources": ("FromHeader", "FromRoute", "FromPath", "EXEMPT"),
}
"""Where each public name lives; `__init__.pyi` says the same to type checkers."""

_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*_MODULES, "__version__", "get_include"]


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first asked for (PEP 562)."""
    if name == "__version__":
        # From the metadata of the package, whose reader takes long to load.
        from importlib.metadata import version

        return version("cidrgate")
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """The folder of `cidrgate.h`, for extensions in C or Cython that ask a matcher without Python objects."""
    return str(Path(__file__).parent / "include")
