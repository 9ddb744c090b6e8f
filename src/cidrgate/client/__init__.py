"""A Python client for the management API of `cidrgate serve`; needs `cidrgate[client]`.

>>> from cidrgate.client import Client
>>> with Client("http://127.0.0.1:8080", "cidrgate_1_...") as client:  # doctest: +SKIP
...     client.add_entries("acct-1", "8.8.8.0/24, 1.1.1.1/32", label="office").version
1

A test compares the client with the OpenAPI document: every operation, every parameter, every field.
"""

from cidrgate.errors import needs_extra

with needs_extra("client", "cidrgate.client"):
    from cidrgate.client.api import Client

from cidrgate.client.errors import ApiConnectionError, ApiConnectionLostError, ApiError, UnconfirmedError
from cidrgate.client.values import (
    AccountChange,
    AccountDeletionInfo,
    AccountEvaluationInfo,
    AccountInfo,
    AccountProblem,
    AffectedNetworkInfo,
    AffectedTrafficInfo,
    ApplyInfo,
    CallerInfo,
    ChangeInfo,
    CheckInfo,
    CurvePointInfo,
    DecisionInfo,
    EntryInfo,
    EvaluationInfo,
    FoundEntryInfo,
    LeftOutInfo,
    LinkInfo,
    ListChange,
    ListInfo,
    NarrowerEntryInfo,
    OriginInfo,
    PolicyChangeInfo,
    PolicyInfo,
    PreviewInfo,
    ProblemErrorInfo,
    ProblemInfo,
    ProblemTypeInfo,
    RecommendationInfo,
    RecommendedNetworkInfo,
    SessionInfo,
    TokenInfo,
    TrafficTotalInfo,
    UnknownInfo,
    UnusedEntryInfo,
    WhoAmI,
)

__all__ = [
    "UnusedEntryInfo",
    "RecommendedNetworkInfo",
    "RecommendationInfo",
    "NarrowerEntryInfo",
    "LeftOutInfo",
    "CurvePointInfo",
    "Client",
    "ApiError",
    "UnconfirmedError",
    "ApiConnectionError",
    "ApiConnectionLostError",
    "ProblemInfo",
    "ProblemErrorInfo",
    "ProblemTypeInfo",
    "AccountChange",
    "AccountInfo",
    "AccountProblem",
    "ApplyInfo",
    "AccountDeletionInfo",
    "EntryInfo",
    "FoundEntryInfo",
    "ListInfo",
    "PolicyInfo",
    "PolicyChangeInfo",
    "LinkInfo",
    "ListChange",
    "PreviewInfo",
    "EvaluationInfo",
    "AffectedTrafficInfo",
    "AffectedNetworkInfo",
    "AccountEvaluationInfo",
    "TrafficTotalInfo",
    "UnknownInfo",
    "CallerInfo",
    "CheckInfo",
    "DecisionInfo",
    "ChangeInfo",
    "OriginInfo",
    "TokenInfo",
    "SessionInfo",
    "WhoAmI",
]
