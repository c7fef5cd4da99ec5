"""The HTTP server: hypercorn's protocols on our own sockets. Knows nothing of what is answered.

server       serves an ASGI application on listening sockets until cancelled
listen       from a listen address in Go's form to listening sockets
accept       the accept loop
registry     open connections up to a limit, and the eviction of idle ones
connection   one connection, driven by one of hypercorn's protocols
protocols    those protocols: all that is reached for in hypercorn's private parts
buffered     its socket, with a buffer for what is to be sent
limits       how much a client may send at once
state        the states of a connection, and how long each may take
asgi         the ASGI application: from requests to endpoints, from responses to ASGI events
request      a request as a value
response     a response as a value
"""
