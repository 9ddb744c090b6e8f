"""`RuleManager`: lists are validated, stored and then published to the replica, never half of a change.

Queries, changes, requests, commit groups, importing and previews live here. Nothing here knows HTTP, a framework or
SQL; the rules themselves are in `cidrgate.rules`.
"""

from cidrgate.manager.rule_manager import ImportReport, RuleManager

__all__ = ["ImportReport", "RuleManager"]
