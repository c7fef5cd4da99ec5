"""How long the server waits for a client, in seconds."""

IDLE = 5.0
"""For its first byte, from there to its first request, to take some of an answer, and from there to
its next request."""

LIFETIME = 30.0
"""After which a connection takes no more requests.

The kubelet's lives for a millisecond, and whoever keeps one open can open another. It bounds
what `IDLE` does not, such as a body that does not come, or HTTP/2 without a request.
"""

DRAIN = 0.5
"""That answers in flight have once their connection takes no more requests.

An answer takes about a millisecond; the rest is for slow readers. The program promises its end
within one second.
"""
