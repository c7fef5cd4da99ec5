"""The command, from argv and standard input to exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livenessprobe import __main__
from livenessprobe.explain import explain_objects
from livenessprobe.explain.objects import InputError, read_objects
from tests.explain.pods import Pod

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "_on_signals", lambda _: None)


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    path = tmp_path / "pods.json"
    path.write_text(json.dumps(Pod().json))
    return path


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_sound_objects_from_a_file_are_explained_with_exit_code_0(
    pods: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(["explain", str(pods)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Pod kube-system/example-csi, container driver\n")
    assert printed.err == ""


def test_warnings_make_it_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = Pod()
    pod.probe["failureThreshold"] = 1
    give(monkeypatch, json.dumps(pod.json).encode())
    assert __main__.main(["explain", "--output=json", "--reference"]) == 1
    assert json.loads(capsys.readouterr().out)["explained"][0]["warnings"][0]["name"] == "threshold"


def test_a_sidecar_that_is_not_explained_makes_it_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = Pod()
    pod.driver.pop("livenessProbe")
    give(monkeypatch, json.dumps(pod.json).encode())
    assert __main__.main(["explain", "-"]) == 1
    assert "sidecar liveness-probe: no probe of the pod asks its port" in capsys.readouterr().out


def test_objects_without_any_sidecar_are_no_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, b'{"kind": "List", "items": []}')
    assert __main__.main(["explain"]) == 0
    assert capsys.readouterr().out == "workloads: 0, probed containers explained: 0, warnings: 0\n"


def test_nobody_waits_for_a_person_to_type_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    for stdin in (terminal, None):
        monkeypatch.setattr("sys.stdin", stdin)
        assert __main__.main(["explain"]) == 2
        assert capsys.readouterr().err.startswith("standard input is empty: pipe kubectl")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "mis\nsing"
    assert __main__.main(["explain", str(missing)]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}/mis\\nsing cannot be read: No such file or directory\n"
    )


def test_it_imports_its_own_parts_only(pods: Path) -> None:
    code = (
        "import sys; from livenessprobe.__main__ import main; main();"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, "explain", str(pods)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    imported = ran.stderr
    for package in ("trio", "asyncio", "grpclib", "betterproto", "hypercorn", "prometheus_client"):
        assert f"'{package}'" not in imported
    assert "'livenessprobe.explain'" in imported


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
# Objects of the right shape with anything in any of their places.
NAMES = [
    *("kind", "metadata", "spec", "template", "containers", "items", "livenessProbe", "httpGet"),
    *("name", "image", "args", "command", "env", "value", "ports", "containerPort", "path"),
    *("port", "exec", "grpc", "volumeMounts", "mountPath", "resources", "limits", "memory"),
]
WORDS = [
    *("--probe-interval=0s", "--probe-timeout=-1s", "--probe-timeout=9999h", "--http-endpoint=:0"),
    *("Pod", "List", "DaemonSet", "livenessprobe", "check", "--csi-address=/csi/s", "healthz"),
    *("$(A)", "9808", "/healthz", "--health-port=9808", "v2.16.0", "\033[2J", "\ud800", "1e9"),
]
LIKELY = st.recursive(
    st.sampled_from(WORDS) | st.integers(-1, 70_000) | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=60,
)


def shown(data: bytes) -> str | None:
    """Return what is printed for this input; None if it is refused."""
    try:
        found = explain_objects(list(read_objects(data)), reference=True)
    except InputError:
        return None
    json.loads(found.json())
    return found.text()


def check_printed(printed: str | None) -> None:
    if printed is not None:
        assert printed.replace("\n", "").isprintable()
        assert max(map(len, printed.splitlines())) <= 100


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_input_is_more_than_refused(data: bytes) -> None:
    check_printed(shown(data))


@given(LIKELY, LIKELY, LIKELY, LIKELY)
def test_no_object_is_more_than_skipped(
    one: object, two: object, three: object, four: object
) -> None:
    pod = Pod()
    pod.driver["livenessProbe"] = {"httpGet": {"path": one, "port": 9808}, "periodSeconds": two}
    pod.sidecar |= {"args": three, "image": one, "resources": four, "volumeMounts": two}
    pod.spec["containers"] += [one, two]
    pod.spec["volumes"] = four
    objects = [pod.json, {"kind": "Pod", "spec": three}, {"kind": "Deployment", "metadata": four}]
    data = json.dumps({"kind": "List", "items": objects}).encode()
    printed = shown(data)
    assert printed is not None
    check_printed(printed)
