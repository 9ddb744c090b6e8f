"""The REST API under `/v1`: one module for each resource, with its routes and its JSON objects.

`cidrgate.service.http` holds the rules for every request; `cidrgate.service.auth` decides who may make which request.
"""
