"""`Gate` decides whether a request may act for an account. Every edge uses the same gate and gets a `Verdict`.

This folder also holds the client address, the account sources, the denial, the decision log and the metrics. It knows
no framework, rule or store; `cidrgate.middleware` connects a gate to a framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.gate.account_sources import EXEMPT, Exempt, FromHeader, FromPath, FromRoute
from cidrgate.gate.client_ip import ClientAddress, ClientIPResolver, ClientProblem
from cidrgate.gate.denial import Denial, denial_of
from cidrgate.gate.gate import Gate, Unlisted
from cidrgate.gate.hooks import AllowedCounter, DecisionHook, SuppressedCounter
from cidrgate.gate.proxy_protocol import ProxyHeader, parse_proxy_header
from cidrgate.gate.verdict import Result, Verdict, VerdictReason
from cidrgate.process.late_names import loaded_late

if TYPE_CHECKING:
    from cidrgate.gate.metrics import GateMetrics

__all__ = [
    "EXEMPT",
    "AllowedCounter",
    "ClientAddress",
    "ClientIPResolver",
    "ClientProblem",
    "DecisionHook",
    "Denial",
    "Exempt",
    "FromHeader",
    "FromPath",
    "FromRoute",
    "Gate",
    "GateMetrics",
    "ProxyHeader",
    "Result",
    "SuppressedCounter",
    "Unlisted",
    "Verdict",
    "VerdictReason",
    "denial_of",
    "parse_proxy_header",
]


if not TYPE_CHECKING:  # a type checker would take every name for one of this module
    __getattr__ = loaded_late(__name__, {"GateMetrics": "cidrgate.gate.metrics"})  # it needs `cidrgate[metrics]`
