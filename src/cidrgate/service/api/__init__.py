"""The REST API under `/v1`: one module for each resource, with its routes and its JSON objects.

What every request is held to is in `cidrgate.service.http`, who may ask in `cidrgate.service.auth`.
"""
