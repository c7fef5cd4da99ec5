"""The image's packages against known vulnerabilities: `python -m tests.image.audit DIRECTORY`.

The directory has a database in the OSV format, one JSON file for each vulnerability, as osv.dev
offers it for a whole ecosystem. Nothing is asked over the network. The exit code is 1 if any
package is affected.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from tests.image.build import tool
from tests.image.packages import Package, mounted, packages

Entry = dict[str, Any]
"""A vulnerability, as its file has it."""

IsBefore = Callable[[str, str], bool]


def findings(installed: Iterable[Package], database: Path) -> Iterator[str]:
    """Say of each package that is affected, by what."""
    entries = [json.loads(path.read_text()) for path in sorted(database.rglob("*.json"))]
    if not entries:
        raise SystemExit(f"{database} has no vulnerabilities, that is, files named *.json")
    entries = [entry for entry in entries if "withdrawn" not in entry]
    for package in installed:
        for entry in entries:
            if any(_affects(affected, package) for affected in entry.get("affected", [])):
                yield f"{package.name} {package.version}: {entry['id']} {entry.get('summary', '')}"


def _affects(affected: Entry, package: Package) -> bool:
    """Evaluate it as the OSV schema says."""
    ecosystem, is_before = _ECOSYSTEMS[package.kind]
    if affected["package"] != affected["package"] | {
        "ecosystem": ecosystem,
        "name": package.source,
    }:
        return False
    version = package.source_version
    return version in affected.get("versions", []) or any(
        _is_in(affected_range["events"], version, is_before)
        for affected_range in affected.get("ranges", [])
        if affected_range["type"] == "ECOSYSTEM"
    )


def _is_in(events: list[dict[str, str]], version: str, is_before: IsBefore) -> bool:
    """Say whether the last event up to this version is an introduction; they come in any order."""
    last = ("none", "0")
    for kind, at in (pair for event in events for pair in event.items()):
        has_been = at == "0" or (
            is_before(at, version) if kind == "last_affected" else not is_before(version, at)
        )
        if has_been and not is_before(at, last[1]):
            last = (kind, at)
    return last[0] == "introduced"


def _deb_is_before(version: str, other: str) -> bool:
    compare = [tool("dpkg"), "--compare-versions", version, "lt", other]
    return subprocess.run(compare, check=False).returncode == 0  # noqa: S603 - our own arguments


def _pypi_is_before(version: str, other: str) -> bool:
    try:
        return Version(version) < Version(other)
    except InvalidVersion:  # from before PEP 440: older than anything here
        return False


_ECOSYSTEMS: dict[str, tuple[str, IsBefore]] = {
    "deb": ("Debian:13", _deb_is_before),
    "pypi": ("PyPI", _pypi_is_before),
}


def main(database: str) -> int:
    """Print what is found; return the exit code."""
    with mounted() as root:
        found = list(findings(packages(root), Path(database)))
    sys.stdout.writelines(f"{finding}\n" for finding in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
