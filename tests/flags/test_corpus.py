"""Every command line that public manifests are known to give the reference.

The corpus lies beside the repository where it was collected. MANIFESTS stands for it elsewhere: it
holds every form of argument that the corpus does, which is itself tested.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from livenessprobe.flags import ConfigError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "manifests.jsonl"
with_corpus = pytest.mark.skipif(
    not CORPUS.exists(), reason="the corpus is not beside the repository"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    served_port: str = "9808"
    origin: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments after the program's name, as written in the manifest."""
        return self.command[1:] + self.args

    @property
    def argv(self) -> list[str]:
        """The arguments that the program gets."""
        return [expand(argument, self.env) for argument in self.arguments]


# Example values for environment variables that a manifest takes from elsewhere, by their names.
PLAUSIBLE = {
    r"PORT$": "10399",
    r"LOG_LEVEL$": "4",
    r"podIP$": "10.0.0.1",
    r"CSI_ADDRESS$|csi_endpoint$": "/plausible",
}


def plausible(name: str) -> str:
    (value,) = (value for pattern, value in PLAUSIBLE.items() if re.search(pattern, name))
    return value


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand $(VAR) as kubelet does, in the values of env too, and other placeholders."""

    def value(match: re.Match[str]) -> str:
        name = match[match.lastindex or 0]
        return expand(env[name], env) if name in env else plausible(name)

    return re.sub(r"\$\(([^)]+)\)|\$\{([^}]+)\}|<([^>]+)>", value, text)


def corpus() -> Iterator[Manifest]:
    for line in CORPUS.read_text().splitlines():
        entry = json.loads(line)
        yield Manifest(
            command=tuple(entry["command"] or ()),
            args=tuple(entry["args"] or ()),
            env=entry["env"],
            served_port=entry["servedPort"],
            origin=f"{entry['repo']}/{entry['path']}",
        )


WINDOWS = r"is a Windows path, and this is Linux"
NO_PORT = r"is not a port"


def refusal(manifest: Manifest) -> str | None:
    """Return why the manifest cannot work, apart from its flags."""
    text = " ".join(manifest.argv)
    if "--health-port=localhost:29613" in text:
        return NO_PORT
    return WINDOWS if "C:\\" in text else None


def expected(manifest: Manifest) -> dict[str, Any]:
    """Return the intended values of the flags; in the corpus every flag has an `=`."""
    given = dict(argument.lstrip("-").split("=") for argument in manifest.argv)
    timeout = given.get("probe-timeout", "3s")
    assert timeout.endswith("s")
    endpoint = given.get("http-endpoint")
    return {
        "socket_path": re.sub("^unix:(//)?", "", given.get("csi-address", "/run/csi/socket")),
        "health_address": endpoint or ":" + given.get("health-port", "9808"),
        "metrics_address": given.get("metrics-address", endpoint),
        "metrics_path": "/metrics",
        "probe_timeout": float(timeout[:-1]),
        "probe_interval": None,
        "logging_format": "text",
        "verbosity": int(given.get("v", "0")),
        "vmodule": (),
        "warnings": 1 if "connection-timeout" in given else 0,
    }


def said(argv: list[str]) -> dict[str, Any]:
    """Return the parsed config, with the number of warnings and without the texts."""
    config = parse(argv)
    fields = {name: getattr(config, name) for name in config.__slots__ if name != "texts"}
    return fields | {"warnings": len(config.warnings)}


@with_corpus
def test_every_manifest_gives_the_intended_config_or_a_clear_error() -> None:
    verdicts: Counter[str | None] = Counter()
    for manifest in corpus():
        verdict = refusal(manifest)
        verdicts[verdict] += 1
        if verdict is not None:
            with pytest.raises(ConfigError, match=verdict):
                parse(manifest.argv)
            continue
        config = said(manifest.argv)
        assert config == expected(manifest), manifest.origin
        assert config["health_address"].endswith(
            expand(manifest.served_port, manifest.env).removeprefix("127.0.0.1")
        ), manifest.origin
    # The manifest with the invalid port is for Windows, too.
    assert verdicts == {None: 409, WINDOWS: 36, NO_PORT: 1}


SOCKET = "--csi-address=/csi/csi.sock"

# Each form of argument in the corpus, with the intended config or the error.
MANIFESTS: list[tuple[Manifest, dict[str, Any] | str]] = [
    (Manifest(args=(SOCKET,)), {}),
    (Manifest(command=("livenessprobe.exe",), args=(SOCKET, "--v=5")), {"verbosity": 5}),
    (
        Manifest(command=("/livenessprobe", SOCKET, "--http-endpoint=:9808")),
        {"metrics_address": ":9808"},
    ),
    (Manifest(args=(SOCKET, "-v=2")), {"verbosity": 2}),
    (Manifest(args=(SOCKET, "--v=${LOG_LEVEL}")), {"verbosity": 4}),
    (Manifest(args=(SOCKET, "--probe-timeout=120s")), {"probe_timeout": 120.0}),
    (
        Manifest(args=(SOCKET, "--connection-timeout=3s", "--health-port=9602")),
        {"warnings": 1, "health_address": ":9602"},
    ),
    (
        Manifest(
            args=("--csi-address=$(ADDRESS)", "--health-port=$(HEALTH_PORT)"),
            env={"ADDRESS": "/csi/csi.sock", "HEALTH_PORT": "9909"},
        ),
        {"health_address": ":9909"},
    ),
    (
        Manifest(args=(SOCKET, "--health-port=${LIVENESS_PROBE_PORT}")),
        {"health_address": ":10399"},
    ),
    (
        Manifest(args=(SOCKET, "--http-endpoint=127.0.0.1:${LIVENESS_PROBE_PORT}")),
        {"health_address": "127.0.0.1:10399", "metrics_address": "127.0.0.1:10399"},
    ),
    (
        Manifest(args=(SOCKET, "--http-endpoint=localhost:29602")),
        {"health_address": "localhost:29602", "metrics_address": "localhost:29602"},
    ),
    (
        Manifest(
            args=(SOCKET, "--http-endpoint=$(HEALTHZ_HTTP_ENDPOINT)"),
            env={
                "POD_IP": "<fieldRef:status.podIP>",
                "HEALTHZ_HTTP_ENDPOINT": "[$(POD_IP)]:9808",
            },
        ),
        {"health_address": "[10.0.0.1]:9808", "metrics_address": "[10.0.0.1]:9808"},
    ),
    (
        Manifest(args=(SOCKET, "--metrics-address=0.0.0.0:3305")),
        {"metrics_address": "0.0.0.0:3305"},
    ),
    (Manifest(args=("--csi-address=unix:///csi/csi.sock",)), {}),
    (Manifest(args=("--csi-address=unix:/csi/csi.sock",)), {}),
    (
        Manifest(args=("--csi-address=$(ADDRESS)",), env={"ADDRESS": "unix:///csi/csi.sock"}),
        {},
    ),
    (
        Manifest(
            args=("--csi-address=$(CSI_ADDRESS)",),
            env={"CSI_ADDRESS": "<configMapKeyRef:CSI_ADDRESS>"},
        ),
        {"socket_path": "/plausible"},
    ),
    (
        Manifest(
            args=("--csi-address=$(ADDRESS)",),
            env={"ADDRESS": "<csi_endpoint>/csi.sock"},
        ),
        {"socket_path": "/plausible/csi.sock"},
    ),
    (Manifest(args=(r"--csi-address=unix://C:\csi\csi.sock",)), WINDOWS),
    (Manifest(args=(r"--csi-address=unix://C:\\csi\\csi.sock",)), WINDOWS),
    (
        Manifest(
            command=("/livenessprobe.exe",),
            args=("--csi-address=$(CSI_ENDPOINT)",),
            env={"CSI_ENDPOINT": r"unix://C:\\csi\\csi.sock"},
        ),
        WINDOWS,
    ),
    (Manifest(args=(SOCKET, "--health-port=localhost:29613")), NO_PORT),
]
PLAIN = {
    "socket_path": "/csi/csi.sock",
    "health_address": ":9808",
    "metrics_address": None,
    "metrics_path": "/metrics",
    "probe_timeout": 3.0,
    "probe_interval": None,
    "logging_format": "text",
    "verbosity": 0,
    "vmodule": (),
    "warnings": 0,
}


@pytest.mark.parametrize(("manifest", "meaning"), MANIFESTS)
def test_each_form_of_argument_is_parsed_as_intended(
    manifest: Manifest, meaning: dict[str, Any] | str
) -> None:
    if isinstance(meaning, str):
        with pytest.raises(ConfigError, match=meaning):
            parse(manifest.argv)
    else:
        assert said(manifest.argv) == PLAIN | meaning


def forms(manifest: Manifest) -> Iterator[str]:
    """Remove from arguments the parts that differ between manifests."""
    for argument in manifest.arguments:
        name, _, value = argument.partition("=")
        value = re.sub(r"(?<=\$\()\w+", lambda variable: manifest.env[variable[0]], value)
        value = re.sub(r"[\w.-]+", "w", value)
        value = re.sub(r"([/\\]+w)\1+", r"\1", value)
        yield f"{name}={value}"
    yield " ".join(manifest.command[:1])


@with_corpus
def test_no_manifest_has_check_as_its_first_argument() -> None:
    assert [manifest.origin for manifest in corpus() if manifest.argv[:1] == ["check"]] == []


@with_corpus
def test_the_table_has_every_form_in_the_corpus() -> None:
    table = {form for manifest, _ in MANIFESTS for form in forms(manifest)}
    assert {form for manifest in corpus() for form in forms(manifest)} <= table
