import fcntl
import io
import json
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from livenessprobe import klog
from livenessprobe.klog.stream import write_nowait

CAPACITY = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe with room for one page and no reader, so that a blocking write would never end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, CAPACITY)
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
        os.close(reader)


def test_text_that_fits_is_written_whole(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    assert write_nowait(stream, "one\n") == 4
    assert os.read(reader, CAPACITY) == b"one\n"


def test_text_that_does_not_fit_is_dropped(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    assert 0 < write_nowait(stream, "x" * 10 * CAPACITY) < 10 * CAPACITY
    assert write_nowait(stream, "more\n") == 0
    assert set(os.read(reader, CAPACITY)) == {ord("x")}
    assert write_nowait(stream, "again\n") == 6
    assert os.read(reader, CAPACITY) == b"again\n"


def test_a_stream_in_memory_takes_all_text() -> None:
    stream = io.StringIO()
    assert write_nowait(stream, "☃" * CAPACITY) == CAPACITY
    assert stream.getvalue() == "☃" * CAPACITY


def test_the_number_of_dropped_lines_is_logged(pipe: tuple[int, TextIO]) -> None:
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
    assert notice.endswith('] "Log lines were dropped: stderr is not read" lines=3')
    assert found.endswith('] "found"')


def test_a_line_that_was_cut_short_is_ended_before_the_next(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    klog.configure(stream=stream, logging_format="json", verbosity=0)
    log = klog.get_logger(__name__)
    try:
        log.info("long", text="x" * 2 * CAPACITY)
        log.info("lost")
        assert not os.read(reader, CAPACITY).endswith(b"\n")
        log.info("found")
        rest, *lines = os.read(reader, CAPACITY).decode().split("\n")
        log.info("found too")
    finally:
        klog.configure(stream=io.StringIO(), logging_format="text", verbosity=0)
    assert rest == ""
    notice, found = map(json.loads, lines[:-1])
    assert (notice["lines"], found["msg"]) == (2, "found")
    assert json.loads(os.read(reader, CAPACITY))["msg"] == "found too"


def test_no_empty_line_follows_a_write_that_ended_with_a_line(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    klog.configure(stream=stream, logging_format="json", verbosity=0)
    log = klog.get_logger(__name__)
    try:
        write_nowait(stream, "x" * CAPACITY)
        log.info("lost")
        os.read(reader, CAPACITY)
        log.info("found")
    finally:
        klog.configure(stream=io.StringIO(), logging_format="text", verbosity=0)
    notice, found = map(json.loads, os.read(reader, CAPACITY).splitlines())
    assert (notice["lines"], found["msg"]) == (1, "found")
