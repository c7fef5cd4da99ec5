"""The endpoints: plain functions from a request to a response, by path.

routes         the table
health         /healthz, /livez, /readyz
verbose        the list of checks that ?verbose adds
grpc_health    the gRPC health service
grpc           unary gRPC calls as endpoints
metrics        the metrics
status_page    the page for browsers, and its data
zpages         /statusz and /flagz
browsers       wrappers of the endpoints that are meant for people
not_found      the response to every other path
"""
