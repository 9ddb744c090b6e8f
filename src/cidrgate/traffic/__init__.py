"""Traffic: which addresses act for which account, gathered beside the hot path and kept for a number of days.

`Traffic` has the settings; `RuleManager.open` takes them. `notes` reads what the engine noted, `sums` sums it up within
bounds, and `recorder` stores it. The table is in `cidrgate.stores.observations`.
"""

from cidrgate.traffic.settings import Traffic

__all__ = ["Traffic"]
