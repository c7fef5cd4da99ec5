"""Checks exit codes and messages: wrong command lines, ports in use, help, and signals."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.e2e.conftest import StartSidecar
from tests.e2e.harness import (
    DriverProcess,
    Sidecar,
    connect,
    run,
    wait_until,
)

HTTP = "--http-endpoint=127.0.0.1:0"

WRONG_FLAGS = [
    (["--nope"], "flag provided but not defined: -nope"),
    (["--probe-timeout=3"], 'invalid value "3" for flag -probe-timeout: parse error'),
    (["--probe-timeout=abc"], 'invalid value "abc" for flag -probe-timeout: parse error'),
    (["--v=abc"], 'invalid value "abc" for flag -v: '),
    (["--automaxprocs=maybe"], 'invalid boolean value "maybe" for -automaxprocs: '),
    (["--csi-address"], "flag needs an argument: -csi-address"),
    (["---v=3"], "bad flag syntax: ---v=3"),
]

WRONG_CONFIGURATIONS = [
    (
        ["--health-port=9999", "--http-endpoint=:8080"],
        "Only one of `--health-port` and `--http-endpoint` can be explicitly set",
    ),
    (
        ["--metrics-address=:1", "--http-endpoint=:8080"],
        "Only one of `--metrics-address` and `--http-endpoint` can be explicitly set",
    ),
    (["--logging-format=xml"], "Unsupported log format"),
    (["--http-endpoint=9918"], "address 9918: want host:port"),
    (["--health-port=99999"], "invalid port"),
    (["--http-endpoint=no-such-host.invalid:9918"], "no-such-host.invalid"),
    ([HTTP, "--metrics-path=metrics"], "metrics-path"),
    ([HTTP, "--metrics-path=/healthz"], "metrics-path"),
]


@pytest.mark.parametrize(("argv", "complaint"), WRONG_FLAGS)
def test_a_wrong_flag_exits_with_2_and_the_usage(argv: list[str], complaint: str) -> None:
    ended = run(*argv)
    first_line, usage = ended.stderr.split("\n", 1)
    assert ended.returncode == 2
    assert first_line.startswith(complaint)
    assert usage.startswith("Usage of ")
    assert "-csi-address" in usage
    assert usage.endswith(f"\n{first_line}\n")  # Kubernetes shows the end of a log
    assert ended.stdout == ""


@pytest.mark.parametrize(("argv", "complaint"), WRONG_CONFIGURATIONS)
def test_a_wrong_configuration_exits_with_1_and_one_line(argv: list[str], complaint: str) -> None:
    ended = run(*argv)
    assert ended.returncode == 1
    assert complaint in ended.stderr.splitlines()[0]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("argv", "taken"),
    [
        (["--http-endpoint=127.0.0.1:{}"], "127.0.0.1:{}"),
        (["--http-endpoint=localhost:{}"], "127.0.0.1:{}"),
        (["--health-port={}"], ":{}"),
        (["--health-port=0", "--metrics-address=127.0.0.1:{}"], "127.0.0.1:{}"),
    ],
)
def test_a_port_in_use_exits_with_1_and_is_named(argv: list[str], taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, port = server.getsockname()
        ended = run(*(flag.format(port) for flag in argv), "--csi-address=/nowhere/csi.sock")
    assert ended.returncode == 1
    assert f"{taken.format(port)}: bind: address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help_exits_with_0(flag: str) -> None:
    ended = run(flag)
    assert ended.returncode == 0
    assert "-csi-address" in ended.stdout
    assert ended.stdout.endswith("\n")
    assert ended.stderr == ""


@contextmanager
def a_probe_in_flight(sidecar: Sidecar, driver: DriverProcess) -> Iterator[None]:
    del sidecar
    driver.tell("hang")
    wait_until(lambda: driver.counts.in_flight == 1)
    yield
    wait_until(lambda: driver.counts.in_flight == 0)


@contextmanager
def an_idle_connection(sidecar: Sidecar, driver: DriverProcess) -> Iterator[None]:
    del driver
    with connect(sidecar.address, b"GET /healthz HTTP/1.1\r\nHost: sidecar\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        yield


@contextmanager
def half_a_request(sidecar: Sidecar, driver: DriverProcess) -> Iterator[None]:
    del driver
    with connect(sidecar.address, b"GET /healthz HTTP/1.1\r\nHost:"):
        assert sidecar.ask().status == 200
        yield


@contextmanager
def a_client_that_never_reads(sidecar: Sidecar, driver: DriverProcess) -> Iterator[None]:
    del driver
    request = b"GET /metrics HTTP/1.1\r\nHost: sidecar\r\n\r\n"
    with connect(sidecar.address, request) as connection:
        # Send requests until the buffers in both directions are full: a response is being written.
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.sendall(request * 1_000_000)
        assert sidecar.ask().status == 200
        yield


Situation = Callable[[Sidecar, DriverProcess], AbstractContextManager[None]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "situation",
    [a_probe_in_flight, an_idle_connection, half_a_request, a_client_that_never_reads],
)
def test_a_signal_exits_with_0_at_once(
    driver: DriverProcess,
    start_sidecar: StartSidecar,
    situation: Situation,
    number: signal.Signals,
) -> None:
    sidecar = start_sidecar(HTTP, "--probe-timeout=1m")
    sidecar.wait_for(200, "ok")
    with situation(sidecar, driver):
        sidecar.stop(number)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("apart", [0.0, 0.02, 0.05])
def test_a_second_signal_does_not_change_the_exit_code(
    start_sidecar: StartSidecar, second: signal.Signals, apart: float
) -> None:
    sidecar = start_sidecar(HTTP)
    sidecar.stop(signal.SIGTERM, second, apart=apart)
