"""What is answered: plain functions from a request to a response, by path.

routes         the table
health         /healthz, /livez, /readyz
verbose        the checks behind a verdict
grpc_health    the gRPC health service
grpc           gRPC's rules for one call
metrics        the metrics
status_page    the page for browsers, and its data
zpages         /statusz and /flagz
browsers       who gets a page that is meant for people
not_found      the answer to every other path
"""
