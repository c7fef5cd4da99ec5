"""Parses the command line, with the reference's flags and Go's syntax, into a `Config`.

config           checks and converts the sidecar's flags: a `Config` or a `ConfigError`
check_config     the same for `livenessprobe check`, which has fewer flags
explain_config   the same for `livenessprobe explain`
values           checks and converts the flags that several commands have
csi_address      parses the address of the driver's socket
logging_config   validates the logging flags as Kubernetes does
usage            formats the text that `-h` prints
table            lists the flags
kinds            parses each kind of value, with Go's error texts
go               parses argv like Go's flag package: the text of each flag, or a `UsageError`

Each module imports only from modules listed below it. Values stay text until `config` converts
them: `go` only checks that they can be parsed, and error messages and `usage` show the text.
"""

from livenessprobe.flags.check_config import CheckConfig, parse_check
from livenessprobe.flags.config import Config, parse
from livenessprobe.flags.explain_config import ExplainConfig, parse_explain
from livenessprobe.flags.go import HelpRequested, UsageError
from livenessprobe.flags.usage import check_usage, explain_usage, usage
from livenessprobe.flags.values import ConfigError

__all__ = [
    "CheckConfig",
    "Config",
    "ConfigError",
    "ExplainConfig",
    "HelpRequested",
    "UsageError",
    "check_usage",
    "explain_usage",
    "parse",
    "parse_check",
    "parse_explain",
    "usage",
]
