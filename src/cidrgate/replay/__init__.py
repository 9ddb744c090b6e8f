"""Replay: what lists of rules would have decided about the requests in logs."""
