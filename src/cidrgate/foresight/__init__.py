"""Foresight: pure functions that compute, from observations of the past, what a list would do and which list is best.

They know neither storage nor HTTP. An observation is `cidrgate.values.Observation`.
"""
