"""Faults of databases, disks, networks and processes, one script a fault.

What must hold afterwards is checked by one function, `tests.faults.invariants.check`.
`make test` runs each for a moment; `make faults` as long as `CIDRGATE_FAULT_SECONDS` says, and prints what happened.
"""
