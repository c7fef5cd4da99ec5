"""A CSI liveness probe that polls the driver in the background and answers from its cache."""

__version__ = "0.1.0"
