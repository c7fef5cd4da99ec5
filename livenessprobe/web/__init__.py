"""HTTP, and gRPC on top of it.

server         who serves: every connection on its own, and a tidy end
accept         which connections are let in, and which has to go for a new one
connection     one of them: plain requests answered at once, the rest left to hypercorn
patience       how long it may take
plain          a request of the kubelet's kind, and its answer
conversation   hypercorn, within bounds
pieces         what it is fed, a piece at a time, and no flood
asgi           from hypercorn's events to a request, and from a response to events
responder      from a request to its endpoint
endpoints      which answer is given: plain functions by path
verbose        the checks behind a verdict
zpages         /statusz and /flagz
grpc_health    the gRPC health service
grpc           gRPC's rules for one call
request        a request as a value
response       an answer as a value
"""
