"""The expiry of entries and modes in a matcher: when it comes, how a snapshot keeps it, and how it takes effect.

`Matcher.open` uses this folder for a snapshot as it opens it, and `cidrgate.replica` for a matcher that lives on. It
knows no store.
"""
