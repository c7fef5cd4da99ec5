import pytest

from livenessprobe.endpoints.verbose import checks
from livenessprobe.health.result import ProbeResult, ProbeStatus
from livenessprobe.health.verdict import NOTHING_KNOWN, Question, Verdict, judge

REFUSED = "/csi.sock: connection refused: no driver listens on this socket"
STUCK = (
    "the last Probe() finished 42s ago, the next one should have by now: "
    "livenessprobe was stopped or starved, or its prober is stuck"
)
NOT_READY = "driver responded but is not ready"


def verdict(
    question: Question, status: ProbeStatus, message: str = "", now: float = 100.25
) -> Verdict:
    last = ProbeResult(
        status=status, message=message, grpc_status=None, latency=0.0021, finished_at=100.0
    )
    return judge(question, last, now=now, valid_until=106.0)


TIMES = ["result age: 0.250s", "Probe latency: 0.002s", "driver name: fake.csi"]

LISTS = [
    (
        verdict(Question.HEALTHZ, ProbeStatus.READY),
        ["[+]csi-probe ok", "[+]socket ok", "[+]prober ok", *TIMES, "healthz check passed"],
    ),
    (
        verdict(Question.HEALTHZ, ProbeStatus.NOT_READY, NOT_READY),
        [
            f"[-]csi-probe failed: {NOT_READY}",
            "[+]socket ok",
            "[+]prober ok",
            *TIMES,
            "healthz check failed",
        ],
    ),
    (
        verdict(Question.LIVEZ, ProbeStatus.NOT_READY, NOT_READY),
        ["[+]csi-probe ok", "[+]socket ok", "[+]prober ok", *TIMES, "healthz check passed"],
    ),
    (
        verdict(Question.READYZ, ProbeStatus.UNREACHABLE, REFUSED),
        [
            f"[-]csi-probe failed: {REFUSED}",
            f"[-]socket failed: {REFUSED}",
            "[+]prober ok",
            *TIMES,
            "healthz check failed",
        ],
    ),
    (
        verdict(Question.HEALTHZ, ProbeStatus.READY, now=142.0),
        [
            "[-]csi-probe failed: its result is too old",
            "[+]socket ok",
            f"[-]prober failed: {STUCK}",
            "result age: 42.000s",
            *TIMES[1:],
            "healthz check failed",
        ],
    ),
    (
        NOTHING_KNOWN,
        [
            "[-]csi-probe failed: no Probe() has finished yet",
            "driver name: fake.csi",
            "healthz check failed",
        ],
    ),
]


@pytest.mark.parametrize(("given", "lines"), LISTS)
def test_the_checks_are_listed_as_the_kubernetes_api_server_does(
    given: Verdict, lines: list[str]
) -> None:
    assert checks("healthz", given, "fake.csi") == "".join(f"{line}\n" for line in lines)


def test_a_name_that_is_not_known_yet_is_told_as_such() -> None:
    assert "driver name: not known yet\n" in checks("healthz", NOTHING_KNOWN, None)


def test_a_driver_cannot_forge_a_line() -> None:
    forged = verdict(Question.HEALTHZ, ProbeStatus.FAILED, "no\n[+]csi-probe ok\x1b[2J")
    lines = checks("healthz", forged, "a\nhealthz check passed").splitlines()
    assert lines[0] == r"[-]csi-probe failed: no\n[+]csi-probe ok\x1b[2J"
    assert lines[-2:] == [r"driver name: a\nhealthz check passed", "healthz check failed"]
