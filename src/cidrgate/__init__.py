"""Per-account IP allowlists: may this address act for this account?

`PrefixTrie` and `Matcher` are the native engine; `RuleManager` keeps lists valid and the matcher equal to
the store.
"""

from pathlib import Path

from cidrgate._engine import Matcher, PrefixTrie
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
    VersionConflictError,
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
    "InvalidExpiryError",
    "HistoryError",
    "StoreError",
    "StoreBusyError",
    "OutcomeUnknownError",
    "StoreNotFoundError",
    "SnapshotError",
    "ClientIPResolver",
    "ClientAddress",
    "Gate",
    "Verdict",
    "ProxyProtocolError",
    "get_include",
]


def get_include() -> str:
    """The folder of `cidrgate.h`, for extensions in C or Cython that ask a matcher without Python objects."""
    return str(Path(__file__).parent / "include")
