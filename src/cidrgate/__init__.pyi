# The names that `__init__.py` loads when they are first used, for type checkers.
from cidrgate._engine import Matcher as Matcher, PrefixTrie as PrefixTrie
from cidrgate.errors import (
    AccountExistsError as AccountExistsError,
    AccountNotFoundError as AccountNotFoundError,
    CidrgateError as CidrgateError,
    EntryNotFoundError as EntryNotFoundError,
    HistoryError as HistoryError,
    InvalidAccountError as InvalidAccountError,
    InvalidAddressError as InvalidAddressError,
    InvalidExpiryError as InvalidExpiryError,
    InvalidTextError as InvalidTextError,
    OutcomeUnknownError as OutcomeUnknownError,
    Problem as Problem,
    ProxyProtocolError as ProxyProtocolError,
    RuleError as RuleError,
    SnapshotError as SnapshotError,
    StoreBusyError as StoreBusyError,
    StoreError as StoreError,
    StoreNotFoundError as StoreNotFoundError,
    SubaccountError as SubaccountError,
    UnconfirmedChangeError as UnconfirmedChangeError,
    VersionConflictError as VersionConflictError,
    WouldDisableEnforcementError as WouldDisableEnforcementError,
    WouldLockOutCallerError as WouldLockOutCallerError,
)
from cidrgate.gate.account_sources import (
    EXEMPT as EXEMPT,
    FromHeader as FromHeader,
    FromPath as FromPath,
    FromRoute as FromRoute,
)
from cidrgate.gate.client_ip import ClientAddress as ClientAddress, ClientIPResolver as ClientIPResolver
from cidrgate.gate.gate import Gate as Gate
from cidrgate.gate.verdict import Verdict as Verdict
from cidrgate.manager import RuleManager as RuleManager
from cidrgate.rules.policy import Policy as Policy
from cidrgate.values import (
    Account as Account,
    Change as Change,
    Decision as Decision,
    Entry as Entry,
    EntryDetails as EntryDetails,
    EntryEdit as EntryEdit,
    NewEntry as NewEntry,
)

__version__: str

def get_include() -> str: ...
