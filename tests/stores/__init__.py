"""Tests of `cidrgate.stores`."""
