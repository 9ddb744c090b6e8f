"""The rules for lists: special ranges, the policy, and the checks as pure functions on values."""

from cidrgate.rules.checks import RULE_OF_CODE, RULES, Rule, validate_addition, validate_edit, validate_replacement
from cidrgate.rules.policy import Policy
from cidrgate.rules.special_ranges import SPECIAL_RANGES, SpecialRange, special_block, special_blocks
from cidrgate.rules.submission import split_submission

__all__ = [
    "Policy",
    "RULES",
    "RULE_OF_CODE",
    "Rule",
    "split_submission",
    "validate_addition",
    "validate_edit",
    "validate_replacement",
    "SPECIAL_RANGES",
    "SpecialRange",
    "special_block",
    "special_blocks",
]
