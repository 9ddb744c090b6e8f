"""What the package needs of the process that it runs in: forks, the clock, and files for their owner alone.

Every layer may use it. It knows no lists, no stores and no HTTP.
"""
