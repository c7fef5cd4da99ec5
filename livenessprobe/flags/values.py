"""Checks and converts the values of the flags that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livenessprobe.flags import csi_address, kinds
from livenessprobe.flags.go import quote
from livenessprobe.flags.table import FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

# Below this, the time to connect and the scheduling of processes would decide about the driver's
# health, and the Probes would cost more than the driver itself.
_SHORTEST = "100ms"


class ConfigError(Exception):
    """The flags can be parsed, but the program cannot run with their values: exit code 1.

    Attributes:
        err: the cause, which klog writes as `err=`; None if the message contains it.

    """

    def __init__(self, message: str, *, err: str | None = None) -> None:
        super().__init__(message)
        self.err = err


def socket_path(values: Mapping[str, str]) -> str:
    """Return the path of the socket that `--csi-address` gives."""
    address = values["csi-address"]
    try:
        return csi_address.socket_path(address)
    except ValueError as error:
        raise ConfigError(f"--csi-address={quote(address)} {error}") from error


def health_address(values: Mapping[str, str]) -> str:
    """Return the listen address of `/healthz`."""
    return values["http-endpoint"] or f":{values['health-port']}"


def probe_timeout(values: Mapping[str, str]) -> float:
    """Return the seconds of `--probe-timeout`."""
    return _bounded("probe-timeout", kinds.duration(values["probe-timeout"]), values)


def probe_interval(values: Mapping[str, str]) -> float | None:
    """Return the seconds of `--probe-interval`, None for auto."""
    seconds = kinds.interval(values["probe-interval"])
    return None if seconds is None else _bounded("probe-interval", seconds, values)


def _bounded(name: str, seconds: float, values: Mapping[str, str]) -> float:
    if seconds < kinds.duration(_SHORTEST):
        raise ConfigError(
            f"--{name}={quote(values[name])} is too short: give at least {_SHORTEST}, "
            f"or leave it out for {FLAGS[name].default}"
        )
    return seconds
