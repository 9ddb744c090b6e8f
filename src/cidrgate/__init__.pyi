# The names that `__init__.py` loads when they are first used, for type checkers.
from cidrgate._engine import Matcher as Matcher, PrefixTrie as PrefixTrie
from cidrgate.errors import (
    AccountExistsError as AccountExistsError,
    AccountHasSubaccountsError as AccountHasSubaccountsError,
    AccountNotFoundError as AccountNotFoundError,
    ChangeWithdrawnError as ChangeWithdrawnError,
    CidrgateError as CidrgateError,
    Confirmation as Confirmation,
    ConflictError as ConflictError,
    CredentialEndedError as CredentialEndedError,
    EntryNotFoundError as EntryNotFoundError,
    ForkedError as ForkedError,
    HistoryError as HistoryError,
    InvalidAccountError as InvalidAccountError,
    InvalidAddressError as InvalidAddressError,
    InvalidCopyError as InvalidCopyError,
    InvalidExpiryError as InvalidExpiryError,
    InvalidScopeError as InvalidScopeError,
    InvalidTextError as InvalidTextError,
    MissingExtraError as MissingExtraError,
    NotFoundError as NotFoundError,
    NoTrafficError as NoTrafficError,
    OutcomeUnknownError as OutcomeUnknownError,
    Problem as Problem,
    ProblemCode as ProblemCode,
    ProxyProtocolError as ProxyProtocolError,
    RecommendationError as RecommendationError,
    RuleError as RuleError,
    SessionNotFoundError as SessionNotFoundError,
    SnapshotError as SnapshotError,
    StoreBusyError as StoreBusyError,
    StoreConflictError as StoreConflictError,
    StoreError as StoreError,
    StoreNotEmptyError as StoreNotEmptyError,
    StoreNotFoundError as StoreNotFoundError,
    StoreOutgrownError as StoreOutgrownError,
    SubaccountError as SubaccountError,
    TokenNotFoundError as TokenNotFoundError,
    UnclearAccountError as UnclearAccountError,
    UnconfirmedChangeError as UnconfirmedChangeError,
    UndoConflictError as UndoConflictError,
    VersionConflictError as VersionConflictError,
    WouldAddWideEntryError as WouldAddWideEntryError,
    WouldDisableEnforcementError as WouldDisableEnforcementError,
    WouldLockOutCallerError as WouldLockOutCallerError,
    WouldUseOtherListError as WouldUseOtherListError,
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
from cidrgate.manager import ImportReport as ImportReport, RuleManager as RuleManager
from cidrgate.rules.policy import Policy as Policy
from cidrgate.values import (
    Account as Account,
    AccountDeletion as AccountDeletion,
    Action as Action,
    Address as Address,
    Change as Change,
    Decision as Decision,
    Duration as Duration,
    Entry as Entry,
    EntryDetails as EntryDetails,
    EntryEdit as EntryEdit,
    EntryRef as EntryRef,
    ListChange as ListChange,
    ListState as ListState,
    NewEntry as NewEntry,
    Observation as Observation,
    Origin as Origin,
    OriginKind as OriginKind,
    Prefix as Prefix,
    Reason as Reason,
)

__version__: str

def get_include() -> str: ...
