"""One module for each framework: each asks a `cidrgate.Gate` before the application runs, and answers 403 if it denies.

`asgi` and `wsgi` work around any application and need no framework. The others follow the idioms of their frameworks,
which docs/edges.md lists. A module whose name begins with an underscore is shared by edges.
"""
