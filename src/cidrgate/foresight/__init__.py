"""Foresight: pure functions that compute, from observations of the past, what a list would do and which list is best.

They know neither storage nor HTTP. An observation is `cidrgate.values.Observation`.
"""

from cidrgate.foresight.evaluation import (
    AccountEvaluation,
    AffectedNetwork,
    AffectedTraffic,
    ChangedList,
    Evaluation,
    PastTraffic,
    TrafficTotal,
    UnaddressedRequests,
    Unknown,
    UnknownCode,
    evaluate,
)
from cidrgate.foresight.observed import Observed
from cidrgate.foresight.recommending import (
    CurvePoint,
    LeftOut,
    LeftOutReason,
    Recommendation,
    RecommendedNetwork,
    recommend,
)
from cidrgate.foresight.usage import NarrowerNetwork, UnusedEntry, narrower, unused

__all__ = [
    "AccountEvaluation",
    "AffectedNetwork",
    "AffectedTraffic",
    "ChangedList",
    "CurvePoint",
    "Evaluation",
    "LeftOut",
    "LeftOutReason",
    "NarrowerNetwork",
    "Observed",
    "PastTraffic",
    "Recommendation",
    "RecommendedNetwork",
    "TrafficTotal",
    "UnaddressedRequests",
    "Unknown",
    "UnknownCode",
    "UnusedEntry",
    "evaluate",
    "narrower",
    "recommend",
    "unused",
]
