"""The prober task and what it needs, from when a Probe is due to its result.

schedule   when the next Probe starts, and until when the last result is valid
callers    who asks regularly, and when each asks next
prober     the task that waits for the schedule, runs a Probe and publishes its result
probe      one Probe, from the call to its `ProbeResult`
deadline   the one deadline of a call
watch      the task that notices a driver's end and return between two Probes
identity   the task that keeps the driver's name known
"""
