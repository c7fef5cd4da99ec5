"""When the next Probe starts, and how old a result may get before something is wrong.

Pure: times are arguments, in seconds on one monotonic clock. The rate is fixed: Probes start
`interval` apart. One that takes longer delays the next, never overlaps it.
"""

SLACK = 2.0
"""Seconds that a Probe may be late by on a starved machine before its prober counts as stuck.

Less would turn a node's CPU shortage into a restart of its storage driver.
"""


def next_start(*, started_at: float, finished_at: float, interval: float) -> float:
    """Return when to start the Probe after the one that ran from `started_at` to `finished_at`."""
    return max(started_at + interval, finished_at)


def max_age(*, interval: float, probe_timeout: float) -> float:
    """Return the age in seconds that no result outgrows while the prober works.

    It grows oldest when the next Probe starts a whole interval later and then times out.
    """
    return interval + probe_timeout + SLACK
