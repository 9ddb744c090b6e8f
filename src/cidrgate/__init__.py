"""Per-account IP allowlists: may this address act for this account?

`PrefixTrie` and `Matcher` are the native engine. `RuleManager` validates and stores changes of lists, and publishes
them to the matcher. `Gate` decides about requests. Each name is loaded when it is first used, so a program that uses
only the matcher loads no SQL.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from cidrgate import errors
from cidrgate.process.forking import loading

_PUBLIC = {
    "cidrgate._engine": ("PrefixTrie", "Matcher"),
    "cidrgate.manager.rule_manager": ("RuleManager", "ImportReport"),
    "cidrgate.rules.policy": ("Policy",),
    "cidrgate.values": (
        "Decision",
        "Entry",
        "NewEntry",
        "EntryEdit",
        "EntryDetails",
        "Account",
        "AccountDeletion",
        "Change",
        "Observation",
        "Origin",
        "OriginKind",
        "ListChange",
        "ListState",
        "Address",
        "Prefix",
        "EntryRef",
        "Duration",
        "Reason",
        "Action",
    ),
    "cidrgate.errors": (
        "Problem",
        "ProblemCode",
        "Confirmation",
        "CidrgateError",
        "NoTrafficError",
        "NotFoundError",
        "ConflictError",
        "RuleError",
        "InvalidAddressError",
        "InvalidAccountError",
        "InvalidTextError",
        "InvalidExpiryError",
        "AccountExistsError",
        "AccountNotFoundError",
        "AccountHasSubaccountsError",
        "EntryNotFoundError",
        "SubaccountError",
        "VersionConflictError",
        "UnconfirmedChangeError",
        "WouldDisableEnforcementError",
        "WouldLockOutCallerError",
        "WouldUseOtherListError",
        "WouldAddWideEntryError",
        "HistoryError",
        "UndoConflictError",
        "StoreError",
        "StoreNotFoundError",
        "StoreOutgrownError",
        "StoreConflictError",
        "StoreBusyError",
        "ChangeWithdrawnError",
        "ForkedError",
        "OutcomeUnknownError",
        "SnapshotError",
        "InvalidCopyError",
        "StoreNotEmptyError",
        "RecommendationError",
        "ProxyProtocolError",
        "UnclearAccountError",
        "InvalidScopeError",
        "TokenNotFoundError",
        "SessionNotFoundError",
        "CredentialEndedError",
        "MissingExtraError",
    ),
    "cidrgate.gate.client_ip": ("ClientIPResolver", "ClientAddress"),
    "cidrgate.gate.gate": ("Gate",),
    "cidrgate.gate.verdict": ("Verdict",),
    "cidrgate.gate.account_sources": ("FromHeader", "FromRoute", "FromPath", "EXEMPT"),
}
"""The module of each public name. `__init__.pyi` contains the same for type checkers."""

_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}
_PARTS = {module.split(".")[1] for module in _PUBLIC} | {"stores"}
"""Modules of the package that are its attributes without an import of their own, as `cidrgate.errors`."""

__all__ = [*_MODULES, "__version__", "get_include"]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name == "__version__":
        # The reader of the package's metadata takes long to load.
        from importlib.metadata import version

        return version("cidrgate")
    module = f"{__name__}.{name}" if name in _PARTS else _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # A process that was forked while a thread loaded a part can load no other, and still has its errors.
    with nullcontext() if module == errors.__name__ else loading():
        loaded = import_module(module)
    if name in _PARTS:
        return loaded
    value = globals()[name] = getattr(loaded, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """Return the folder of `cidrgate.h`, for C or Cython extensions that use a matcher without Python objects."""
    return str(Path(__file__).parent / "include")
