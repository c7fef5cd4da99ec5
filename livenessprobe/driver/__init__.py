"""The gRPC edge: one call to the CSI driver, from the dial to the last closed descriptor.

client            the calls, and the one place where exceptions become `errors`
connection        grpclib's channel over one fresh connection, bounded and surely closed
dial              from a socket path to a connected socket, or to the reason why not
codec             protobuf messages, strictly
asyncio_thread    what grpclib runs on, away from trio's loop
tripwire          the connection of the last answered Probe, held idle to see its end
socket_file       whether the driver has made its socket anew
"""

from livenessprobe.driver.client import Driver

__all__ = ["Driver"]
