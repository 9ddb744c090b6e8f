"""The read replica of a store: a matcher that catches up with the change log, in memory or from a snapshot.

The published store, the follower that polls and listens, snapshots and the expiry of entries live here. Nothing here
changes a list, and nothing here knows a rule or HTTP.
"""
