"""The command as people use it: the installed program behind a pipe from a real kubectl."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent


def kubectl(*files: Path) -> bytes:
    """Return the objects in these files as kubectl prints them, without a cluster."""
    names = [f"--filename={path}" for path in files]
    command = [str(BIN / "kubectl"), "label", "--local", "--output=json", *names, "a=b"]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout  # noqa: S603


def explain(*flags: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [str(BIN / "livenessprobe"), "explain", *flags]
    return subprocess.run(command, input=data, check=False, capture_output=True, timeout=60)  # noqa: S603


def test_what_kubectl_prints_is_explained() -> None:
    ran = explain(data=kubectl(DEPLOY / "example.yaml", DEPLOY / "probes" / "http.yaml"))
    assert ran.stdout.startswith(b"DaemonSet kube-system/example-csi-node, container driver\n")
    assert b"\nPod example-csi-http, container driver\n" in ran.stdout
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_json_for_another_program() -> None:
    ran = explain("--output=json", "--reference", data=kubectl(DEPLOY / "example.yaml"))
    (explanation,) = json.loads(ran.stdout)["explained"]
    assert [each["program"] for each in explanation["cases"]] == [
        "this program",
        "kubernetes-csi/livenessprobe",
    ]


def test_bad_input_ends_with_2_and_one_line() -> None:
    ran = explain(data=b"apiVersion: v1\nkind: Pod\n")
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr == (
        b"standard input is not JSON that can be read: Expecting value: line 1 column 1 (char 0) "
        b"(kubectl create --dry-run=client -o json -f FILE turns YAML into JSON)\n"
    )
