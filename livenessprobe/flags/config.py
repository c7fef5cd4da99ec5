"""Parses the sidecar's flags into a `Config`, and checks that they fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from livenessprobe.flags import kinds
from livenessprobe.flags.go import quote, scan
from livenessprobe.flags.logging_config import logging_errors
from livenessprobe.flags.table import FLAGS, Group
from livenessprobe.flags.values import (
    ConfigError,
    health_address,
    probe_interval,
    probe_timeout,
    socket_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OWN_PATHS = frozenset(
    {
        "/",
        "/healthz",
        "/livez",
        "/readyz",
        "/status.json",
        "/statusz",
        "/flagz",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
    }
)
"""The paths that the listener of `/healthz` always serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The parsed command line.

    Attributes:
        socket_path: the CSI driver's UNIX socket, absolute or relative, at most 107 bytes.
        health_address: Go listen address of `/healthz`: `:9808`, `localhost:9808`, `[::1]:http`.
        metrics_address: Go listen address of the metrics, the same text as `health_address`
            if both share one listener; None if no metrics are served.
        metrics_path: begins with a slash if metrics are served.
        probe_timeout: seconds that one Probe may take, connecting included; at least 0.1.
        probe_interval: seconds from one Probe's start to the next one's, at least 0.1; None if
            the schedule follows the callers.
        logging_format: `text` or `json`.
        verbosity: the highest level of log lines to write, 0 or more.
        vmodule: (file pattern, verbosity above 0) pairs in the order given.
        warnings: a message for each flag or argument that was accepted but has no effect.
        texts: the text of every flag, given or default, by name; one without effect only if given.

    """

    socket_path: str
    health_address: str
    metrics_address: str | None
    metrics_path: str
    probe_timeout: float
    probe_interval: float | None
    logging_format: str
    verbosity: int
    vmodule: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]
    texts: Mapping[str, str]


def parse(argv: Sequence[str]) -> Config:
    """Parse the arguments that follow the program's name.

    Raises:
        UsageError: an argument is not a known flag, or its value cannot be parsed.
        ConfigError: a value is out of bounds, or two flags exclude each other.
        HelpRequested: `-h` or `--help` comes before the first error.

    """
    given, rest = scan(argv, {name: flag.kind for name, flag in FLAGS.items()})
    values = {name: flag.default for name, flag in FLAGS.items()} | given
    # The reference's checks come first, in its order, so that the same error is reported.
    errors = logging_errors(values)
    if errors is not None:
        raise ConfigError("LoggingConfiguration is invalid", err=errors)
    _check_listeners(values)
    address = health_address(values)
    metrics_address = values["http-endpoint"] or values["metrics-address"] or None
    if metrics_address is not None:
        _check_metrics_path(values, shares_listener=metrics_address == address)
    return Config(
        socket_path=socket_path(values),
        health_address=address,
        metrics_address=metrics_address,
        metrics_path=values["metrics-path"],
        probe_timeout=probe_timeout(values),
        probe_interval=probe_interval(values),
        logging_format=values["logging-format"],
        verbosity=kinds.level(values["v"]),
        # klog ignores patterns with level 0, so they do not hide a later pattern.
        vmodule=tuple((pattern, v) for pattern, v in kinds.vmodule(values["vmodule"]) if v),
        warnings=tuple(_warnings(given, rest, metrics_served=metrics_address is not None)),
        texts={
            name: text
            for name, text in values.items()
            if name in given or FLAGS[name].group is not Group.IGNORED
        },
    )


def _check_listeners(values: Mapping[str, str]) -> None:
    for name in ("health-port", "metrics-address"):
        if values["http-endpoint"] and values[name] != FLAGS[name].default:
            raise ConfigError(f"Only one of `--{name}` and `--http-endpoint` can be explicitly set")
    port = values["health-port"]
    if ":" in port:
        raise ConfigError(
            f"--health-port={quote(port)} is not a port: give a number or a service name, such as "
            "9808 or http, or give host:port to --http-endpoint instead"
        )


def _check_metrics_path(values: Mapping[str, str], *, shares_listener: bool) -> None:
    path = values["metrics-path"]
    if not path.startswith("/"):
        raise ConfigError(f"--metrics-path={quote(path)} must begin with a slash: try /metrics")
    if set(path) & set("?#%"):
        raise ConfigError(
            f"--metrics-path={quote(path)} has a ?, # or %, which no request's path has: give it "
            "decoded and without a query, such as /metrics"
        )
    if path in OWN_PATHS and shares_listener:
        raise ConfigError(
            f"--metrics-path={quote(path)} is already served for something else at this address: "
            "choose another path, such as /metrics"
        )


def _warnings(
    given: Mapping[str, str], rest: Sequence[str], *, metrics_served: bool
) -> Iterator[str]:
    for name in given:
        if FLAGS[name].group is Group.IGNORED:
            yield f"--{name} has no effect. {FLAGS[name].help}"
    if "metrics-path" in given and not metrics_served:
        yield (
            "--metrics-path has no effect. No metrics are served without --http-endpoint or "
            "--metrics-address."
        )
    if rest:
        yield (
            f"Everything from {quote(rest[0])} on is ignored: flags end at -- or at the first "
            "argument that is not a flag."
        )
