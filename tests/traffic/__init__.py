"""Tests of `cidrgate.traffic`."""
