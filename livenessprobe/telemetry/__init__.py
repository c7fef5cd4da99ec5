"""Turns the results of Probes into metrics, a history, and log lines.

metrics      what `/metrics` shows
exposition   the text format of metrics
history      totals, changes of state and the last hour
status       a snapshot of driver and prober
statelog     log lines for changes of the driver's state
wallclock    wall-clock times for times on trio's clock
"""
