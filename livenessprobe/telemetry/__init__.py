"""Consumers of results: what is counted, remembered, shown and logged about the driver.

metrics      what `/metrics` shows
history      totals, changes and the last hour
status       one value with all that is known at the moment
statelog     log lines for changes of the driver's health
wallclock    wall-clock times for times on trio's clock
"""
