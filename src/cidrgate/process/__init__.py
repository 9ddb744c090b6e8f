"""Access to the process that the package runs in: forks, the clock, and files that only their owner can read.

Every layer may use this folder. It does not know lists, stores or HTTP.
"""
