"""Faults of databases, disks, networks and processes, one script a fault.

What must hold afterwards is checked by one function, `tests.faults.invariants.check`.
`make test` runs each for a moment; `make faults` as long as `CIDRGATE_FAULT_SECONDS` says, and prints what happened. It
runs every test with the mark `fault`, those elsewhere as well. The mark names a row of the table in docs/many-nodes.md.
"""
