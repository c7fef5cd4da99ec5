"""Writes klog's log lines, in its text or JSON format, through the standard library's logging.

logger     the loggers of this program's modules, `-v` and `--vmodule`
handler    writes records to stderr, without exceptions and without blocking
render     formats one record
stream     writes text without blocking
"""

from livenessprobe.klog.logger import Logger, configure, get_logger

__all__ = ["Logger", "configure", "get_logger"]
