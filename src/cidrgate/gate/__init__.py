"""`Gate`: may a request act for an account? From an account and a client to a `Verdict`, the same for every edge.

The client's address, the sources of accounts, the denial, the decision log and its metrics live here. Nothing here
knows a framework, a rule or a store; `cidrgate.middleware` joins a gate to a framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute
from cidrgate.gate.client_ip import ClientAddress, ClientIPResolver
from cidrgate.gate.denial import Denial, denial_of
from cidrgate.gate.gate import Gate, Unlisted
from cidrgate.gate.proxy_protocol import parse_proxy_header
from cidrgate.gate.verdict import Result, Verdict, VerdictReason

if TYPE_CHECKING:
    from cidrgate.gate.metrics import GateMetrics

__all__ = [
    "EXEMPT",
    "ClientAddress",
    "ClientIPResolver",
    "Denial",
    "FromHeader",
    "FromPath",
    "FromRoute",
    "Gate",
    "GateMetrics",
    "Result",
    "Unlisted",
    "Verdict",
    "VerdictReason",
    "denial_of",
    "parse_proxy_header",
]


def __getattr__(name: str) -> object:
    """`GateMetrics`, loaded when it is asked for: it needs `cidrgate[metrics]`."""
    if name == "GateMetrics":
        from cidrgate.gate.metrics import GateMetrics

        return GateMetrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
