"""Calls the driver's Probe when it is due and publishes the results.

schedule   when the next Probe starts, and until when the last result is valid
callers    which callers send requests at a regular period, and when each sends the next
prober     the task that waits for the schedule, runs a Probe and publishes its result
probe      one Probe, from the call to its `ProbeResult`
deadline   the one deadline of a call
watch      the task that detects, between two Probes, that the driver has exited or come back
identity   the task that keeps the driver's name known
"""
