"""`RuleManager` validates and stores changes of lists, and then publishes them to the replica, each change as a whole.

This folder contains queries, changes, change requests, commit groups, importing and previews. It knows no HTTP,
framework or SQL. The rules are in `cidrgate.rules`.
"""

from cidrgate.manager.backups import BackupReport
from cidrgate.manager.declared import ApplyReport, DeclaredAccount, DeclaredChange
from cidrgate.manager.importing import ImportReport, ListDifference
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.recommendations import AccountRecommendation
from cidrgate.manager.rule_manager import RuleManager
from cidrgate.replica.replica import OnStale
from cidrgate.rules.policy import PolicyChange, PolicyOptions, PolicyState

__all__ = [
    "AccountRecommendation",
    "ApplyReport",
    "BackupReport",
    "DeclaredAccount",
    "DeclaredChange",
    "Guard",
    "ImportReport",
    "ListDifference",
    "ListOutcome",
    "OnStale",
    "PolicyChange",
    "PolicyOptions",
    "PolicyState",
    "RuleManager",
]
