"""The command line: the reference's flags, in the syntax of Go's flag package, to a `Config`.

config           what the values mean, alone and together: a `Config` or a `ConfigError`
check_config     the same for `livenessprobe check`, whose flags are fewer
explain_config   the same for `livenessprobe explain`
values           what one value means, whichever command takes it
csi_address      where the driver's socket is
logging_config   what Kubernetes refuses of the logging flags
usage            what `-h` prints
table            which flags there are
kinds            the kinds of value: how each is read, and in which words it is refused
go               Go's flag package: argv to the text of each flag, or a `UsageError`

Each module imports only from modules listed below it. Values stay text until `config` interprets
them: `go` has checked that their kind can read them, messages quote them, and `usage` shows them.
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
