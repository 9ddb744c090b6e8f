"""Per-account IP allowlists: may this address act for this account?

`PrefixTrie` and `Matcher` are the native engine; `RuleManager` keeps lists valid and the matcher equal to
the store.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from cidrgate._engine import Matcher, PrefixTrie
from cidrgate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute
from cidrgate.client_ip import ClientAddress, ClientIPResolver
from cidrgate.errors import (
    AccountExistsError,
    AccountNotFoundError,
    CidrgateError,
    EntryNotFoundError,
    HistoryError,
    InvalidAccountError,
    InvalidAddressError,
    InvalidExpiryError,
    InvalidTextError,
    OutcomeUnknownError,
    Problem,
    ProxyProtocolError,
    RuleError,
    SnapshotError,
    StoreBusyError,
    StoreError,
    StoreNotFoundError,
    SubaccountError,
    UnconfirmedChangeError,
    VersionConflictError,
    WouldDisableEnforcementError,
    WouldLockOutCallerError,
)
from cidrgate.gate import Gate, Verdict
from cidrgate.manager import RuleManager
from cidrgate.rules import Policy
from cidrgate.values import Account, Change, Decision, Entry, NewEntry

__all__ = [
    "PrefixTrie",
    "Matcher",
    "RuleManager",
    "Policy",
    "Decision",
    "Entry",
    "NewEntry",
    "Account",
    "Change",
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
    "ClientIPResolver",
    "ClientAddress",
    "Gate",
    "Verdict",
    "FromHeader",
    "FromRoute",
    "FromPath",
    "EXEMPT",
    "ProxyProtocolError",
    "get_include",
    "__version__",
]

__version__: str


if not TYPE_CHECKING:  # with it, a type checker would find every name in this module

    def __getattr__(name: str) -> str:
        if name == "__version__":  # from the metadata of the package, whose reader takes long to import
            from importlib.metadata import version

            return version("cidrgate")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_include() -> str:
    """The folder of `cidrgate.h`, for extensions in C or Cython that ask a matcher without Python objects."""
    return str(Path(__file__).parent / "include")
