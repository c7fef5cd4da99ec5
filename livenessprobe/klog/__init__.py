"""klog's log lines, text and JSON, on stdlib logging.

logger     the loggers of our modules, `-v` and `--vmodule`
handler    from records to lines on stderr, without ever failing or waiting
render     one record to one line
stream     writing to whoever may not read
"""

from livenessprobe.klog.logger import Logger, configure, get_logger

__all__ = ["Logger", "configure", "get_logger"]
