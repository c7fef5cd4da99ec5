"""Where h11 needs something around it.

A strict xfail that passes tells of a release without that need.
"""

import time

import h11
import pytest

FEW, MANY = 2_000, 16_000


def seconds_for(blanks: int) -> float:
    """Return the least CPU time that it takes to refuse a field that begins with so many."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX:" + b" " * blanks + b"\0\r\n\r\n"

    def once() -> float:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
        http.receive_data(head)
        began_at = time.process_time()
        with pytest.raises(h11.RemoteProtocolError):
            http.next_event()
        return time.process_time() - began_at

    return min(once() for _ in range(3))


@pytest.mark.xfail(
    strict=True, reason="blanks take a time that grows with their square: server/limits.py"
)
def test_blanks_take_a_time_that_grows_with_their_number() -> None:
    # Eight times as many: 64 times the time as it is, 8 times as it should be.
    assert seconds_for(MANY) < 24 * seconds_for(FEW)
