"""HTTP, and gRPC on top of it.

server         who serves: every connection on its own, and a tidy end
connection     one of them: hypercorn, within bounds
accept         which connections are let in, and which has to go for a new one
pieces         what a client sends, a piece at a time, and no flood of it
asgi           from hypercorn's events to a request, and from a response to events
endpoints      which answer is given: plain functions by path
verbose        the checks behind a verdict
zpages         /statusz and /flagz
grpc_health    the gRPC health service
grpc           gRPC's rules for one call
request        a request as a value
response       an answer as a value
"""
