"""The command line: the reference's flags, in the syntax of Go's flag package, to a `Config`.

Two pure steps. `_scan` is Go's flag package: it splits argv by one table of flags and lets each
flag's kind read the value, so that whatever it returns is readable; it knows no flag's meaning.
`_config` is this program: what the values mean, alone and together. Between the two a value stays
the text that was given, which is also what messages quote and what the usage shows as default.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import textwrap
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the command line asks for.

    Attributes:
        socket_path: the CSI driver's UNIX socket, absolute or relative, at most 107 bytes.
        health_address: Go listen address of `/healthz`: `:9808`, `localhost:9808`, `[::1]:http`.
        metrics_address: Go listen address of the metrics, the same text as `health_address`
            if both share one listener; None: no metrics are served.
        metrics_path: begins with a slash.
        probe_timeout: seconds that one Probe may take, connecting included; at least 0.1.
        probe_interval: seconds between Probes; at least 0.1.
        logging_format: `text` or `json`.
        verbosity: the highest level of log lines to write.
        vmodule: (file pattern, verbosity above 0) pairs in the order given.
        warnings: one sentence for each thing that was accepted but has no effect.

    """

    socket_path: str
    health_address: str
    metrics_address: str | None
    metrics_path: str
    probe_timeout: float
    probe_interval: float
    logging_format: str
    verbosity: int
    vmodule: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


class UsageError(Exception):
    """Go's flag package would refuse this command line: exit status 2, with the usage."""


class ConfigError(Exception):
    """The flags can be read, but their values cannot be served: exit status 1.

    Attributes:
        err: what klog writes as `err=` beside the message; None: the message says it all.

    """

    def __init__(self, message: str, *, err: str | None = None) -> None:
        super().__init__(message)
        self.err = err


class HelpRequested(Exception):  # noqa: N818 - to ask for help is no error
    """`-h` or `--help` was given: exit status 0, with the usage."""


def parse(argv: Sequence[str]) -> Config:
    """Read the arguments that follow the program's name.

    Raises:
        UsageError: an argument is no flag of ours, or its value cannot be read.
        ConfigError: a value is out of bounds, or two flags exclude each other.
        HelpRequested: help was asked for, before anything wrong.

    """
    given, rest = _scan(argv)
    values = {name: flag.default for name, flag in _FLAGS.items()} | given
    return _config(values, warnings=tuple(_warnings(given, values, rest)))


def usage() -> str:
    """Return what `-h` prints, lines of at most 80 columns."""
    groups = itertools.groupby(_FLAGS.values(), key=lambda flag: flag.group)
    sections = (f"{group}:\n{_section(group, list(flags))}" for group, flags in groups)
    return "\n\n".join((_USAGE_HEAD, *sections)) + "\n"


# The kinds of value. Each reads one text; the message of its ValueError is the one that Go's
# flag, strconv or klog package gives, for it ends up in ours.

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def _boolean(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError("parse error")
    return text in _TRUE


_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\N{MICRO SIGN}s": 10**3,
    "\N{GREEK SMALL LETTER MU}s": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
# More than 19 digits before the point overflow in every unit; none beyond the 18th after it
# makes a nanosecond. Go too cuts there, and int() would refuse thousands of digits.
_TERM = rf"(?=\.?[0-9])0*+([0-9]{{0,19}})(?:\.([0-9]{{0,18}})[0-9]*)?({'|'.join(_NANOSECONDS)})"
_DURATION_TEXT = re.compile(rf"([+-]?)(0|(?:{_TERM})+)")


def _duration(text: str) -> float:
    """Seconds in `1m1.5s`, `300ms` or a bare `0`."""
    match = _DURATION_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("parse error")
    nanoseconds: int = sum(
        int(whole or 0) * _NANOSECONDS[unit]
        + int(fraction or 0) * _NANOSECONDS[unit] // 10 ** len(fraction)
        for whole, fraction, unit in re.findall(_TERM, match[2])
    )
    if match[1] == "-":
        nanoseconds = -nanoseconds
    if not -(2**63) <= nanoseconds < 2**63:
        raise ValueError("parse error")
    return nanoseconds / 10**9


_INTEGER_TEXT = re.compile(r"([+-]?)0*+([0-9]*)(?<=[0-9])")
_INT32_DIGITS = 10


def _level(text: str) -> int:
    match = _INTEGER_TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"strconv.ParseInt: parsing {_quote(text)}: invalid syntax")
    sign, digits = match.groups()
    if len(digits) <= _INT32_DIGITS:
        level = int(f"{sign}{digits or 0}")
        if -(2**31) <= level < 2**31:
            return level
    raise ValueError(f"strconv.ParseInt: parsing {_quote(text)}: value out of range")


_VMODULE_SYNTAX = "syntax error: expect comma-separated list of filename=N"


def _vmodule(text: str) -> tuple[tuple[str, int], ...]:
    pairs = (_vmodule_item(item) for item in text.split(",") if item)
    return tuple((pattern, level) for pattern, level in pairs if level)


def _vmodule_item(item: str) -> tuple[str, int]:
    pattern, _, number = item.partition("=")
    if not pattern:
        raise ValueError(_VMODULE_SYNTAX)
    try:
        level = _level(number)
    except ValueError as error:
        raise ValueError(_VMODULE_SYNTAX) from error
    if level < 0:
        raise ValueError("negative value for vmodule level")
    return pattern, level


_SIZE_TEXT = re.compile(
    r"[+-]?(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)


def _size(text: str) -> bool:
    """Whether a Kubernetes quantity such as `4Ki` is other than zero; no more is ever asked."""
    match = _SIZE_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("not a quantity such as 512, 1k or 4Ki")
    return match["number"].strip("0.") != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    read: Callable[[str], object]
    word: str  # stands for the value in the usage
    implied: str | None = None  # the value of a flag without one; None: the next argument
    refusal: str = "invalid value {value} for flag -{name}: {reason}"


_STRING = _Kind(read=str, word="string")
_ADDRESS = _Kind(read=str, word="address")
_BOOLEAN = _Kind(
    read=_boolean,
    word="",
    implied="true",
    refusal="invalid boolean value {value} for -{name}: {reason}",
)
_DURATION = _Kind(read=_duration, word="duration")
_LEVEL = _Kind(read=_level, word="level")
_VMODULE = _Kind(read=_vmodule, word="pattern=N,...")
_SIZE = _Kind(read=_size, word="size")


class _Group(StrEnum):
    DRIVER = "The CSI driver"
    HTTP = "What is served"
    LOGGING = "Logging"
    ALPHA = "Refused unless left at their default, being alpha features of klog"
    REMOVED = "Flags of older releases, accepted without effect"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flag:
    name: str
    kind: _Kind
    default: str = ""
    help: str = ""  # of a removed flag: why it has no effect
    group: _Group


def _rows(group: _Group, kind: _Kind, names: str, **fields: str) -> Iterator[_Flag]:
    return (_Flag(name=name, kind=kind, group=group, **fields) for name in names.split())


_STDERR_ONLY = "log lines go to stderr only, each with its header"

# The flags of one group stand together: the usage is printed in this order.
_TABLE = (
    _Flag(
        name="csi-address",
        kind=_ADDRESS,
        default="/run/csi/socket",
        help="UNIX socket of the CSI driver: /path, unix:///path, unix:/path or unix:path.",
        group=_Group.DRIVER,
    ),
    _Flag(
        name="probe-timeout",
        kind=_DURATION,
        default="3s",
        help="The most that one Probe() may take, connecting included; at least 100ms.",
        group=_Group.DRIVER,
    ),
    _Flag(
        name="probe-interval",
        kind=_DURATION,
        default="1s",
        help="How often the driver is asked; at least 100ms.",
        group=_Group.DRIVER,
    ),
    _Flag(
        name="http-endpoint",
        kind=_ADDRESS,
        help="Listen here, such as :9808, localhost:9808 or [::1]:9808, for /healthz and for the "
        "metrics. Excludes --health-port and --metrics-address.",
        group=_Group.HTTP,
    ),
    _Flag(
        name="health-port",
        kind=_Kind(read=str, word="port"),
        default="9808",
        help="Listen on this port, a number or a service name, of every address for /healthz.",
        group=_Group.HTTP,
    ),
    _Flag(
        name="metrics-address",
        kind=_ADDRESS,
        help="Listen here for the metrics alone. Without it and without --http-endpoint no "
        "metrics are served.",
        group=_Group.HTTP,
    ),
    _Flag(
        name="metrics-path",
        kind=_Kind(read=str, word="path"),
        default="/metrics",
        help="Where the metrics are found; begins with a slash.",
        group=_Group.HTTP,
    ),
    _Flag(
        name="v",
        kind=_LEVEL,
        default="0",
        help="Write log lines up to this verbosity; 5 writes one for every Probe().",
        group=_Group.LOGGING,
    ),
    _Flag(
        name="vmodule",
        kind=_VMODULE,
        help="Verbosities of single source files; --logging-format=text only.",
        group=_Group.LOGGING,
    ),
    _Flag(
        name="logging-format",
        kind=_STRING,
        default="text",
        help="text or json.",
        group=_Group.LOGGING,
    ),
    _Flag(
        name="log-flush-frequency",
        kind=_DURATION,
        default="5s",
        help="Accepted; every line is written at once.",
        group=_Group.LOGGING,
    ),
    _Flag(
        name="automaxprocs",
        kind=_BOOLEAN,
        default="false",
        help="Accepted; there is no GOMAXPROCS to set.",
        group=_Group.LOGGING,
    ),
    *_rows(_Group.ALPHA, _BOOLEAN, "log-text-split-stream log-json-split-stream", default="false"),
    *_rows(_Group.ALPHA, _SIZE, "log-text-info-buffer-size log-json-info-buffer-size", default="0"),
    _Flag(
        name="connection-timeout",
        kind=_STRING,
        help="--probe-timeout bounds connecting too",
        group=_Group.REMOVED,
    ),
    *_rows(
        _Group.REMOVED,
        _BOOLEAN,
        "logtostderr alsologtostderr skip_headers skip_log_headers add_dir_header one_output",
        help=_STDERR_ONLY,
    ),
    *_rows(
        _Group.REMOVED,
        _STRING,
        "stderrthreshold log_dir log_file log_file_max_size log_backtrace_at",
        help=_STDERR_ONLY,
    ),
)
_FLAGS: Mapping[str, _Flag] = {flag.name: flag for flag in _TABLE}


# Go's flag package.

_ARGUMENT = re.compile(r"--?(?P<name>[^-=][^=]*)(?:=(?P<value>.*))?", re.DOTALL)
_HELP = frozenset({"h", "help"})


def _scan(argv: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    """Return each flag's last text, in order of first appearance, and the arguments not read."""
    given: dict[str, str] = {}
    rest = deque(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.popleft()
        if argument == "--":
            break
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise UsageError(f"bad flag syntax: {argument}")
        flag = _flag(match["name"])
        given[flag.name] = _readable(flag, match["value"], rest)
    return given, rest


def _flag(name: str) -> _Flag:
    flag = _FLAGS.get(name)
    if flag is not None:
        return flag
    if name in _HELP:
        raise HelpRequested
    raise UsageError(f"flag provided but not defined: -{name}")


def _readable(flag: _Flag, text: str | None, rest: deque[str]) -> str:
    """Return the flag's value once its kind has read it; without a text, it is taken from rest."""
    if text is None:
        text = flag.kind.implied
    if text is None:
        if not rest:
            raise UsageError(f"flag needs an argument: -{flag.name}")
        text = rest.popleft()
    try:
        flag.kind.read(text)
    except ValueError as error:
        raise UsageError(
            flag.kind.refusal.format(value=_quote(text), name=flag.name, reason=error)
        ) from error
    return text


def _quote(text: str) -> str:
    """Quote as Go's %q does; a control character, which no manifest holds, looks different."""
    return json.dumps(text, ensure_ascii=False)


# The program.


def _config(values: Mapping[str, str], *, warnings: tuple[str, ...]) -> Config:
    # The reference's own checks come first and in its order.
    _check_logging(values)
    _check_listeners(values)
    return Config(
        socket_path=_socket_path(values["csi-address"]),
        health_address=values["http-endpoint"] or f":{values['health-port']}",
        metrics_address=_metrics_address(values),
        metrics_path=_metrics_path(values),
        probe_timeout=_bounded("probe-timeout", values),
        probe_interval=_bounded("probe-interval", values),
        logging_format=values["logging-format"],
        verbosity=_level(values["v"]),
        vmodule=_vmodule(values["vmodule"]),
        warnings=warnings,
    )


def _check_logging(values: Mapping[str, str]) -> None:
    errors = list(_logging_errors(values))
    if errors:
        # Kubernetes writes a list of one without brackets.
        err = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
        raise ConfigError("LoggingConfiguration is invalid", err=err)


_ALPHA_REFUSAL = "Forbidden: Feature LoggingAlphaOptions is disabled"


def _logging_errors(values: Mapping[str, str]) -> Iterator[str]:
    """Name what is wrong by the paths in Kubernetes' LoggingConfiguration, in its order."""
    logging_format = values["logging-format"]
    if logging_format not in {"text", "json"}:
        yield f"format: Invalid value: {_quote(logging_format)}: Unsupported log format"
    if _vmodule(values["vmodule"]) and logging_format != "text":
        yield "vmodule: Forbidden: Only supported for text log format"
    for options in ("text", "json"):
        if _boolean(values[f"log-{options}-split-stream"]):
            yield f"options.{options}.splitStream: {_ALPHA_REFUSAL}"
        if _size(values[f"log-{options}-info-buffer-size"]):
            yield f"options.{options}.infoBufferSize: {_ALPHA_REFUSAL}"


def _check_listeners(values: Mapping[str, str]) -> None:
    for name in ("health-port", "metrics-address"):
        if values["http-endpoint"] and values[name] != _FLAGS[name].default:
            raise ConfigError(f"Only one of `--{name}` and `--http-endpoint` can be explicitly set")
    port = values["health-port"]
    if ":" in port:
        raise ConfigError(
            f"--health-port={_quote(port)} is not a port: give a number or a service name, such as "
            "9808 or http, or give host:port to --http-endpoint instead"
        )


def _metrics_address(values: Mapping[str, str]) -> str | None:
    return values["metrics-address"] or values["http-endpoint"] or None


def _metrics_path(values: Mapping[str, str]) -> str:
    path = values["metrics-path"]
    if not path.startswith("/"):
        raise ConfigError(f"--metrics-path={_quote(path)} must begin with a slash: try /metrics")
    if path == "/healthz" and values["http-endpoint"]:
        raise ConfigError(
            f"--metrics-path={_quote(path)} is where --http-endpoint answers health checks: "
            "choose another path, such as /metrics"
        )
    return path


# Below this, the time that scheduling and one connection take would decide what the driver's
# health is, and asking for it would cost more than the driver itself.
_SHORTEST = "100ms"


def _bounded(name: str, values: Mapping[str, str]) -> float:
    seconds = _duration(values[name])
    if seconds < _duration(_SHORTEST):
        raise ConfigError(
            f"--{name}={values[name]} is too short: give at least {_SHORTEST}, "
            f"or leave it out for {_FLAGS[name].default}"
        )
    return seconds


_SOCKET_HINT = "give the path of the CSI driver's socket, such as /csi/csi.sock"
# Why a --csi-address is refused, by what all of it looks like; the first row that fits is told.
_REFUSED_ADDRESSES = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), reason)
    for pattern, reason in (
        (r"(unix:)?/*", f"names no socket: {_SOCKET_HINT}"),
        (r"(unix:)?/*[a-z]:[\\/].*", f"is a Windows path, and this is Linux: {_SOCKET_HINT}"),
        (r".*\0.*", f"holds a NUL byte, which no path can: {_SOCKET_HINT}"),
        (r"(?!unix:)[^/]*:.*", f"is not the address of a UNIX socket: {_SOCKET_HINT}"),
        # grpc-go takes what stands between unix:// and the next slash for a host, and refuses.
        (r"unix://[^/].*", "has no slash after unix://: write unix:///path or unix:relative/path"),
        (r"(unix:)?@.*", f"is an abstract socket, which has no file: {_SOCKET_HINT}"),
    )
)
_UNIX_SCHEME = re.compile(r"unix:(//)?", re.IGNORECASE)
# struct sockaddr_un holds 108 bytes, the last of them NUL.
_LONGEST_SOCKET_PATH = 107


def _socket_path(address: str) -> str:
    """Return the path in `/p`, `p`, `unix:/p`, `unix:p` or `unix:///p`."""
    for pattern, reason in _REFUSED_ADDRESSES:
        if pattern.fullmatch(address):
            raise ConfigError(f"--csi-address={_quote(address)} {reason}")
    scheme = _UNIX_SCHEME.match(address)
    path = address[scheme.end() :] if scheme else address
    size = len(os.fsencode(path))
    if size > _LONGEST_SOCKET_PATH:
        raise ConfigError(
            f"--csi-address={_quote(address)} is a path of {size} bytes, and a UNIX socket's has "
            f"at most {_LONGEST_SOCKET_PATH}: mount the socket's folder at a shorter path"
        )
    return path


def _warnings(
    given: Mapping[str, str], values: Mapping[str, str], rest: Sequence[str]
) -> Iterator[str]:
    for name in given:
        if _FLAGS[name].group is _Group.REMOVED:
            yield f"--{name} has no effect: {_FLAGS[name].help}."
    if _boolean(values["automaxprocs"]):
        yield "--automaxprocs has no effect: there is nothing to set, this is no Go program."
    if "metrics-path" in given and _metrics_address(values) is None:
        yield (
            "--metrics-path has no effect: no metrics are served without --http-endpoint or "
            "--metrics-address."
        )
    if rest:
        yield (
            f"Everything from {_quote(rest[0])} on is ignored: flags end at -- or at the first "
            "argument that is not a flag."
        )


# The usage.

_USAGE_HEAD = """\
Usage of livenessprobe:
  livenessprobe [flags]

Asks a CSI driver for its health in the background, and answers /healthz from
what it said last. Flags take one dash or two, and their value after = or as
the next argument; a switch takes one only after =."""


def _section(group: _Group, flags: Sequence[_Flag]) -> str:
    if group in {_Group.ALPHA, _Group.REMOVED}:
        return _wrapped(", ".join(f"--{flag.name}" for flag in flags), indent=2)
    return "\n".join(map(_entry, flags))


def _entry(flag: _Flag) -> str:
    head = f"  --{flag.name} {flag.kind.word}".rstrip()
    default = f" (default {flag.default})" if flag.default else ""
    return f"{head}{default}\n{_wrapped(flag.help, indent=6)}"


def _wrapped(text: str, *, indent: int) -> str:
    margin = " " * indent
    # A flag's name must not be torn at its hyphens.
    return textwrap.fill(
        text, width=80, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
