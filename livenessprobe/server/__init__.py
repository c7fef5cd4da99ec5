"""An HTTP server for one ASGI application: hypercorn's protocols on sockets of its own.

server       serves an ASGI application on listening sockets until cancelled
listen       from a listen address in Go's form to listening sockets
accept       the accept loop
registry     the open connections, up to a limit, and the eviction of idle ones
connection   one connection, driven by one of hypercorn's protocols
protocols    hypercorn's protocols: everything that depends on its private parts
buffered     a connected socket with a send buffer
limits       received bytes in chunks, and how large a head or frame may be
state        the states of a connection, and how long each may take
asgi         the ASGI application: an endpoint for each path, a plain function
request      a request as a value
response     a response as a value
"""
