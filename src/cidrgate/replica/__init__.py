"""The read replica of a store: a matcher that catches up with the change log, in memory or from a snapshot.

`Replica` combines the published store, the follower that polls and listens, and the shared snapshot. It changes no
list, and knows no rule and no HTTP.
"""
