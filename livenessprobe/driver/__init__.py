"""The gRPC edge: one call to the CSI driver, from the dial to the last closed descriptor.

client              the calls
dial                from a socket path to a connected socket, or to the reason why not
grpclib_internals   grpclib's channel over one connection, bounded and surely closed
h2_internals        HTTP/2 as grpc-go speaks it
reply               what makes a reply valid
statuses            which gRPC status a code of the transport means
codec               protobuf messages, strictly
asyncio_thread      what grpclib runs on, away from trio's loop
held_connection     the connection of the last answered call, held idle to see its end
socket_file         whether the driver has made its socket anew
"""

from livenessprobe.driver.client import Driver

__all__ = ["Driver"]
