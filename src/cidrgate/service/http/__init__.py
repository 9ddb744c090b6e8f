"""What every request and response of the service is held to, whatever its resource.

Problem details, pagination, idempotent responses, conditional requests, limits, threads and security headers live here.
"""
