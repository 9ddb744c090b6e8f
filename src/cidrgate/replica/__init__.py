"""The read replica of a store: a matcher that catches up with the change log, in memory or from a snapshot.

`Replica` is all of it together: the published store, the follower that polls and listens, and the shared snapshot; the
expiry of entries lives here too. Nothing here changes a list, and nothing here knows a rule or HTTP.
"""
