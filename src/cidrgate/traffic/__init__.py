"""Traffic: which addresses act for which account, gathered beside the hot path and kept for a number of days."""
