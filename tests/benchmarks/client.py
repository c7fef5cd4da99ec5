"""Callers that ask over raw sockets, and how long each answer took.

All callers are driven by one epoll loop, which does for a request what has to be done, its system
calls and a search for the answer's end, and nothing else. A request's time runs from before its
connection is made to the last byte of its answer. A caller that has its answer asks again at its
next time, as the kubelet's ticker has it, or at once if that is over.

While the loop runs the collector of garbage stands still, as it would show in the slowest answers.
"""

import gc
import re
import select
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from time import perf_counter, sleep

from tests.e2e.harness import Address

# Seconds without any answer after which a run has failed; who asks about a hung driver waits 3 s.
TIMEOUT = 30.0

# A second, as the kubelet has it, so that it does not run out of ports.
LINGER = struct.pack("ii", 1, 1)

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Who asks what, how often: so many callers, each every `period` seconds, if that can be."""

    name: str
    callers: int = 1
    keep_alive: bool = False
    period: float = 0.0
    target: str = "/healthz"

    @property
    def request(self) -> bytes:
        """The kubelet's request."""
        connection = "keep-alive" if self.keep_alive else "close"
        return (
            f"GET {self.target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: kube-probe/1.34\r\n"
            f"Accept: */*\r\nConnection: {connection}\r\n\r\n"
        ).encode()


@dataclass(slots=True, kw_only=True)
class Answers:
    """What came of one run."""

    latencies: list[float] = field(default_factory=list)
    """Seconds, for each answer."""
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    seconds: float = 0.0
    """From the first request to the last answer, and at least as long as was asked for."""


def drive(
    address: Address, pattern: Pattern, *, seconds: float = inf, requests: float = inf
) -> Answers:
    """Let the callers ask for that long, or that often, and wait for the answers under way."""
    gc.disable()
    try:
        return _Loop(address, pattern, seconds, requests).run()
    finally:
        gc.enable()


def is_whole(received: bytes) -> bool:
    """Return whether all of an answer is there, given what came from its first byte on."""
    head, blank_line, body = received.partition(b"\r\n\r\n")
    if not blank_line:
        return False
    if length := LENGTH.search(head):
        return len(body) >= int(length[1])
    return bool(CHUNKED.search(head)) and body.endswith(b"0\r\n\r\n")


@dataclass(slots=True)
class _Caller:
    connection: socket.socket | None = None
    due: float = 0.0
    asked_at: float = 0.0
    received: bytes = b""


class _Loop:
    def __init__(self, address: Address, pattern: Pattern, seconds: float, requests: float) -> None:
        self._address, self._pattern, self._request = address, pattern, pattern.request
        self._requests_left = requests
        self._started = perf_counter()
        self._ends = self._started + seconds
        self._answers = Answers()
        self._epoll = select.epoll()
        self._callers = [_Caller() for _ in range(pattern.callers)]
        self._waiting: dict[int, int] = {}
        """Callers by their connection's descriptor."""
        # When each asks next; they are as far apart as can be.
        apart = pattern.period / pattern.callers
        self._resting = [(self._started + n * apart, n) for n in range(pattern.callers)]

    def run(self) -> Answers:
        with self._epoll:
            while (due := self._begin()) < inf or self._waiting:
                events = self._epoll.poll(min(max(0.0, due - perf_counter()), TIMEOUT))
                if not events and due == inf:
                    raise TimeoutError(f"no answer within {TIMEOUT} s")
                for descriptor, event in events:
                    self._go_on(descriptor, event)
        for caller in self._callers:
            if caller.connection is not None:
                caller.connection.close()
        if self._ends < inf:
            sleep(max(0.0, self._ends - perf_counter()))  # nobody's next time comes before
        self._answers.seconds = perf_counter() - self._started
        return self._answers

    def _begin(self) -> float:
        """Let everybody ask whose time has come; return when the next one will, `inf` for never."""
        while self._resting and self._requests_left > 0:
            due, number = self._resting[0]
            if due >= self._ends:
                return inf
            if due > perf_counter():
                return due
            heappop(self._resting)
            self._requests_left -= 1
            self._ask(number, due)
        return inf

    def _ask(self, number: int, due: float) -> None:
        caller = self._callers[number]
        caller.due, caller.received = due, b""
        caller.asked_at = perf_counter()
        connection = caller.connection or self._connect(caller)
        self._waiting[connection.fileno()] = number
        try:
            connection.send(self._request)
        except BlockingIOError:  # the server's queue of connections is full
            self._epoll.modify(connection, select.EPOLLOUT)
        except OSError:
            self._unanswered(number)

    def _connect(self, caller: _Caller) -> socket.socket:
        connection = caller.connection = socket.socket()
        connection.settimeout(0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        connection.connect_ex(self._address)  # what is wrong with it shows when it is used
        self._epoll.register(connection, select.EPOLLIN)
        return connection

    def _go_on(self, descriptor: int, event: int) -> None:
        number = self._waiting[descriptor]
        caller = self._callers[number]
        assert caller.connection is not None
        try:
            if event & select.EPOLLOUT:
                caller.connection.send(self._request)
                self._epoll.modify(descriptor, select.EPOLLIN)
                return
            received = caller.connection.recv(65536)
        except OSError:
            received = b""
        caller.received += received
        if is_whole(caller.received):
            self._answered(number)
        elif not received:
            self._unanswered(number)

    def _answered(self, number: int) -> None:
        caller = self._callers[number]
        self._answers.latencies.append(perf_counter() - caller.asked_at)
        self._answers.statuses[int(caller.received[9:12])] += 1
        self._rest(number, stay=self._pattern.keep_alive and not CLOSE.search(caller.received))

    def _unanswered(self, number: int) -> None:
        self._answers.unanswered += 1
        self._rest(number, stay=False)

    def _rest(self, number: int, *, stay: bool) -> None:
        caller = self._callers[number]
        assert caller.connection is not None
        del self._waiting[caller.connection.fileno()]
        if not stay:
            caller.connection.close()  # which ends its registration, too
            caller.connection = None
        next_due = max(caller.due + self._pattern.period, perf_counter())
        heappush(self._resting, (next_due, number))
