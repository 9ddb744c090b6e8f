"""Clients that generators make from the OpenAPI document, compiled and run against `cidrgate serve`; and its lint.

`make clients` runs all of them, `python -m tests.clients NAME...` some. What they need is kept in `build/clients`.
"""
