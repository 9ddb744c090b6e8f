"""Formatters: lists as configuration of other programs that can enforce them.

`FORMATTERS` has a row for each program, and each program has a module. Nothing here reads a store: the caller passes
lists, and gets text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.formatters.aws_waf import AWS_WAF
from cidrgate.formatters.envoy import ENVOY
from cidrgate.formatters.formatter import AccountList, Formatter, UnwritableListError
from cidrgate.formatters.haproxy import HAPROXY
from cidrgate.formatters.nftables import NFTABLES
from cidrgate.formatters.nginx import NGINX

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORMATTERS", "AccountList", "Formatter", "UnwritableListError"]

FORMATTERS: Mapping[str, Formatter] = {one.name: one for one in (NGINX, HAPROXY, ENVOY, NFTABLES, AWS_WAF)}
"""Every formatter, by its name."""
