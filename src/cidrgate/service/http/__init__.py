"""The HTTP features that all resources of the service share.

They are problem details, pagination, idempotent responses, conditional requests, limits, threads and security headers.
"""
