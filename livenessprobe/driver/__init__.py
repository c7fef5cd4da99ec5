"""The gRPC client: one call to the CSI driver, from connecting its socket to the parsed reply.

client              the two calls, Probe and GetPluginInfo, and what happens to their connections
dial                connects the UNIX socket, or explains why it cannot be connected
grpclib_internals   a grpclib channel for one call, with limits; all uses of grpclib's internals
h2_internals        HTTP/2 as grpc-go sends and reads it; all uses of h2's and hpack's internals
reply               validates a unary reply
statuses            maps HTTP and HTTP/2 codes to gRPC statuses
codec               parses protobuf messages strictly
asyncio_thread      runs an asyncio coroutine, such as a call by grpclib, from trio
held_connection     keeps the connection of the last answered call open, to see the driver close it
socket_file         detects that the socket file was replaced
"""

from livenessprobe.driver.client import Driver

__all__ = ["Driver"]
