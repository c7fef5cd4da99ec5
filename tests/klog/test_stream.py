import fcntl
import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from livenessprobe import klog
from livenessprobe.klog.stream import write_nowait

CAPACITY = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe of one page; a write that waited would never end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, CAPACITY)
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
        os.close(reader)


def test_what_there_is_room_for_is_written_whole(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    assert write_nowait(stream, "one\n")
    assert os.read(reader, CAPACITY) == b"one\n"


def test_what_there_is_no_room_for_is_dropped(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    assert not write_nowait(stream, "x" * 10 * CAPACITY)
    assert not write_nowait(stream, "more\n")
    assert set(os.read(reader, CAPACITY)) == {ord("x")}
    assert write_nowait(stream, "again\n")
    assert os.read(reader, CAPACITY) == b"again\n"


def test_a_stream_in_memory_has_room() -> None:
    stream = io.StringIO()
    assert write_nowait(stream, "☃" * CAPACITY)
    assert stream.getvalue() == "☃" * CAPACITY


def test_the_log_says_how_many_lines_were_dropped(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    klog.configure(stream=stream, logging_format="text", verbosity=0)
    log = klog.get_logger(__name__)
    try:
        write_nowait(stream, "x" * CAPACITY)
        for _ in range(3):
            log.info("lost")
        os.read(reader, CAPACITY)
        log.info("found")
    finally:
        klog.configure(stream=io.StringIO(), logging_format="text", verbosity=0)
    notice, found = os.read(reader, CAPACITY).decode().splitlines()
    assert notice.startswith("W")
    assert notice.endswith('] "Log lines were dropped: nobody read them" lines=3')
    assert found.endswith('] "found"')
