"""Probe from a process that lacks something: `python deprived.py LACKING SOCKET`.

Each Probe has its line on stdout: "answered", or how it failed.
"""

import gc
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import trio

from livenessprobe.driver import Driver
from livenessprobe.health.errors import DriverError
from livenessprobe.probing.deadline import call_within

NOBODY = 65534

# Seconds for each Probe, and how many there are at once of those that are to be stopped.
DEADLINE = 1.0
CALLS = 20

# An asyncio loop holds as many.
DESCRIPTORS_OF_A_LOOP = 3

# No address space is of this size, whatever the kernel's setting for overcommitment.
ABSURD_STACK = 2**56


def run(lacking: str, socket: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, __file__, lacking, str(socket)]
    return subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours


async def without_descriptors(socket: str) -> None:
    gc.disable()  # it may be a while until it finds what was not closed
    before = count_descriptors()
    for spare in range(DESCRIPTORS_OF_A_LOOP + 2):  # the connection is the next one
        with closing(Driver(socket)) as driver, hoarding_descriptors(spare):
            await ask(driver)
        assert count_descriptors() == before


async def without_descriptors_since(socket: str) -> None:
    with closing(Driver(socket)) as driver:
        await ask(driver)
        with hoarding_descriptors(0):
            for _ in range(2):  # each has the one descriptor that the one before has given back
                await ask(driver)


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def hoarding_descriptors(spare: int) -> Iterator[None]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
    hoard: list[int] = []
    with suppress(OSError):
        while True:
            hoard.append(os.dup(0))
    for _ in range(spare):
        os.close(hoard.pop())
    try:
        yield
    finally:
        for descriptor in hoard:
            os.close(descriptor)


async def without_threads(socket: str) -> None:
    threading.stack_size(ABSURD_STACK)
    with closing(Driver(socket)) as driver:
        await ask(driver)
        print(await driver.socket_changed())  # noqa: T201 - likewise


async def without_space(socket: str) -> None:
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))  # no file can be written to
    await probe(socket)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))


async def without_rights(socket: str) -> None:
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    await probe(socket)
    os.seteuid(user)


async def without_time(socket: str) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(CALLS):
            nursery.start_soon(probe, socket)


async def without_assertions(socket: str) -> None:
    """Probe until there is an answer, under `python -O`."""
    if __debug__:
        raise RuntimeError("there are assertions")
    with closing(Driver(socket)) as driver:
        while not await ask(driver):
            pass


async def without_nothing(socket: str) -> None:
    await probe(socket)


WAYS = {
    "nothing": without_nothing,
    "time": without_time,
    "descriptors": without_descriptors,
    "descriptors, since it answered": without_descriptors_since,
    "threads": without_threads,
    "space": without_space,
    "rights": without_rights,
    "assertions": without_assertions,
}


async def probe(socket: str) -> None:
    with closing(Driver(socket)) as driver:
        await ask(driver)


async def ask(driver: Driver) -> bool:
    """Return whether there was an answer."""
    try:
        await call_within(DEADLINE, driver.probe)
    except DriverError as error:
        print(f"{type(error).__name__}: {error}")  # noqa: T201 - the answer
        return False
    print("answered")  # noqa: T201 - likewise
    return True


if __name__ == "__main__":
    trio.run(WAYS[sys.argv[1]], sys.argv[2])
