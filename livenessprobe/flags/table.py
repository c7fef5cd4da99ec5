"""Lists the flags of all commands, with their defaults and their help."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from livenessprobe.flags import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from livenessprobe.flags.go import Kind


class Group(StrEnum):
    """A section of the usage; the value is its title."""

    DRIVER = "The CSI driver"
    HTTP = "What is served over HTTP"
    SCHEDULE = "When the driver is probed"
    LOGGING = "Logging, to stderr"
    IGNORED = "Accepted without effect, so that manifests may keep them"
    OUTPUT = "What is printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag.

    Attributes:
        name: without dashes.
        placeholder: the value's placeholder in the usage; empty for a switch.
        default: the text that is used if the flag is not given.
        help: whole sentences; for an ignored flag, why it has no effect.

    """

    name: str
    kind: Kind
    placeholder: str = ""
    default: str = ""
    help: str
    group: Group


def _alike(names: str, kind: Kind, group: Group, **fields: str) -> Iterator[Flag]:
    return (Flag(name=name, kind=kind, group=group, **fields) for name in names.split())


_ALPHA = "An alpha feature of klog: refused unless left at its default."
_STDERR_ONLY = "Log lines go to stderr only, each with its header."

# The sidecar's flags in the order of the usage; those that every manifest sets come first.
_TABLE = (
    Flag(
        name="csi-address",
        kind=kinds.TEXT,
        placeholder="address",
        default="/run/csi/socket",
        help="The driver's UNIX socket: /path, unix:///path, unix:/path or unix:path.",
        group=Group.DRIVER,
    ),
    Flag(
        name="http-endpoint",
        kind=kinds.TEXT,
        placeholder="address",
        help="Listen here, for health checks and for the metrics: :9808 means every address, "
        "localhost:9808 or [::1]:9808 only that one. Not together with --health-port or "
        "--metrics-address.",
        group=Group.HTTP,
    ),
    Flag(
        name="health-port",
        kind=kinds.TEXT,
        placeholder="port",
        default="9808",
        help="Without --http-endpoint, listen on this port of every address, for health checks: "
        "a number or a service name such as http.",
        group=Group.HTTP,
    ),
    Flag(
        name="metrics-address",
        kind=kinds.TEXT,
        placeholder="address",
        help="Without --http-endpoint, listen here for the metrics. With neither of the two, none "
        "are served.",
        group=Group.HTTP,
    ),
    Flag(
        name="metrics-path",
        kind=kinds.TEXT,
        placeholder="path",
        default="/metrics",
        help="The path of the metrics; begins with a slash.",
        group=Group.HTTP,
    ),
    Flag(
        name="probe-interval",
        kind=kinds.INTERVAL,
        placeholder="duration|auto",
        default="auto",
        help="auto: one Probe() for each expected request, a --probe-timeout and 0.25s before it, "
        "and every 10s while there are no regular callers. A duration such as 500ms or 10s, at "
        "least 100ms: from the start of one Probe() to the start of the next. A Probe() that takes "
        "longer delays the next; after a failure the next may start sooner.",
        group=Group.SCHEDULE,
    ),
    Flag(
        name="probe-timeout",
        kind=kinds.DURATION,
        placeholder="duration",
        default="3s",
        help="Time after which a Probe() without a reply has failed, connecting included; at "
        "least 100ms.",
        group=Group.SCHEDULE,
    ),
    Flag(
        name="v",
        kind=kinds.LEVEL,
        placeholder="level",
        default="0",
        help="How much is logged: at 0 changes of the driver's health, at 5 every Probe() too.",
        group=Group.LOGGING,
    ),
    Flag(
        name="vmodule",
        kind=kinds.VMODULE,
        placeholder="pattern=N,...",
        help="A higher level for single source files, named as in their log lines but without "
        ".py: statelog=5,serv*=4. Only with --logging-format=text.",
        group=Group.LOGGING,
    ),
    Flag(
        name="logging-format",
        kind=kinds.TEXT,
        placeholder="format",
        default="text",
        help="text, as klog writes it, or json, one object a line.",
        group=Group.LOGGING,
    ),
    Flag(
        name="log-flush-frequency",
        kind=kinds.DURATION,
        placeholder="duration",
        default="5s",
        help="Accepted if it is more than 0; every line is written at once.",
        group=Group.LOGGING,
    ),
    *_alike(
        "log-text-split-stream log-json-split-stream",
        kinds.BOOLEAN,
        Group.LOGGING,
        default="false",
        help=_ALPHA,
    ),
    *_alike(
        "log-text-info-buffer-size log-json-info-buffer-size",
        kinds.QUANTITY,
        Group.LOGGING,
        placeholder="size",
        default="0",
        help=_ALPHA,
    ),
    Flag(
        name="automaxprocs",
        kind=kinds.AUTOMAXPROCS,
        help="This is no Go program: there is no GOMAXPROCS to set.",
        group=Group.IGNORED,
    ),
    Flag(
        name="connection-timeout",
        kind=kinds.TEXT,
        help="The time for connecting is part of --probe-timeout.",
        group=Group.IGNORED,
    ),
    *_alike(
        "logtostderr alsologtostderr skip_headers skip_log_headers add_dir_header one_output",
        kinds.BOOLEAN,
        Group.IGNORED,
        help=_STDERR_ONLY,
    ),
    *_alike(
        "stderrthreshold log_dir log_file log_file_max_size log_backtrace_at",
        kinds.TEXT,
        Group.IGNORED,
        help=_STDERR_ONLY,
    ),
)
FLAGS: Mapping[str, Flag] = {flag.name: flag for flag in _TABLE}

_CHECK_TABLE = (
    FLAGS["csi-address"],
    FLAGS["probe-timeout"],
    Flag(
        name="output",
        kind=kinds.OUTPUT,
        placeholder="format",
        default="text",
        help="text, a line or two for a person, or json, one object.",
        group=Group.OUTPUT,
    ),
)
CHECK_FLAGS: Mapping[str, Flag] = {flag.name: flag for flag in _CHECK_TABLE}

_EXPLAIN_TABLE = (
    Flag(
        name="output",
        kind=kinds.OUTPUT,
        placeholder="format",
        default="text",
        help="text for a person, or json, one object.",
        group=Group.OUTPUT,
    ),
    Flag(
        name="reference",
        kind=kinds.BOOLEAN,
        default="false",
        help="Show kubernetes-csi/livenessprobe and this program side by side, and what a swap of "
        "the image changes.",
        group=Group.OUTPUT,
    ),
)
EXPLAIN_FLAGS: Mapping[str, Flag] = {flag.name: flag for flag in _EXPLAIN_TABLE}
